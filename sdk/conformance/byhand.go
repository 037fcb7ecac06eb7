package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/sdk/wire"
	"github.com/hashicorp/go-plugin"
)

// bare is the plugin as a process without what package wire does for it, so that
// its streams and its end are seen as they are.
type bare struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	first  chan string // the first line on standard output; closed without one
	exited chan struct{}

	// After exited.
	stdout, stderr []string // at most maxLines each
}

// maxLines bounds what is kept of a process that writes without end.
const maxLines = 1000

// startBare runs the program with env alone.
func (s *suite) startBare(ctx context.Context, env []string) (*bare, error) {
	b := &bare{cmd: exec.CommandContext(ctx, s.Binary), first: make(chan string, 1), exited: make(chan struct{})} //nolint:gosec // G204: the plugin under test
	b.cmd.Env, b.cmd.Dir = env, s.runsIn()
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.cmd.WaitDelay = time.Second
	stdin, err := b.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	b.stdin = stdin
	stdout, stdoutW := io.Pipe()
	stderr, stderrW := io.Pipe()
	b.cmd.Stdout, b.cmd.Stderr = stdoutW, stderrW
	var readers sync.WaitGroup
	readers.Go(func() { b.stdout = readLines(stdout, b.first) })
	readers.Go(func() { b.stderr = readLines(stderr, make(chan string, 1)) })
	end := func() {
		_ = stdoutW.Close()
		_ = stderrW.Close()
		readers.Wait()
	}
	if err := b.cmd.Start(); err != nil {
		end()
		return nil, err
	}
	go func() {
		_ = b.cmd.Wait()
		end()
		close(b.exited)
	}()
	return b, nil
}

// readLines reads to the end and returns the first lines.
func readLines(from io.Reader, first chan<- string) (lines []string) {
	defer close(first)
	scanner := bufio.NewScanner(from)
	for scanner.Scan() {
		if len(lines) == 0 {
			first <- scanner.Text()
		}
		if len(lines) < maxLines {
			lines = append(lines, scanner.Text())
		}
	}
	_, _ = io.Copy(io.Discard, from) // a line was too long
	return lines
}

// end kills the process and all of its group, and waits.
func (b *bare) end() {
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) // ESRCH: nobody is left
	<-b.exited
}

// ends reports whether the process has ended within a time.
func (b *bare) ends(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-b.exited:
		return true
	case <-timer.C:
		return false
	}
}

// survivors reports whether processes of its group outlive it. It has ended.
func (b *bare) survivors() bool { return syscall.Kill(-b.cmd.Process.Pid, 0) == nil }

// handshakeEnv is the environment by which a plugin knows its host.
func (s *suite) handshakeEnv() []string {
	h := wire.Handshake()
	return append(s.env(),
		h.MagicCookieKey+"="+h.MagicCookieValue,
		plugin.EnvUnixSocketDir+"="+s.sockets(),
		"PLUGIN_PROTOCOL_VERSIONS="+fmt.Sprint(h.ProtocolVersion),
		wire.EnvHostPID+"="+fmt.Sprint(os.Getpid()),
		wire.EnvWatchStdin+"=1",
	)
}

// greeted starts the process with the environment of a host and waits for its
// handshake.
func (s *suite) greeted(ctx context.Context) (*bare, string, error) {
	b, err := s.startBare(ctx, s.handshakeEnv())
	if err != nil {
		return nil, "", err
	}
	timer := time.NewTimer(answerTime)
	defer timer.Stop()
	select {
	case line, ok := <-b.first:
		if ok {
			return b, line, nil
		}
		err = errors.New("standard output ended without a line")
	case <-timer.C:
		err = fmt.Errorf("no line on standard output within %v", answerTime)
	}
	b.end()
	return nil, "", err
}

// handTime is how long a plugin may take that is run by hand: a program that waits
// for ever is looked for, and not one that is slow to load on a busy machine.
const handTime = 30 * time.Second

func saysWhatItIs(ctx context.Context, s *suite) error {
	b, err := s.startBare(ctx, s.env())
	if err != nil {
		return fail("a program that can be executed", err.Error(), "build it for this machine; a script begins with #! and the path of its interpreter")
	}
	defer b.end()
	const fix = "without GAIA_PLUGIN in the environment: print that this is a plugin of gaia and how it is configured, to standard error, and exit with code 1"
	if !b.ends(handTime) {
		return fail("its end", fmt.Sprintf("it still ran after %v", handTime), fix)
	}
	if len(b.stdout)+len(b.stderr) == 0 {
		return fail("a sentence on standard error", "nothing", fix)
	}
	if b.cmd.ProcessState.ExitCode() == 0 {
		return fail("an exit code that says that nothing was done, such as 1", "exit code 0", fix)
	}
	return nil
}

func shakesHands(ctx context.Context, s *suite) error {
	i, err := s.start(ctx)
	if err != nil {
		s.blocked = skipf("it cannot be started")
		return fail("a handshake and a connection", err.Error(),
			"print 1|1|unix|PATH|grpc, where PATH is a socket in $PLUGIN_UNIX_SOCKET_DIR on which gRPC is served, and flush; go-plugin does it for Go")
	}
	return i.Close()
}

// quietLines is how much a plugin may say of itself while nobody calls it.
const quietLines = 20

func isQuiet(ctx context.Context, s *suite) error {
	b, line, err := s.greeted(ctx)
	if err != nil {
		return err
	}
	defer b.end()
	parts := strings.Split(line, "|")
	if len(parts) < 5 || parts[0] != "1" || parts[1] != "1" || parts[2] != "unix" || parts[4] != "grpc" {
		return fail("1|1|unix|PATH|grpc", fmt.Sprintf("%.200q", line), "serve on a unix socket and say so in these five parts")
	}
	if !strings.HasPrefix(parts[3], s.sockets()+"/") {
		return fail("a socket in $PLUGIN_UNIX_SOCKET_DIR, "+s.sockets(), parts[3], "listen in that directory: only the host may enter it")
	}
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	if !b.ends(endTime) {
		return fail(fmt.Sprintf("its end within %v of SIGTERM", endTime), "it still runs", "end on SIGTERM")
	}
	if len(b.stdout) > 1 {
		return fail("one line on standard output", fmt.Sprintf("%d; the second is %.200q", len(b.stdout), b.stdout[1]), "log to standard error: standard output is for the handshake")
	}
	if len(b.stderr) > quietLines {
		return fail(fmt.Sprintf("at most %d lines on standard error while nobody calls", quietLines), fmt.Sprintf("%d; the last is %.200q", len(b.stderr), b.stderr[len(b.stderr)-1]),
			"log that at debug; $"+wire.EnvLogLevel+" says what the host wants to see")
	}
	return nil
}

func endsWithHost(ctx context.Context, s *suite) error {
	if err := s.inNewTemp(); err != nil {
		return err
	}
	b, _, err := s.greeted(ctx)
	if err != nil {
		return err
	}
	defer b.end()
	_ = b.stdin.Close()
	const fix = "where $" + wire.EnvWatchStdin + " is 1, read standard input; at its end the host is gone, and so the plugin ends"
	if !b.ends(endTime) {
		return fail(fmt.Sprintf("its end within %v of the end of its standard input", endTime), "it still runs", fix)
	}
	if b.survivors() {
		return fail("no process left of its group", "some go on", "end the processes that the plugin started, when it ends")
	}
	if left := s.leftovers(); left != "" {
		return fail("an empty $TMPDIR", left, "remove temp files when the plugin ends")
	}
	return nil
}
