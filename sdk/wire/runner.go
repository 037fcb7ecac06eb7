package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// drainTime is how long output that a dead process left in its pipes is still
// read. Without surviving holders of the pipes the end of file comes at once;
// with them it never would.
const drainTime = 50 * time.Millisecond

// processRunner starts and waits for one process. It stands between it and
// go-plugin, which sees the handshake line and nothing else of its output.
type processRunner struct {
	command   Command
	env       []string // of the handshake
	socketDir string   // private to this process
	output    func([]byte)
	tail      tail

	cmd     *exec.Cmd
	stdin   *os.File // held open for as long as we live; the plugin watches for its end
	began   time.Time
	exited  chan struct{} // closed when the process has ended and its group was killed
	drained chan struct{} // closed when its output has been read
	exit    Exit          // valid when exited is closed

	handshakeReader *io.PipeReader
	handshakeWriter *io.PipeWriter

	mu      sync.Mutex
	started bool
	first   string // the first line on standard output
}

var _ runner.Runner = (*processRunner)(nil)

func newRunner(c Command) *processRunner {
	r := &processRunner{command: c, exited: make(chan struct{}), drained: make(chan struct{})}
	r.handshakeReader, r.handshakeWriter = io.Pipe()
	r.output = func(line []byte) {
		r.tail.add(line)
		if c.Output != nil {
			c.Output(line)
		}
	}
	return r
}

// dialOptions let nobody but the process that was started answer.
func (r *processRunner) dialOptions() []grpc.DialOption {
	creds := &peerCredentials{accept: func(p peer) error {
		if p.pid == r.pid() {
			return nil
		}
		if group, err := syscall.Getpgid(p.pid); err != nil || group != r.pid() {
			return fmt.Errorf("process %d answers in place of plugin process %d", p.pid, r.pid())
		}
		return nil
	}}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithSharedWriteBuffer(true),
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		// A plugin whose socket is gone is never dialled again: it is replaced.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, MaxDelay: time.Minute},
			MinConnectTimeout: r.command.StartTimeout,
		}),
	}
}

// Start executes the process.
func (r *processRunner) Start(context.Context) error {
	stdinR, stdinW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdinR.Close()
	stdoutR, stdoutW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, stdinW.Close())
	}
	defer stdoutW.Close()
	stderrR, stderrW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, stdinW.Close(), stdoutR.Close())
	}
	defer stderrW.Close()
	env := append(append([]string{}, r.command.Env...), r.env...)
	r.cmd = &exec.Cmd{
		Path:        executable(r.command),
		Args:        []string{r.command.Path},
		Env:         append(env, EnvHostPID+"="+strconv.Itoa(os.Getpid()), EnvWatchStdin+"=1"),
		Stdin:       stdinR,
		Stdout:      stdoutW,
		Stderr:      stderrW,
		SysProcAttr: processAttributes(),
	}
	r.stdin = stdinW
	launched := make(chan error, 1)
	go r.live(launched)
	if err := <-launched; err != nil {
		return errors.Join(err, stdinW.Close(), stdoutR.Close(), stderrR.Close())
	}
	go r.read(stdoutR, stderrR)
	return nil
}

// live starts the process, sees its end and cleans up after it, all on one
// thread: the kernel ties the parent-death signal to the thread that forked.
func (r *processRunner) live(launched chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r.began = time.Now()
	if err := r.cmd.Start(); err != nil {
		launched <- err
		return
	}
	r.mu.Lock()
	r.started = true
	r.mu.Unlock()
	launched <- nil
	endGroup(r.cmd)
	r.exit = exitOf(r.cmd.ProcessState, time.Since(r.began))
	close(r.exited)
	_ = r.stdin.Close() // only we had it
}

func exitOf(state *os.ProcessState, ran time.Duration) Exit {
	e := Exit{Code: state.ExitCode(), Ran: ran}
	if state == nil {
		return e // somebody else reaped it; -1 says that nothing is known
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = status.Signal()
	}
	return e
}

// read passes on what the process writes, until all writers are gone or, after
// its exit, for drainTime.
func (r *processRunner) read(stdout, stderr *os.File) {
	defer close(r.drained)
	var readers sync.WaitGroup
	readers.Go(func() {
		defer stdout.Close()
		handshake := &handshakeWriter{runner: r, then: lineWriter{emit: r.output}}
		_, _ = io.Copy(handshake, stdout)
		handshake.close()
	})
	readers.Go(func() {
		defer stderr.Close()
		lines := lineWriter{emit: r.output}
		_, _ = io.Copy(&lines, stderr)
		lines.flush()
	})
	<-r.exited
	deadline := time.Now().Add(drainTime)
	_ = stdout.SetReadDeadline(deadline)
	_ = stderr.SetReadDeadline(deadline)
	readers.Wait()
}

// handshakeWriter gives the first line to go-plugin and the others to then.
type handshakeWriter struct {
	runner *processRunner
	done   bool
	line   []byte
	then   lineWriter
}

func (w *handshakeWriter) Write(p []byte) (int, error) {
	n := len(p)
	for !w.done && len(p) > 0 {
		if p[0] == '\n' || len(w.line) == maxLine {
			w.close()
		} else {
			w.line = append(w.line, p[0])
		}
		p = p[1:]
	}
	if w.done && len(p) > 0 {
		_, _ = w.then.Write(p)
	}
	return n, nil
}

// close ends the first line, and all of it if the output has ended.
func (w *handshakeWriter) close() {
	if w.done {
		w.then.flush()
		return
	}
	w.done = true
	w.runner.setFirstLine(string(w.line))
	// go-plugin reads until it has a line or gives up; then it is gone.
	_, _ = w.runner.handshakeWriter.Write(append(w.line, '\n'))
	_ = w.runner.handshakeWriter.Close()
}

func (r *processRunner) setFirstLine(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = line
}

func (r *processRunner) firstLine() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

func (r *processRunner) wasStarted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

func (r *processRunner) hasExited() bool {
	select {
	case <-r.exited:
		return true
	default:
		return false
	}
}

// pid is 0 before the start.
func (r *processRunner) pid() int {
	if !r.wasStarted() {
		return 0
	}
	return r.cmd.Process.Pid
}

// signal does nothing to a process that has ended.
func (r *processRunner) signal(s syscall.Signal) {
	if r.wasStarted() && !r.hasExited() {
		_ = r.cmd.Process.Signal(s) // it may end at this very moment
	}
}

// kill kills the leader; live then kills the rest of the group.
func (r *processRunner) kill() { r.signal(syscall.SIGKILL) }

// Wait is called by go-plugin once the handshake pipe has ended.
func (r *processRunner) Wait(context.Context) error {
	<-r.exited
	return nil
}

// Kill is called by go-plugin when a start does not succeed.
func (r *processRunner) Kill(context.Context) error {
	r.kill()
	_ = r.handshakeReader.Close() // a late first line must find no reader waiting
	return nil
}

// Stdout is what go-plugin sees of standard output: the first line.
func (r *processRunner) Stdout() io.ReadCloser { return r.handshakeReader }

// Stderr is empty for go-plugin: the lines go to Command.Output.
func (r *processRunner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is the path of the executable.
func (r *processRunner) Name() string { return r.command.Path }

// ID is the process id, "" before the start.
func (r *processRunner) ID() string {
	if pid := r.pid(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return ""
}

// Diagnose adds nothing: startError has the words.
func (r *processRunner) Diagnose(context.Context) string { return "" }

// PluginToHost and HostToPlugin: both live in one file system.
func (r *processRunner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin returns the address as it is.
func (r *processRunner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
