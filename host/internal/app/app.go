// Package app is the host as a whole: it wires config, supervisors, gateway
// and telemetry together, and takes them apart again in reverse order.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
)

// Options are what `gaia run` was told.
type Options struct {
	ConfigPath string
	Stdout     io.Writer // the table of subsystems
	Stderr     io.Writer // the log
	JSON       bool      // table and log as JSON
	Color      bool      // the log in colour
	LogLevel   string    // "trace", "debug", "info", "warn" or "error"; "" means info
	Version    string
}

// ConfigError says that the config has faults; nothing was started.
type ConfigError struct{ Report *config.Report }

// Error is the first fault and how many there are besides.
func (e *ConfigError) Error() string { return e.Report.Err().Error() }

// Run loads the config, starts all subsystems, prints them, and blocks until
// ctx ends. Then it refuses new calls, lets those in flight finish, and stops
// the plugins. A plugin that cannot be started stops nobody else. The error is
// a *ConfigError if the config has faults.
func Run(ctx context.Context, o Options) (err error) {
	logger := newLogger(o)
	cfg, report := check(ctx, o.ConfigPath, logger)
	if report.HasErrors() {
		return &ConfigError{Report: report}
	}
	if err := report.WriteText(o.Stderr, o.Color); err != nil { // warnings
		return err
	}
	l, err := acquireLock(cfg.Host.Socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	socketDir, err := supervisor.SocketDir(cfg.Host.Socket)
	if err != nil {
		return fmt.Errorf("directory for plugins' sockets: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(socketDir)) }()
	h, err := newHost(cfg, o, logger, socketDir)
	if err != nil {
		return err
	}
	return h.run(ctx)
}

// Check loads the config as Run does and starts nothing for good: a plugin
// whose description is not known yet is asked for it and ended. The config is
// nil if the report has errors.
func Check(ctx context.Context, path string) (*config.Config, *config.Report) {
	return check(ctx, path, hclog.NewNullLogger())
}

func check(ctx context.Context, path string, logger hclog.Logger) (*config.Config, *config.Report) {
	// Not beside the host's socket: a host may be running there.
	socketDir := sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "gaia") })
	executables := supervisor.NewExecutables()
	cfg, report := config.Load(path, func(h config.Host, s *config.Subsystem) (protoreflect.MessageDescriptor, error) {
		dir, err := socketDir()
		if err != nil {
			return nil, err
		}
		c, err := newCatalog(h, executables, dir, logger)
		if err != nil {
			return nil, err
		}
		d, _, err := c.describe(ctx, s.Plugin, s.SHA256)
		if err != nil {
			return nil, err
		}
		return d.ConfigMessage(), nil
	})
	if dir, err := socketDir(); err == nil {
		if err := os.RemoveAll(dir); err != nil {
			logger.Warn("directory of plugins' sockets not removed", "err", err)
		}
	}
	return cfg, report
}

func newCatalog(h config.Host, executables *supervisor.Executables, socketDir string, logger hclog.Logger) (*catalog, error) {
	cache, err := registry.OpenCache(filepath.Join(h.DataDir, "descriptions"))
	if err != nil {
		return nil, err
	}
	return &catalog{
		pluginDir:   h.PluginDir,
		socketDir:   socketDir,
		executables: executables,
		cache:       cache,
		logger:      logger,
	}, nil
}

func newLogger(o Options) hclog.Logger {
	level := hclog.LevelFromString(o.LogLevel)
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	color := hclog.ColorOff
	if o.Color {
		color = hclog.ForceColor
	}
	return hclog.New(&hclog.LoggerOptions{
		Level:      level,
		Output:     o.Stderr,
		JSONFormat: o.JSON,
		Color:      color,
	})
}
