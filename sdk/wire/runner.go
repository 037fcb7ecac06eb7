package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/gaia-go/gaia/sdk/internal/peercred"
)

const (
	// drainTime is how long output that a dead process left in its pipes is
	// still read. Without surviving holders of the pipes the end of file comes
	// at once; with them it never would.
	drainTime = 50 * time.Millisecond
	// firstExtraFile is the descriptor of the first extra file in the process.
	firstExtraFile = 3
	// dyingTime is how long a process whose output or socket has ended may take
	// to end by itself, before it is killed and the true reason is lost.
	dyingTime = 50 * time.Millisecond
)

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
	link    net.Conn // our end of the socket for package link
	began   time.Time
	exited  chan struct{} // closed when the process has ended and its group was killed
	drained chan struct{} // closed when its output has been read
	exit    Exit          // valid when exited is closed

	handshake              pipe // the first line, to go-plugin
	syncStdout, syncStderr pipe // what the process writes after the handshake, from go-plugin

	mu      sync.Mutex
	started bool
	killed  bool   // by us
	heard   bool   // first is known
	first   string // the first line on standard output
}

var _ runner.Runner = (*processRunner)(nil)

// pipe connects a goroutine of ours with one of go-plugin's.
type pipe struct {
	r *io.PipeReader
	w *io.PipeWriter
}

func newPipe() (p pipe) {
	p.r, p.w = io.Pipe()
	return p
}

func newRunner(c Command) *processRunner {
	r := &processRunner{
		command:   c,
		exited:    make(chan struct{}),
		drained:   make(chan struct{}),
		handshake: newPipe(), syncStdout: newPipe(), syncStderr: newPipe(),
	}
	r.output = func(line []byte) {
		r.tail.add(line)
		if c.Output != nil {
			c.Output(r.pid(), line)
		}
	}
	return r
}

// dialOptions let nobody but the process that was started answer.
func (r *processRunner) dialOptions() []grpc.DialOption {
	creds := &peerCredentials{accept: func(p peercred.Peer) error {
		if p.PID == r.pid() {
			return nil
		}
		if group, err := syscall.Getpgid(p.PID); err != nil || group != r.pid() {
			return fmt.Errorf("process %d answers in place of plugin process %d", p.PID, r.pid())
		}
		return nil
	}}
	return dialOptions(creds, r.command.StartTimeout)
}

// dialOptions are those of every connection to a plugin.
func dialOptions(creds *peerCredentials, connectTimeout time.Duration) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithIdleTimeout(0),
		grpc.WithStaticStreamWindowSize(StreamWindow),
		grpc.WithStaticConnWindowSize(ConnWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		// A plugin whose socket is gone is never dialled again: it is replaced.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, MaxDelay: time.Minute},
			MinConnectTimeout: connectTimeout,
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
	link, linkFile, err := linkSockets()
	if err != nil {
		return errors.Join(err, stdinW.Close(), stdoutR.Close(), stderrR.Close())
	}
	defer linkFile.Close()
	env := append(append([]string{}, r.command.Env...), r.env...)
	files := append(slices.Clip(r.command.ExtraFiles), linkFile)
	r.cmd = &exec.Cmd{
		Path:        executable(r.command),
		Args:        []string{r.command.Path},
		Dir:         r.command.Dir,
		Env:         append(env, EnvHostPID+"="+strconv.Itoa(os.Getpid()), EnvWatchStdin+"=1", EnvLinkFD+"="+strconv.Itoa(firstExtraFile+len(files)-1)),
		Stdin:       stdinR,
		Stdout:      stdoutW,
		Stderr:      stderrW,
		ExtraFiles:  files,
		SysProcAttr: processAttributes(),
	}
	r.stdin, r.link = stdinW, link
	launched := make(chan error, 1)
	go r.live(launched)
	if err := <-launched; err != nil {
		return errors.Join(err, stdinW.Close(), stdoutR.Close(), stderrR.Close(), link.Close())
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
	if err := r.launch(); err != nil {
		launched <- err
		return
	}
	if r.setStarted() {
		r.signal(syscall.SIGKILL) // the kill came first
	}
	launched <- nil
	endGroup(r.cmd)
	r.exit = exitOf(r.cmd.ProcessState, time.Since(r.began))
	_ = r.stdin.Close() // only we had it
	close(r.exited)
}

func (r *processRunner) launch() error {
	if r.command.Launch != nil {
		return r.command.Launch(r.cmd)
	}
	return r.cmd.Start()
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
// its exit, for drainTime. What comes through go-plugin ends with drain.
func (r *processRunner) read(stdout, stderr *os.File) {
	defer close(r.drained)
	var readers sync.WaitGroup
	readers.Go(func() {
		defer stdout.Close()
		buffered := bufio.NewReader(stdout)
		r.shakeHands(buffered)
		r.passOn(buffered)
	})
	readers.Go(func() {
		defer stderr.Close()
		r.passOn(stderr)
	})
	readers.Go(func() { r.passOn(r.syncStdout.r) })
	readers.Go(func() { r.passOn(r.syncStderr.r) })
	<-r.exited
	deadline := time.Now().Add(drainTime)
	_ = stdout.SetReadDeadline(deadline)
	_ = stderr.SetReadDeadline(deadline)
	readers.Wait()
}

// shakeHands gives the first line on standard output to go-plugin. One that is
// longer than the reader's buffer (4 KiB) is no handshake.
func (r *processRunner) shakeHands(stdout *bufio.Reader) {
	if line, _ := stdout.ReadSlice('\n'); len(line) > 0 {
		first := strings.TrimRight(string(line), "\r\n")
		r.setFirstLine(first)
		// go-plugin reads until it has a line or gives up; then Kill ends the pipe.
		_, _ = fmt.Fprintln(r.handshake.w, first)
	}
	_ = r.handshake.w.Close()
}

func (r *processRunner) passOn(from io.Reader) {
	lines := lineWriter{emit: r.output}
	_, _ = io.Copy(&lines, from) // it ends with a deadline or the end of file
	lines.flush()
}

// drain waits until all output has been passed on; go-plugin adds none any
// more. The process has exited.
func (r *processRunner) drain() {
	_ = r.link.Close() // who uses it may have closed it
	_ = r.syncStdout.w.Close()
	_ = r.syncStderr.w.Close()
	<-r.drained
}

// setStarted reports whether the process is already meant to be dead.
func (r *processRunner) setStarted() (killed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	return r.killed
}

func (r *processRunner) wasStarted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

func (r *processRunner) wasKilled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.killed
}

func (r *processRunner) setFirstLine(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard, r.first = true, line
}

// firstLine returns the first line on standard output, if there was one.
func (r *processRunner) firstLine() (line string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first, r.heard
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

// kill kills the leader; live then kills the rest of the group. A process that
// is about to be started dies at its start.
func (r *processRunner) kill() {
	if r.hasExited() {
		return
	}
	r.mu.Lock()
	r.killed = true
	r.mu.Unlock()
	r.signal(syscall.SIGKILL)
}

// giveUp kills a process that does not end by itself right now.
func (r *processRunner) giveUp() {
	if !r.wasStarted() {
		return
	}
	timer := time.NewTimer(dyingTime)
	defer timer.Stop()
	select {
	case <-r.exited:
	case <-timer.C:
		r.kill()
	}
}

// Wait is called by go-plugin once the handshake pipe has ended.
func (r *processRunner) Wait(context.Context) error {
	<-r.exited
	return nil
}

// Kill is called by go-plugin when a start does not succeed.
func (r *processRunner) Kill(context.Context) error {
	_ = r.handshake.r.Close() // a late first line must find no reader waiting
	r.giveUp()
	return nil
}

// Stdout is what go-plugin sees of standard output: the first line.
func (r *processRunner) Stdout() io.ReadCloser { return r.handshake.r }

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
