// Package wire is the go-plugin handshake between a gaia host and a plugin,
// both ends: how a host starts a plugin's process and connects to it, and how
// the process answers. Plugin authors use package sdk instead.
package wire

import (
	"time"

	"github.com/hashicorp/go-plugin"
)

// MaxMessage is the largest gRPC message that travels between host and plugin,
// in bytes, in either direction. Larger payloads use streams.
const MaxMessage = 64 << 20

// How much of a stream, and of all streams of a connection, may be on its way to
// a receiver who has not read it, in bytes. gRPC's own windows grow to 16 MiB a
// stream: some hundred callers who do not read would fill the host's memory, and
// the plugin's.
const (
	StreamWindow = 256 << 10
	ConnWindow   = 4 << 20
)

// What a plugin says in an ErrorInfo when it refuses or ends a call because it is
// about to end: the call has not done anything, so that it may be repeated elsewhere.
const (
	ErrorDomain    = "gaia"
	ReasonDraining = "DRAINING"
)

// The environment by which a host tells its plugin about itself.
const (
	// EnvHostPID is the decimal process id from which alone the plugin accepts
	// connections. Unset: any process of the same user.
	EnvHostPID = "GAIA_HOST_PID"
	// EnvWatchStdin is "1" when standard input is a pipe that ends when the
	// host does.
	EnvWatchStdin = "GAIA_WATCH_STDIN"
	// EnvLogLevel is the least level that the host wants to see: "trace",
	// "debug", "info", "warn" or "error".
	EnvLogLevel = "GAIA_LOG_LEVEL"
	// EnvKeeperFD is the decimal number of the descriptor by which the plugin
	// reaches the host's keeper, as KeeperConn does. Unset: there is none.
	EnvKeeperFD = "GAIA_KEEPER_FD"
	// EnvLinkFD is the decimal number of the descriptor of a socket by which the
	// plugin may take calls over package link. Unset: there is none.
	EnvLinkFD = "GAIA_LINK_FD"
)

const (
	// protocolVersion is the major version of this contract; a host and a
	// plugin of different majors refuse each other at the handshake.
	protocolVersion = 1

	cookieKey   = "GAIA_PLUGIN"
	cookieValue = "9b1f0e0a-1c1b-4f0e-8f0c-6f3a1d2c7e55"

	// defaultStartTimeout bounds exec to handshake. go-plugin's own default of
	// a minute hides hangs.
	defaultStartTimeout = 10 * time.Second
)

// Handshake is what go-plugin needs to know to start a gaia plugin, for those
// who do it without Start.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  protocolVersion,
		MagicCookieKey:   cookieKey,
		MagicCookieValue: cookieValue,
	}
}
