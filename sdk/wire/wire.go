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

func handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  protocolVersion,
		MagicCookieKey:   cookieKey,
		MagicCookieValue: cookieValue,
	}
}
