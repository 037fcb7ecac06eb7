package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// house is a host of our own, with a directory of its own.
type house struct {
	dir    string
	cmd    *exec.Cmd
	stderr bytes.Buffer
	conn   *grpc.ClientConn
	host   hostv1.HostClient
}

// open runs a host with the given subsystem blocks and waits until it is up.
// The caller closes it.
func open(ctx context.Context, o Options, subsystems string) (h *house, err error) {
	dir, err := os.MkdirTemp("", "gaia")
	if err != nil {
		return nil, err
	}
	h = &house{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	pluginDir, err := filepath.Abs(o.PluginDir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "config.hcl")
	config := fmt.Sprintf("host {\n  http       = \"\"\n  plugin_dir = %q\n}\n%s", pluginDir, subsystems)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	h.cmd = exec.CommandContext(ctx, o.Gaia, "run", "--json", "--config", path, "--log-level", "error") //nolint:gosec // G204: this program
	h.cmd.Cancel = func() error { return h.cmd.Process.Signal(syscall.SIGTERM) }
	h.cmd.Stderr = &h.stderr
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	var table struct {
		Socket string `json:"socket"`
	}
	if err := json.NewDecoder(stdout).Decode(&table); err != nil {
		return nil, fmt.Errorf("the host did not come up: %w", err)
	}
	h.conn, err = grpc.NewClient("unix:"+table.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	h.host = hostv1.NewHostClient(h.conn)
	return h, nil
}

// close ends the host and removes its directory.
func (h *house) close() (err error) {
	if h.conn != nil {
		err = h.conn.Close()
	}
	if h.cmd != nil && h.cmd.Process != nil {
		_ = h.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if ended := h.cmd.Wait(); ended != nil && h.stderr.Len() > 0 {
			err = errors.Join(err, fmt.Errorf("host: %w: %.500s", ended, h.stderr.String()))
		}
	}
	return errors.Join(err, os.RemoveAll(h.dir))
}

// await waits until a subsystem is as wanted.
func (h *house) await(ctx context.Context, name string, want func(*hostv1.Subsystem) bool) (*hostv1.Subsystem, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := h.host.Status(ctx, &hostv1.StatusRequest{Subsystem: name})
		if err != nil {
			return nil, err
		}
		s := r.GetSubsystems()[0]
		if want(s) {
			return s, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("subsystem %s stays %s: %s", name, s.GetState(), s.GetReason())
		}
	}
}
