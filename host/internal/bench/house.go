package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/gaia-go/gaia/sdk/client"
)

// house is a host of our own, with a directory of its own.
type house struct {
	dir    string
	cmd    *exec.Cmd
	end    context.CancelFunc // asks it to
	stderr bytes.Buffer
	socket string
	http   string       // address
	token  string       // of HTTP
	conn   *client.Conn // by gRPC
	host   hostv1.HostClient
}

// houseGrace is longer than the host's own for calls and for plugins.
const houseGrace = 30 * time.Second

// open runs a host with the given subsystem blocks, and with arguments beside
// its own, and waits until it is up. The caller closes it.
func open(ctx context.Context, o Options, subsystems string, arguments ...string) (h *house, err error) {
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
	config := fmt.Sprintf("host {\n  http       = \"127.0.0.1:0\"\n  plugin_dir = %q\n}\n%s", pluginDir, subsystems)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	ctx, h.end = context.WithCancel(ctx)
	arguments = append([]string{"run", "--json", "--config", path, "--log-level", "error"}, arguments...)
	h.cmd = exec.CommandContext(ctx, o.Gaia, arguments...)  //nolint:gosec // G204: this program
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us; the second signal of two ends it by force
	h.cmd.Cancel = func() error { return h.cmd.Process.Signal(syscall.SIGTERM) }
	h.cmd.WaitDelay = houseGrace
	h.cmd.Env = append(os.Environ(), "TMPDIR="+dir) // browsers have their profiles there
	h.cmd.Stderr = &h.stderr
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	var table struct {
		Socket    string `json:"socket"`
		HTTP      string `json:"http"`
		TokenFile string `json:"token_file"`
	}
	if err := json.NewDecoder(stdout).Decode(&table); err != nil {
		return nil, fmt.Errorf("the host did not come up: %w", cmp.Or(ctx.Err(), err))
	}
	token, err := os.ReadFile(table.TokenFile)
	if err != nil {
		return nil, err
	}
	h.socket, h.http, h.token = table.Socket, table.HTTP, strings.TrimSpace(string(token))
	h.conn, err = client.Dial(ctx, h.socket, client.WithoutLink())
	if err != nil {
		return nil, err
	}
	h.host = hostv1.NewHostClient(h.conn)
	return h, nil
}

// close ends the host, waits until it has ended, and removes its directory.
func (h *house) close() (err error) {
	if h.conn != nil {
		err = h.conn.Close()
	}
	if h.end != nil {
		h.end()
	}
	if h.cmd != nil && h.cmd.Process != nil {
		ended := h.cmd.Wait()
		if ended != nil && !errors.Is(ended, context.Canceled) {
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
