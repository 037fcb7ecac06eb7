// Package egress decides which outbound addresses a plugin may reach.
package egress
