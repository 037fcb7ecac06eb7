package keeper

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// soon waits for what nobody announces, and reports whether it happened.
func soon(done func() bool) bool {
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			return false
		}
		<-time.After(time.Millisecond)
	}
	return true
}

// leavesNothing makes the test fail at its end if a child, a goroutine or a
// descriptor is left. It comes first.
func leavesNothing(t testing.TB) {
	t.Helper()
	warmUp(t)
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	t.Cleanup(func() {
		if !soon(func() bool { return runtime.NumGoroutine() <= goroutines }) {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Errorf("%d goroutines before, %d after:\n%s", goroutines, runtime.NumGoroutine(), &stacks)
		}
		for fd, file := range openFiles(t) {
			if files[fd] != file {
				t.Errorf("descriptor %s is left: %s", fd, file)
			}
		}
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err == nil {
			t.Errorf("a child is left; one that has ended: %d", pid)
		}
	})
}

// warmUp starts what the runtime starts once: its poller and its loop of
// signals.
func warmUp(t testing.TB) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "true")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	k := New()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func openFiles(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, e := range entries {
		if file, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files[e.Name()] = file
		}
	}
	return files
}

// start runs a keeper for the time of a test.
func start(t testing.TB) *Keeper {
	t.Helper()
	leavesNothing(t)
	k := New()
	if err := k.Degraded(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return k
}

// instance is a process of this test's fleet with a session.
type instance struct {
	t       testing.TB
	session *Session
	served  chan error
	cmd     *exec.Cmd
	out     *bufio.Scanner
	ended   bool
	orphans int
	release func()
}

// launch starts one as the supervisor does.
func launch(t testing.TB, s *Store, name string, env ...string) *instance {
	t.Helper()
	return launchVia(t, s, &exec.Cmd{Path: "/proc/self/exe", Args: []string{name}, Env: append(os.Environ(), env...)}, func(*Session) {})
}

// launchVia starts any command; before it does, it calls prepare.
func launchVia(t testing.TB, s *Store, cmd *exec.Cmd, prepare func(*Session)) *instance {
	t.Helper()
	session, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	prepare(session)
	i := &instance{t: t, session: session, served: make(chan error, 1), cmd: cmd}
	go func() { i.served <- session.Serve(context.WithoutCancel(t.Context())) }()
	cmd.Env = append(cmd.Env, session.Env(3)...)
	cmd.ExtraFiles = session.Files()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // which the end of the process closes
	if err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	i.out = bufio.NewScanner(out)
	if err := session.Launch(nil)(cmd); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	i.release = func() {
		_ = stdin.Close() // Wait has
		_ = out.Close()
	}
	t.Cleanup(i.kill)
	return i
}

// line returns the next line that the instance, or one of its children, writes.
func (i *instance) line() string {
	i.t.Helper()
	if !i.out.Scan() {
		i.t.Fatalf("%s has closed its output: %v", i.cmd.Args[0], i.out.Err())
	}
	return i.out.Text()
}

// number returns the number in the next line, which begins with text.
func (i *instance) number(text string) (n int) {
	i.t.Helper()
	line := i.line()
	if _, err := fmt.Sscanf(line, text+" %d", &n); err != nil {
		i.t.Fatalf("got %q, want %q and a number", line, text)
	}
	return n
}

// kill kills the instance, its process group, and ends its session.
func (i *instance) kill() {
	i.t.Helper()
	if i.ended {
		return
	}
	i.ended = true
	_ = i.cmd.Process.Kill()
	i.bury()
}

// bury waits for the instance and ends its session.
func (i *instance) bury() {
	i.t.Helper()
	i.ended = true
	defer i.release()
	pid := i.cmd.Process.Pid
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	if err := i.cmd.Wait(); err != nil && i.cmd.ProcessState == nil {
		i.t.Errorf("%s: %v", i.cmd.Args[0], err)
	}
	var err error
	if i.orphans, err = i.session.Close(); err != nil {
		i.t.Error(err)
	}
	if err := <-i.served; err != nil {
		i.t.Error(err)
	}
}

// exists reports whether there is a process, be it a zombie.
func exists(pid int) bool { return unix.Kill(pid, 0) == nil }
