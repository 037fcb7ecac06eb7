package sdk

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/gaia-go/gaia/sdk/wire"
	"github.com/hashicorp/go-hclog"
)

// Logger is the plugin's structured log. Its lines reach the host, which adds
// subsystem, generation and pid. The level is the host's. Every call returns
// the same logger; it is safe for concurrent use.
func Logger() hclog.Logger { return logger() }

// logger is made on first use, which is before go-plugin takes over os.Stderr:
// log lines go to the raw descriptor, which also carries the runtime's panics.
//
//nolint:gochecknoglobals // the process has one standard error, and authors call Logger from everywhere
var logger = sync.OnceValue(func() hclog.Logger {
	level := hclog.LevelFromString(os.Getenv(wire.EnvLogLevel))
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	return hclog.New(&hclog.LoggerOptions{
		Level:      level,
		Output:     os.Stderr,
		JSONFormat: true,
	})
})

// processName is at most the 15 bytes that the kernel keeps.
func processName(arg0 string) string {
	name := filepath.Base(arg0)
	return name[:min(len(name), 15)]
}
