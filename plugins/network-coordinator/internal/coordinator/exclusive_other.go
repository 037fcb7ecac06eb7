//go:build !linux

package coordinator

// Exclusive reports whether two instances cannot run at once: where the host
// keeps no sockets, both would want the same port.
func (c *Coordinator) Exclusive() bool { return true }
