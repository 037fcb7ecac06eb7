package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
)

// reapTime is how long Close waits for a killed process. Only one that hangs
// inside the kernel takes longer.
const reapTime = 5 * time.Second

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
	// SocketDir is the directory in which the plugin gets a private directory
	// for its sockets. It must exist, be closed to others and short: a
	// socket's whole path has less than 104 bytes. Required.
	SocketDir string
	// Output is called for each line that the process writes, to raw
	// descriptors or through go-plugin, without line end and cut at 64 KiB.
	// Calls come from several goroutines; the line is valid during the call.
	// Optional.
	Output func(line []byte)
	// StartTimeout bounds the time from exec to handshake. 0 means 10 s.
	StartTimeout time.Duration
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

// Start executes a plugin, shakes hands and connects. The plugin is the leader
// of a process group of its own; it dies when this process dies. ctx bounds
// Start only. The error is a *StartError. The caller closes the process.
func Start(ctx context.Context, c Command) (*Process, error) {
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultStartTimeout
	}
	r := newRunner(c)
	p := &Process{runner: r, client: plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake(),
		Plugins:          plugin.PluginSet{pluginName: end{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     c.StartTimeout,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: c.SocketDir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			r.env, r.socketDir = cmd.Env, socketDir
			return r, nil
		},
		SyncStdout:      &lineWriter{emit: r.output},
		SyncStderr:      &lineWriter{emit: r.output},
		Logger:          hclog.NewNullLogger(),
		GRPCDialOptions: r.dialOptions(),
	})}
	// go-plugin knows no context: what it waits for ends with the process.
	stop := context.AfterFunc(ctx, r.kill)
	defer stop()
	conn, err := connect(p.client)
	if err != nil {
		// Its true end, if it came before we put one to it, is known then.
		err = errors.Join(err, p.Close())
		return nil, startError(ctx, c, r, err)
	}
	p.conn = conn
	return p, nil
}

func connect(client *plugin.Client) (*grpc.ClientConn, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(pluginName)
	if err != nil {
		return nil, err
	}
	return raw.(*grpc.ClientConn), nil
}

// Conn is the connection to the plugin's gRPC server. It belongs to the
// process and ends with it.
func (p *Process) Conn() *grpc.ClientConn { return p.conn }

// PID is the process id.
func (p *Process) PID() int { return p.runner.pid() }

// Exited is closed when the process has ended, whoever still holds its pipes.
func (p *Process) Exited() <-chan struct{} { return p.runner.exited }

// Exit says how the process ended. It is valid after Exited is closed.
func (p *Process) Exit() Exit { return p.runner.exit }

// Tail returns the last lines that the process wrote, oldest first, at most 20.
func (p *Process) Tail() []string { return p.runner.tail.copy() }

// Terminate asks the process to end (SIGTERM). It does not wait.
func (p *Process) Terminate() { p.runner.signal(syscall.SIGTERM) }

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
	<-r.drained
	return os.RemoveAll(r.socketDir)
}
