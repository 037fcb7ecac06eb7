package app

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/supervisor"
	"github.com/gaia-go/gaia/host/internal/trust"
)

// LockPlugins says what the lock file of a config has to be for the plugins that the config
// uses, and for further files of plugin_dir, as they are now. Those that were never described
// are started for it and ended again, if they are signed where they have to be. It writes
// nothing. With errors in the report, the lock is nil.
func LockPlugins(ctx context.Context, path string, further []string) (*trust.Lock, *config.Report, error) {
	cfg, report := config.Load(path, nil)
	if report.HasErrors() {
		return nil, report, nil
	}
	socketDir, err := os.MkdirTemp("", "gaia")
	if err != nil {
		return nil, report, err
	}
	defer os.RemoveAll(socketDir) //nolint:errcheck // of an empty directory for temporary files
	executables := supervisor.NewExecutables()
	executables.Trust(trust.Signed(cfg.Host).Check)
	catalog := newCatalog(cfg.Host, executables, socketDir, hclog.NewNullLogger(), supervisor.Ties{})
	files := slices.Clone(further)
	for _, s := range cfg.Subsystems {
		files = append(files, s.Plugin)
	}
	slices.Sort(files)
	lock := &trust.Lock{Path: trust.LockPath(path)}
	for _, file := range slices.Compact(files) {
		d, sum, err := catalog.describe(ctx, file, "")
		if err != nil {
			return nil, report, fmt.Errorf("plugin %q: %w", file, err)
		}
		lock.Plugins = append(lock.Plugins, trust.Plugin{File: file, Name: d.Name, Version: d.Version, SHA256: sum})
	}
	return lock, report, nil
}
