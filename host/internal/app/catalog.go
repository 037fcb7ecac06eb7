package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/hashicorp/go-hclog"

	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
)

// catalog knows what the executables in the plugin directory serve. What is
// not in its cache it learns by starting the executable once. Safe for
// concurrent use.
type catalog struct {
	pluginDir   string
	socketDir   string
	executables *supervisor.Executables
	cache       *registry.Cache
	logger      hclog.Logger
	ties        supervisor.Ties // of those that are asked what they serve
}

// describe says what an executable serves, and its checksum.
func (c *catalog) describe(ctx context.Context, plugin, sha256 string) (*registry.Description, string, error) {
	path := filepath.Join(c.pluginDir, plugin)
	exe, err := c.executables.Open(path, sha256)
	if err != nil {
		return nil, "", err
	}
	defer exe.Close()                                         //nolint:errcheck // opened for reading
	if d, ok := c.cache.Load(exe.SHA256); ok && !exe.Script { // the checksum of a script says nothing of what it loads
		return d, exe.SHA256, nil
	}
	d, err := supervisor.Probe(ctx, c.executables, path, exe.SHA256, c.socketDir, c.ties)
	if err != nil {
		return nil, exe.SHA256, err
	}
	c.store(d, exe.SHA256)
	return d, exe.SHA256, nil
}

// known is what describe would say, if it can be said without a start; or nil.
func (c *catalog) known(plugin, sha256 string) *registry.Description {
	exe, err := c.executables.Open(filepath.Join(c.pluginDir, plugin), sha256)
	if err != nil {
		return nil
	}
	defer exe.Close() //nolint:errcheck // opened for reading
	d, _ := c.cache.Load(exe.SHA256)
	return d
}

// store remembers a description. Without a writable cache it is learned anew
// next time, which costs a start.
func (c *catalog) store(d *registry.Description, sha256 string) {
	if err := c.cache.Store(sha256, d); err != nil {
		c.logger.Warn("description not cached", "err", err)
	}
}

// list reports the executables in the plugin directory, sorted by name. users are
// the subsystems of each.
func (c *catalog) list(users map[string][]string) ([]*hostv1.PluginFile, error) {
	entries, err := os.ReadDir(c.pluginDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list plugins: %w", err)
	}
	var files []*hostv1.PluginFile
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		file := &hostv1.PluginFile{File: entry.Name(), Subsystems: users[entry.Name()]}
		c.inspect(file)
		files = append(files, file)
	}
	return files, nil
}

// inspect fills in what is known of an executable without starting it.
func (c *catalog) inspect(file *hostv1.PluginFile) {
	exe, err := c.executables.Open(filepath.Join(c.pluginDir, file.GetFile()), "")
	if err != nil {
		file.Fault = err.Error()
		return
	}
	defer exe.Close() //nolint:errcheck // opened for reading
	file.Size, file.Sha256 = exe.Size, exe.SHA256
	if d, ok := c.cache.Load(exe.SHA256); ok {
		file.Version = d.Version
	}
}
