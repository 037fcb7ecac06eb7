// Package app is the host as a whole: it wires config, supervisors, gateway
// and telemetry together, and takes them apart again in reverse order.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/confine"
	"github.com/gaia-go/gaia/host/internal/keeper"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
)

// Options are what `gaia run` was told.
type Options struct {
	ConfigPath string
	Stdout     io.Writer        // the table of subsystems
	Stderr     io.Writer        // the log
	JSON       bool             // table and log as JSON
	Color      bool             // the log in colour
	LogLevel   string           // "trace", "debug", "info", "warn" or "error"; "" means info
	NoLink     bool             // all calls go over gRPC
	Hangup     <-chan os.Signal // each signal is a reload; may be nil
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
	var logger hclog.Logger
	out := openOutlet(o.Stderr, func(lines int) {
		logger.Warn("lines of the log were dropped, because nobody read them", "lines", lines)
	})
	defer out.close()
	o.Stderr = out
	logger = newLogger(o)
	cfg, policy, report := check(ctx, o.ConfigPath, logger, supervisor.Ties{})
	if report.HasErrors() {
		return &ConfigError{Report: report}
	}
	if err := warn(o, report); err != nil {
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
	defer func() { err = errors.Join(err, supervisor.RemoveSocketDir(socketDir)) }()
	confiner := confine.New(cfg.Host.Socket) // sweeps what a host left that is dead, as we know by the lock
	logger.Debug("limits of process trees", "by", confiner.Mechanism(), "warnings", strings.Join(confiner.Warnings(), "; "))
	keep, stopKeeper := startKeeper(ctx, logger)
	defer func() { err = errors.Join(err, stopKeeper()) }()
	return newHost(cfg, policy, o, logger, socketDir, confiner, keep).run(ctx)
}

// startKeeper runs the keeper until stop, which ends the processes that are
// kept. It outlives ctx: plugins that stop still use it.
func startKeeper(ctx context.Context, logger hclog.Logger) (k *keeper.Keeper, stop func() error) {
	k = keeper.New()
	if err := k.Degraded(); err != nil {
		logger.Debug("keeper adopts no orphans", "err", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running errgroup.Group
	running.Go(func() error { return k.Run(ctx) })
	return k, func() error {
		cancel()
		return running.Wait()
	}
}

// warn prints the warnings of a report.
func warn(o Options, report *config.Report) error {
	switch {
	case report.Len() == 0:
		return nil
	case o.JSON:
		return json.NewEncoder(o.Stderr).Encode(report)
	default:
		return report.WriteText(o.Stderr, o.Color)
	}
}

func newCatalog(h config.Host, executables *supervisor.Executables, socketDir string, logger hclog.Logger, ties supervisor.Ties) *catalog {
	cache, err := registry.OpenCache(filepath.Join(h.DataDir, "descriptions"))
	if err != nil { // it costs a start here and there, no more
		logger.Warn("descriptions are not cached", "err", err)
	}
	return &catalog{
		pluginDir:   h.PluginDir,
		socketDir:   socketDir,
		executables: executables,
		cache:       cache,
		logger:      logger,
		ties:        ties,
	}
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
