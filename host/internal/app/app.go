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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/confine"
	"github.com/gaia-go/gaia/host/internal/keeper"
	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
	"github.com/gaia-go/gaia/host/internal/trust"
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

// Check loads the config as Run does and starts nothing for good: a plugin
// whose description is not known yet is asked for it and ended. The config is
// nil if the report has errors.
func Check(ctx context.Context, path string) (*config.Config, *config.Report) {
	cfg, _, report := check(ctx, path, hclog.NewNullLogger(), supervisor.Ties{})
	return cfg, report
}

// check is Check within a host, which binds the plugins that are asked as it
// binds its own. It returns, too, which plugins that config trusts.
func check(ctx context.Context, path string, logger hclog.Logger, ties supervisor.Ties) (*config.Config, *trust.Policy, *config.Report) {
	// Not beside the host's socket: a host may be running there.
	socketDir, err := os.MkdirTemp("", "gaia")
	if err != nil { // then what is not cached cannot be asked
		logger.Warn("plugins cannot be asked what they serve", "err", err)
	} else {
		defer os.RemoveAll(socketDir) //nolint:errcheck // of an empty directory for temporary files
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	trusted, _ := config.LoadHost(path)
	policy, lockFaults := trust.Open(path, trusted)
	executables := supervisor.NewExecutables()
	executables.Trust(policy.Check)
	describe := func(h config.Host, s *config.Subsystem) (*registry.Description, error) {
		d, _, err := newCatalog(h, executables, socketDir, logger, ties).describe(ctx, s.Plugin, s.SHA256)
		return d, err
	}
	cfg, report := config.Load(path, askAtOnce(path, func(h config.Host, s *config.Subsystem) (protoreflect.MessageDescriptor, error) {
		d, err := describe(h, s)
		if err != nil {
			return nil, err
		}
		return d.ConfigMessage(), nil
	}))
	report.Add(lockFaults)
	if report.HasErrors() {
		return nil, nil, report
	}
	described := func(s *config.Subsystem) *registry.Description {
		d, _ := describe(cfg.Host, s) // that it cannot be described was said
		return d
	}
	for i := range cfg.Subsystems {
		s := &cfg.Subsystems[i]
		if len(s.KeysUsed()) == 0 {
			continue
		}
		if d := described(s); d != nil {
			report.Add(unknownKeys(s, d))
		}
	}
	for i := range cfg.Clients {
		report.Add(unknownPermissions(cfg, &cfg.Clients[i], described))
	}
	return cfg, policy, report
}

// unknownKeys warns of policies that are kept apart by a key which no method
// of the plugin has: they would never apply.
func unknownKeys(s *config.Subsystem, d *registry.Description) *config.Report {
	var known []string
	for _, m := range d.Methods() {
		for _, k := range m.Keys() {
			known = append(known, k.Name)
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	report := &config.Report{}
	for _, use := range s.KeysUsed() {
		if slices.Contains(known, use.Key) {
			continue
		}
		detail := fmt.Sprintf("No method of %s has a key %q, so that this never applies.", s.Plugin, use.Key)
		if near, ok := nearest.Name(use.Key, known); ok {
			detail += fmt.Sprintf(" Did you mean %q?", near)
		} else if len(known) > 0 {
			detail += " Keys of its methods: " + strings.Join(known, ", ") + "."
		}
		report.Add(s.WarnAt(use.Path, "Key that no method has", detail))
	}
	return report
}

// askTimeout bounds the time in which plugins that were never seen are asked
// what they serve. One that takes longer is checked when it is started.
const askTimeout = 5 * time.Second

// askAtOnce asks all plugins of a config at the same time, so that those which
// do not answer take the time of one.
func askAtOnce(path string, describe config.DescribeFunc) config.DescribeFunc {
	cfg, _ := config.Load(path, nil)
	if cfg == nil { // it has faults, and one more look finds the others
		return describe
	}
	type answer struct {
		message protoreflect.MessageDescriptor
		err     error
	}
	answers := make([]answer, len(cfg.Subsystems))
	var asking sync.WaitGroup
	for i := range cfg.Subsystems {
		asking.Go(func() { answers[i].message, answers[i].err = describe(cfg.Host, &cfg.Subsystems[i]) })
	}
	asking.Wait()
	return func(h config.Host, s *config.Subsystem) (protoreflect.MessageDescriptor, error) {
		for i, known := range cfg.Subsystems {
			if known.Name == s.Name {
				return answers[i].message, answers[i].err
			}
		}
		return describe(h, s)
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
