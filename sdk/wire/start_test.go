package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// command starts this test's binary as a behaviour of the fleet.
func command(tb testing.TB, sockets, behaviour string) Command {
	tb.Helper()
	path := proctest.Link(tb, behaviour)
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := file.Close(); err != nil {
			tb.Error(err)
		}
	})
	return Command{Path: path, File: file, SocketDir: sockets, Env: []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}}
}

// start starts a behaviour and closes it when the test ends.
func start(tb testing.TB, c Command) (*Process, *proctest.Transcript) {
	tb.Helper()
	said := proctest.NewTranscript()
	c.Output = said.Add
	p, err := Start(tb.Context(), c)
	if err != nil {
		tb.Fatalf("start %s: %v", filepath.Base(c.Path), err)
	}
	tb.Cleanup(func() { closeIt(tb, p) })
	return p, said
}

func closeIt(tb testing.TB, p *Process) {
	tb.Helper()
	if err := p.Close(); err != nil {
		tb.Error(err)
	}
}

func awaitExit(tb testing.TB, p *Process) Exit {
	tb.Helper()
	timer := time.NewTimer(proctest.Patience)
	defer timer.Stop()
	select {
	case <-p.Exited():
	case <-timer.C:
		tb.Fatalf("process %d has not exited within %v", p.PID(), proctest.Patience)
	}
	return p.Exit()
}

// stable replaces what differs between two runs.
func stable(text string) string {
	text = regexp.MustCompile(`\b\d+(\.\d+)?(ms|s)\b`).ReplaceAllString(text, "T")
	return regexp.MustCompile(`(process|another) \d+`).ReplaceAllString(text, "$1 N")
}

func TestAStartThatDoesNotSucceedSaysWhyInOneLine(t *testing.T) {
	tests := []struct {
		behaviour string
		want      string
	}{
		{"rubbish-first", `its first line on standard output is "Loading models...", not a handshake; is it a gaia plugin?`},
		{"empty-first-line", `its first line on standard output is "", not a handshake; is it a gaia plugin?`},
		{"endless-line", `its first line on standard output is "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", not a handshake; is it a gaia plugin?; its last line: "` +
			strings.Repeat("x", 200) + `"`},
		{"exits-at-once", `exited with code 3 after T, before the handshake; its last line: "no licence found"`},
		{"exits-silently", `exited with code 0 after T, before the handshake`},
		{"panics-at-once", `exited with code 2 after T, before the handshake; it wrote: "panic: too deep"`},
		{"killed-at-once", `killed by signal 9 (killed) after T, before the handshake`},
		{"closes-stdout", `standard output ended without a handshake`},
		{"never-handshakes", `no handshake within T; its last line: "thinking"`},
		{"next-version", `handshake: incompatible API version with plugin. Plugin version: 2, Client versions: [1]`},
		{"next-core", `handshake: incompatible core API version with plugin. Plugin version: 2, Core version: 1  ` +
			`To fix this, the plugin usually only needs to be recompiled. Please report this to the plugin author`},
		{"speaks-netrpc", `handshake: unsupported plugin protocol "netrpc". Supported: [grpc]`},
		{"listens-on-tcp", `does not answer: connection error: desc = "transport: authentication handshake failed: ` +
			`wire: connection refused: tcp is not a unix socket"`},
		{"never-accepts", `no answer within T`},
		{"exits-after-hello", `exited with code 4 after T, before the answer`},
	}
	for _, test := range tests {
		t.Run(test.behaviour, func(t *testing.T) {
			c := command(t, proctest.LeavesNothing(t), test.behaviour)
			if strings.HasPrefix(test.behaviour, "never") {
				c.StartTimeout = 500 * time.Millisecond
			}
			_ = wantStartError(t, c, test.want)
		})
	}
}

func wantStartError(t *testing.T, c Command, want string) *StartError {
	t.Helper()
	p, err := Start(t.Context(), c)
	if err == nil {
		closeIt(t, p)
		t.Fatal("the start succeeded")
	}
	failed, ok := errors.AsType[*StartError](err)
	if !ok {
		t.Fatalf("got a %T, want a *StartError", err)
	}
	if got := stable(err.Error()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	return failed
}

func TestWhatCannotBeExecutedIsNamedByItsPath(t *testing.T) {
	sockets := proctest.LeavesNothing(t)
	dir := t.TempDir()
	binary := filepath.Join(dir, "binary")
	if err := os.WriteFile(binary, []byte("\x7fELF and nothing more"), 0o700); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	nowhere := filepath.Join(sockets, "missing")
	tests := []struct {
		name  string
		given Command
		want  string
		cause error
	}{
		{"missing", Command{Path: missing, SocketDir: sockets}, "cannot be executed: " + missing + ": no such file or directory", os.ErrNotExist},
		{"no format", Command{Path: binary, SocketDir: sockets}, "cannot be executed: " + binary + ": exec format error", syscall.ENOEXEC},
		{"directory", Command{Path: dir, SocketDir: sockets}, "cannot be executed: " + dir + ": permission denied", os.ErrPermission},
		{"no socket directory", Command{Path: binary, SocketDir: nowhere}, "no private directory in socket directory " + nowhere + ": no such file or directory", os.ErrNotExist},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if failed := wantStartError(t, test.given, test.want); !errors.Is(failed, test.cause) {
				t.Errorf("got cause %v, want %v", failed.Err, test.cause)
			}
		})
	}
}

func TestASocketDirectoryWithTooLongAPathIsRefusedBeforeTheStart(t *testing.T) {
	proctest.LeavesNothing(t)
	long := "/tmp/" + strings.Repeat("d", 61)
	_ = wantStartError(t, Command{Path: "/bin/false", SocketDir: long},
		"socket directory "+long+": 66 bytes are too many for the path of a socket, at most 65; name a shorter one")
}

func TestTheLongestSocketDirectoryWorks(t *testing.T) {
	sockets := proctest.LeavesNothing(t)
	deep := filepath.Join(sockets, strings.Repeat("d", maxSocketDir-len(sockets)-1))
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(deep); err != nil {
			t.Error(err)
		}
	})
	start(t, command(t, deep, "well-behaved"))
}

func TestACancelledStartKillsTheProcess(t *testing.T) {
	c := command(t, proctest.LeavesNothing(t), "never-handshakes")
	c.StartTimeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	c.Output = func(int, []byte) { cancel() }
	_, err := Start(ctx, c)
	if failed, ok := errors.AsType[*StartError](err); !ok || failed.Reason != "start was cancelled" || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the start to be cancelled", err)
	}
}

func TestACancelledContextStartsNothing(t *testing.T) {
	c := command(t, proctest.LeavesNothing(t), "exits-at-once")
	said := proctest.NewTranscript()
	c.Output = said.Add
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if lines := said.Lines(); len(lines) > 0 {
		t.Errorf("the process ran and wrote %q", lines)
	}
}

func TestAKillThatComesBeforeTheProcessIsNotLost(t *testing.T) {
	proctest.LeavesNothing(t)
	r := newRunner(command(t, "", "never-handshakes"))
	r.kill()
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitExit(t, &Process{runner: r})
	if err := r.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	r.drain()
	if r.exit.Signal != syscall.SIGKILL {
		t.Errorf("got %v, want it killed", r.exit)
	}
}

func TestThePluginGetsTheGivenEnvironmentAndNotTheHosts(t *testing.T) {
	t.Setenv("SECRET", "of the host")
	c := command(t, proctest.LeavesNothing(t), "well-behaved")
	c.Env = append(c.Env, "GIVEN=to the plugin")
	p, _ := start(t, c)
	for name, want := range map[string]string{"SECRET": "", "GIVEN": "to the plugin", EnvHostPID: fmt.Sprint(os.Getpid())} {
		got, err := do(t.Context(), p.Conn(), "getenv "+name)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestAScriptThatExecutesThePluginBesideItIsAPlugin(t *testing.T) {
	c := command(t, proctest.LeavesNothing(t), "well-behaved")
	script := filepath.Join(filepath.Dir(c.Path), "plugin.sh")
	const text = "#!/bin/sh\nexec \"$(dirname \"$0\")/well-behaved\"\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	c.Path, c.File = script, file
	start(t, c)
}

func TestServeNeedsAHost(t *testing.T) {
	if err := Serve(ServeConfig{}); !errors.Is(err, ErrNoHost) {
		t.Errorf("got %v, want %v", err, ErrNoHost)
	}
}

func TestAMessageMayBeLargerThanTheDefaultOfGRPC(t *testing.T) {
	p, _ := start(t, command(t, proctest.LeavesNothing(t), "well-behaved"))
	_, err := do(t.Context(), p.Conn(), "getenv "+strings.Repeat("x", 5<<20))
	if status.Code(err) != codes.OK {
		t.Errorf("5 MiB: got %v", err)
	}
}
