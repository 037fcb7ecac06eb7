package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	// reapTime is how long Close waits for a killed process. Only one that hangs
	// inside the kernel takes longer.
	reapTime = 5 * time.Second

	// maxSocketDir leaves room for what go-plugin appends (two names with
	// random 32-bit numbers) within the 103 bytes that macOS has for the path
	// of a socket; Linux has 107.
	maxSocketDir = 103 - len("/plugin-dir4294967295/plugin4294967295")
)

// Command says which executable to start, and how.
type Command struct {
	// Path of the executable. It becomes argv[0]. Required.
	Path string
	// File is the opened executable, if it was checked beforehand: on Linux
	// this very file is executed, whatever has become of Path meanwhile. The
	// caller keeps it open until the process has exited. Optional. Scripts are
	// executed by path, because interpreters look for files beside them.
	File *os.File
	// Env is the whole environment, "key=value", besides the variables of the
	// handshake. The host's own environment is not inherited.
	Env []string
	// Dir is the working directory. Optional; without it, it is the host's own.
	Dir string
	// SocketDir is the directory in which the plugin gets a private directory
	// for its sockets. It must exist, be closed to others and short: at most
	// 65 bytes, because the path of a socket has to be. Required.
	SocketDir string
	// Output is called for each line that the process writes, to raw
	// descriptors or through go-plugin, without line end and cut at 64 KiB.
	// Calls come from several goroutines, and none after Close has returned;
	// the line is valid during the call. While Output blocks, the plugin's
	// output does, and Close waits for it. Optional.
	Output func(pid int, line []byte)
	// StartTimeout bounds the time from exec to the first answer. 0 means 10 s.
	StartTimeout time.Duration
	// ExtraFiles are inherited by the process as descriptors 3 and up. The
	// caller keeps them open until Start has returned. Optional.
	ExtraFiles []*os.File
	// Launch starts the process in place of cmd.Start, say in a control group.
	// It runs on a thread of its own, which the process is tied to and which
	// it leaves as it was. Optional.
	Launch func(cmd *exec.Cmd) error
}

// Process is a running plugin, connected. Its methods are safe for concurrent
// use.
type Process struct {
	runner *processRunner
	client *plugin.Client
	conn   *grpc.ClientConn

	closeOnce sync.Once
	closeErr  error
}

// Start executes a plugin, shakes hands and connects; it returns when the
// plugin has answered once. The plugin is the leader of a process group of its
// own; it dies when this process dies. ctx bounds Start only. The error is a
// *StartError. The caller closes the process.
func Start(ctx context.Context, c Command) (*Process, error) {
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	if err := ctx.Err(); err != nil {
		return nil, &StartError{Reason: reasonCancelled, Err: err}
	}
	if n := len(c.SocketDir); n > maxSocketDir {
		return nil, &StartError{Reason: fmt.Sprintf("socket directory %s: %d bytes are too many for the path of a socket, at most %d; name a shorter one", c.SocketDir, n, maxSocketDir)}
	}
	r := newRunner(c)
	p := &Process{runner: r, client: newClient(r)}
	ctx, cancel := context.WithTimeoutCause(ctx, c.StartTimeout, errTooSlow)
	defer cancel()
	// go-plugin knows no context: what it waits for ends with the process.
	stop := context.AfterFunc(ctx, r.kill)
	defer stop()
	conn, err := connect(ctx, p.client)
	if err == nil && !stop() {
		err = ctx.Err() // killed at the last moment
	}
	if err != nil {
		cause := context.Cause(ctx)
		r.giveUp()
		return nil, startError(cause, r, err, p.Close())
	}
	p.conn = conn
	return p, nil
}

func newClient(r *processRunner) *plugin.Client {
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  Handshake(),
		Plugins:          plugin.PluginSet{pluginName: end{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     2 * r.command.StartTimeout, // ours comes first, unless the process cannot be killed
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: r.command.SocketDir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			r.env, r.socketDir = cmd.Env, socketDir
			return r, nil
		},
		SyncStdout:      r.syncStdout.w,
		SyncStderr:      r.syncStderr.w,
		Logger:          hclog.NewNullLogger(),
		GRPCDialOptions: r.dialOptions(),
	})
}

// connect starts the process and waits for its first answer. Errors of the
// first line match errHandshake.
func connect(ctx context.Context, client *plugin.Client) (*grpc.ClientConn, error) {
	if _, err := client.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(pluginName)
	if err != nil {
		return nil, err
	}
	conn := raw.(*grpc.ClientConn)
	return conn, answers(ctx, conn)
}

// answers asks for the plugin's health, which go-plugin serves, to see that it
// can be reached at all: of a connection that is refused go-plugin only thinks
// that the plugin has no stdio service. What the answer is does not matter.
func answers(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return errors.New("does not answer: " + status.Convert(err).Message())
	default:
		return nil
	}
}

// Conn is the connection to the plugin's gRPC server. It belongs to the
// process and ends with it.
func (p *Process) Conn() *grpc.ClientConn { return p.conn }

// LinkSocket is our end of the socket over which the plugin may take calls by
// package link, if it does. It belongs to the process and ends with it.
func (p *Process) LinkSocket() net.Conn { return p.runner.link }

// PID is the process id.
func (p *Process) PID() int { return p.runner.pid() }

// Exited is closed when the process has ended, whoever still holds its pipes.
func (p *Process) Exited() <-chan struct{} { return p.runner.exited }

// Drained is closed when the process has ended and all that it wrote has gone
// to Output and Tail.
func (p *Process) Drained() <-chan struct{} { return p.runner.drained }

// Exit says how the process ended. It is valid after Exited is closed.
func (p *Process) Exit() Exit { return p.runner.exit }

// Tail returns the last lines that the process wrote, oldest first, at most 20.
// The first of them may be older: the line with which a Go program begins to
// tell of its crash is kept. What was written right before the exit is sure to
// be there once Close has returned.
func (p *Process) Tail() []string { return p.runner.tail.copy() }

// LastWords returns the line that most likely says why the process ended: the
// beginning of a Go program's crash, or else the last line that it wrote; ""
// if it wrote nothing.
func (p *Process) LastWords() string { return lastWords(p.runner.tail.copy()) }

// Terminate asks the process to end (SIGTERM). It does not wait.
func (p *Process) Terminate() { p.runner.signal(syscall.SIGTERM) }

// Signal sends a signal to the process. It does nothing when that has ended.
func (p *Process) Signal(s syscall.Signal) { p.runner.signal(s) }

// Kill kills the process and its whole group at once (SIGKILL). It does not
// wait.
func (p *Process) Kill() { p.runner.kill() }

// Close kills the process if it still runs, waits for its end and releases
// everything that belongs to it. It may be called again, to the same effect.
func (p *Process) Close() error {
	p.closeOnce.Do(func() { p.closeErr = p.close() })
	return p.closeErr
}

func (p *Process) close() error {
	r := p.runner
	if !r.wasStarted() {
		return os.RemoveAll(r.socketDir)
	}
	r.kill()
	timer := time.NewTimer(reapTime)
	defer timer.Stop()
	select {
	case <-r.exited:
	case <-timer.C:
		return fmt.Errorf("wire: process %d has not ended %v after SIGKILL; it hangs in the kernel", r.pid(), reapTime)
	}
	// Before the exit this would ask the plugin to shut down, and wait for an
	// answer for as long as it takes.
	p.client.Kill()
	r.drain()
	return os.RemoveAll(r.socketDir)
}
