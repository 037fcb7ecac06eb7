package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// server is a program of somebody else that listens on an address of this
// machine.
type server struct {
	what    string
	address string
	cmd     *exec.Cmd
	dir     string // its own; removed with it
}

// recipe is how a server is run, if it is installed.
type recipe struct {
	what      string
	program   string
	config    func(dir string, port int) string // content of its configuration
	arguments func(configFile string, port int) []string
}

// serverPatience is how long a server may take to come up.
const serverPatience = 20 * time.Second

// serve runs a server until its close. ready waits until it answers.
func (r recipe) serve(ctx context.Context, ready func(ctx context.Context, address string) error) (s *server, err error) {
	program, err := exec.LookPath(r.program)
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gaia-"+r.what)
	if err != nil {
		return nil, err
	}
	s = &server{what: r.what, address: fmt.Sprintf("127.0.0.1:%d", port), dir: dir}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", r.what, errors.Join(err, s.close()))
		}
	}()
	config := dir + "/config"
	if err := os.WriteFile(config, []byte(r.config(dir, port)), 0o600); err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, r.arguments(config, port)...) //nolint:gosec // G204: a server that is compared with
	s.cmd.Dir = dir
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	return s, ready(ctx, s.address)
}

// close ends the server. With nothing to lose, it is not asked.
func (s *server) close() error {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
		_ = s.cmd.Wait()                          // with the signal
	}
	return os.RemoveAll(s.dir)
}

// freePort is one that nobody listens on now.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// accepts waits until somebody accepts connections at a TCP address.
func accepts(ctx context.Context, address string) error {
	var dialer net.Dialer
	return until(ctx, func() bool {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}
