package spawn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// forest returns one whose groups are nobody else's.
func forest(t testing.TB) *tree.Forest {
	t.Helper()
	f, err := tree.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// group returns a group that is killed and removed at the end of the test.
func group(t testing.TB, l tree.Limits) *tree.Group {
	t.Helper()
	g, err := forest(t).New("test", l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := errors.Join(g.Kill(ctx), g.Remove()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// start starts a shell and returns what reads its output.
func start(t testing.TB, c spawn.Config, script string) (*spawn.Process, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c.Path, c.Args, c.Stdout, c.Stderr = "/bin/sh", []string{"-c", script}, w, w
	if c.Env == nil {
		c.Env = os.Environ()
	}
	p, err := spawn.Start(c)
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = spawn.Signal(p.Pidfd, unix.SIGKILL) // it may have ended
		if _, err := p.Wait(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		_ = p.Close()
	})
	return p, r
}

// output runs a shell to its end and returns what it has written.
func output(t testing.TB, c spawn.Config, script string) (string, spawn.Exit) {
	t.Helper()
	p, r := start(t, c, script)
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	exit, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(text), exit
}

// soon waits for what nobody announces.
func soon(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func asRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func TestAProcessHasItsDirectoryAndEnvironmentAndTellsItsExitCode(t *testing.T) {
	dir := t.TempDir()
	text, exit := output(t, spawn.Config{Dir: dir, Env: []string{"A=b"}, Group: group(t, tree.Limits{})}, "echo $A; pwd; exit 7")
	target, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := "b\n" + target + "\n"; text != want || exit.Code != 7 || exit.Signal != 0 {
		t.Errorf("got %q and %+v, want %q and code 7", text, exit, want)
	}
	if exit.Rusage.Maxrss == 0 {
		t.Error("its memory is not known")
	}
}

func TestASignalIsToldAsSuch(t *testing.T) {
	_, exit := output(t, spawn.Config{}, "kill -SEGV $$")
	if exit.Code != -1 || exit.Signal != unix.SIGSEGV {
		t.Errorf("got %+v, want SIGSEGV", exit)
	}
}

func TestAStartThatIsNotPossibleSaysWhy(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := file("text", "no program", 0o755)
	for _, test := range []struct {
		name   string
		config spawn.Config
		want   string
		is     error
	}{
		{"no such file", spawn.Config{Path: dir + "/none"}, "executable", fs.ErrNotExist},
		{"relative", spawn.Config{Path: "true"}, "not an absolute path", nil},
		{"directory", spawn.Config{Path: dir}, "is a directory", nil},
		{"device", spawn.Config{Path: "/dev/null"}, "not a regular file", nil},
		{"no x", spawn.Config{Path: file("data", "x", 0o644)}, "not executable", fs.ErrPermission},
		{"no format", spawn.Config{Path: text}, "neither a program of this machine nor a script", unix.ENOEXEC},
		{"no interpreter", spawn.Config{Path: file("script", "#!/no/such/thing\n", 0o755)}, "interpreter", fs.ErrNotExist},
		{"no user", spawn.Config{Path: "/bin/true", User: "nobody-knows"}, `user "nobody-knows": not known`, nil},
		{"no directory", spawn.Config{Path: "/bin/true", Dir: dir + "/none"}, "directory", fs.ErrNotExist},
		{"file as directory", spawn.Config{Path: "/bin/true", Dir: text}, "not a directory", nil},
		{"NUL", spawn.Config{Path: "/bin/true", Args: []string{"a\x00b"}}, "argument", unix.EINVAL},
		{"long argument", spawn.Config{Path: "/bin/true", Args: []string{strings.Repeat("x", 1<<20)}}, "too long", unix.E2BIG},
		{"many files", spawn.Config{Path: "/bin/true", OpenFiles: 1 << 31}, "open files: a limit of 2147483648; that of this program is", nil},
		{"landlock path", spawn.Config{Path: "/bin/true", Read: []string{dir + "/none"}}, "none", fs.ErrNotExist},
		{"landlock", spawn.Config{Path: "/bin/true", Read: []string{dir}}, "not below what it may read", fs.ErrPermission},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config.Group = group(t, tree.Limits{})
			p, err := spawn.Start(test.config)
			if err == nil {
				_, _ = p.Wait(t.Context())
				_ = p.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if pids, err := test.config.Group.Pids(); err != nil || len(pids) > 0 {
				t.Errorf("left are %v, error %v", pids, err)
			}
		})
	}
}

func TestAProcessRunsAsAnotherUser(t *testing.T) {
	asRoot(t)
	text, _ := output(t, spawn.Config{User: "nobody"}, "id -un; id -G; cat /etc/shadow")
	if lines := strings.Split(text, "\n"); lines[0] != "nobody" || lines[1] == "0" || !strings.Contains(lines[2], "denied") {
		t.Errorf("got %q", text)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := spawn.Start(spawn.Config{Path: "/bin/true", User: "nobody", Dir: dir})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want one about %s", err, dir)
	}
}

// noNewPrivs counts the threads of this program that have given up privileges.
func noNewPrivs(t testing.TB) int {
	t.Helper()
	paths, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range paths {
		text, _ := os.ReadFile(path) // the thread may have ended
		if strings.Contains(string(text), "NoNewPrivs:\t1") {
			n++
		}
	}
	return n
}

func TestAProcessGetsNoNewPrivilegesUnlessItMay(t *testing.T) {
	const script = "grep NoNewPrivs /proc/self/status"
	for allowed, want := range map[bool]string{false: "NoNewPrivs:\t1\n", true: "NoNewPrivs:\t0\n"} {
		if got, _ := output(t, spawn.Config{NewPrivileges: allowed}, script); got != want {
			t.Errorf("allowed %v: got %q", allowed, got)
		}
	}
	soon(t, "no thread without privileges is left", func() bool { return noNewPrivs(t) == 0 })
}

func TestAProcessReadsAndWritesOnlyWhatItMay(t *testing.T) {
	readable, writable, other := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{readable, writable, other} {
		if err := os.WriteFile(dir+"/file", []byte("content\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	system := []string{"/bin", "/usr", "/lib", "/lib64", "/dev", "/proc"}
	restricted := spawn.Config{Read: append(system, readable), Write: []string{writable, "/dev/null"}}
	for _, test := range []struct {
		name   string
		config spawn.Config
		script string
		want   string
	}{
		{"reads", restricted, "cat " + readable + "/file", "content\n"},
		{"reads other", restricted, "cat " + other + "/file 2>/dev/null || echo no", "no\n"},
		{"lists other", restricted, "ls " + other + " 2>/dev/null || echo no", "no\n"},
		{"writes", restricted, "echo x > " + writable + "/new && mkdir " + writable + "/d && echo yes", "yes\n"},
		{"writes what it may read", restricted, "(echo x > " + readable + "/file) 2>/dev/null || echo no", "no\n"},
		{"removes", restricted, "rm -f " + readable + "/file 2>/dev/null || echo no", "no\n"},
		{"children", restricted, "setsid sh -c 'cat " + other + "/file 2>/dev/null || echo no'", "no\n"},
		{"read alone leaves writing", spawn.Config{Read: system}, "echo x > " + other + "/new && echo yes", "yes\n"},
		{"write alone leaves reading", spawn.Config{Write: []string{writable}}, "cat " + other + "/file", "content\n"},
	} {
		if got, _ := output(t, test.config, test.script); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// A thread that was restricted must never run anything else.
func TestThisProgramIsNotRestrictedByWhatItStarts(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			p, err := spawn.Start(spawn.Config{Path: "/bin/true", Read: []string{"/usr", "/bin", "/lib", "/lib64"}, Write: []string{"/dev"}})
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), nil, 0o600); err != nil {
				t.Error(err)
			}
			if exit, err := p.Wait(t.Context()); err != nil || exit.Code != 0 {
				t.Errorf("got %+v and %v", exit, err)
			}
			runtime.LockOSThread() // perhaps a new thread
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), nil, 0o600); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	soon(t, "no thread without privileges is left", func() bool { return noNewPrivs(t) == 0 })
}

func TestOpenFilesAreLimitedFromTheFirstInstruction(t *testing.T) {
	for _, c := range []spawn.Config{{OpenFiles: 20}, {OpenFiles: 20, NewPrivileges: true}, {OpenFiles: 20, Read: []string{"/"}}} {
		if got, exit := output(t, c, "ulimit -Sn; ulimit -Hn"); got != "20\n20\n" || exit.Code != 0 {
			t.Errorf("%+v: got %q and %+v", c, got, exit)
		}
	}
}

func TestTheEndOfAProcessIsSeenWhoeverHoldsItsOutput(t *testing.T) {
	g := group(t, tree.Limits{})
	p, _ := start(t, spawn.Config{Group: g}, "setsid sleep 1000 & exit 5")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 5 {
		t.Errorf("got %+v and %v", exit, err)
	}
	if err := spawn.Signal(p.Pidfd, unix.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("got %v, want os.ErrProcessDone", err)
	}
}

func TestWaitEndsWithItsContextAndMayBeCalledAgain(t *testing.T) {
	p, _ := start(t, spawn.Config{}, "exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := spawn.Signal(p.Pidfd, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if exit, err := p.Wait(t.Context()); err != nil || exit.Signal != unix.SIGTERM {
			t.Errorf("got %+v and %v", exit, err)
		}
	}
}

func TestASignalReachesTheGroupAfterTheEndOfItsLeader(t *testing.T) {
	p, r := start(t, spawn.Config{}, "sh -c 'trap \"echo heard; exit\" TERM; echo ready; while :; do :; done' & read -r _ < /dev/zero & exit 0")
	line := make([]byte, 6)
	if _, err := io.ReadFull(r, line); err != nil || string(line) != "ready\n" {
		t.Fatalf("got %q and %v", line, err)
	}
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := spawn.SignalGroup(p.Pid, p.Pidfd, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "heard\n" {
		t.Errorf("got %q and %v", text, err)
	}
	soon(t, "nobody is left", func() bool {
		return errors.Is(spawn.SignalGroup(p.Pid, p.Pidfd, 0), os.ErrProcessDone)
	})
}

func TestExitCodesAreNotTakenByOthersWhoWait(t *testing.T) {
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			p, err := spawn.Start(spawn.Config{Path: "/bin/sh", Args: []string{"-c", fmt.Sprintf("exit %d", n)}})
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			if exit, err := p.Wait(t.Context()); err != nil || exit.Code != n {
				t.Errorf("got %+v and %v, want code %d", exit, err, n)
			}
		})
		all.Go(func() {
			if err := exec.CommandContext(t.Context(), "/bin/true").Run(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestManyProcessesAreWaitedForByFewThreads(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	const many = 200
	var processes []*spawn.Process
	for range many {
		p, err := spawn.Start(spawn.Config{Path: "/bin/sleep", Args: []string{"1000"}})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		processes = append(processes, p)
	}
	soon(t, "threads of starts have ended", func() bool {
		threads, err := os.ReadDir("/proc/self/task")
		return err == nil && len(threads) < 50
	})
	if n := runtime.NumGoroutine() - goroutines; n > many+5 {
		t.Errorf("%d goroutines for %d processes", n, many)
	}
	for _, p := range processes {
		if err := spawn.Signal(p.Pidfd, unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	for _, p := range processes {
		if exit, err := p.Wait(t.Context()); err != nil || exit.Signal != unix.SIGKILL {
			t.Errorf("got %+v and %v", exit, err)
		}
	}
	soon(t, "nothing is left", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func TestNoDescriptorIsLeft(t *testing.T) {
	count := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	g := group(t, tree.Limits{Processes: 10, Memory: 64 << 20, CPU: 1})
	all := func() {
		for _, c := range []spawn.Config{
			{Path: "/bin/true"}, {Path: "/bin/true", TTY: true}, {Path: "/bin/true", Read: []string{"/"}, Write: []string{"/"}}, {Path: "/bin/true", OpenFiles: 10},
			{Path: "/dev/null"}, {Path: "/bin/true", Read: []string{"/none"}}, {Path: "/bin/true", Read: []string{"/tmp"}, TTY: true}, {Path: "/bin/true", OpenFiles: 1 << 31},
		} {
			c.Group = g
			p, err := spawn.Start(c)
			if err != nil {
				continue
			}
			if p.Terminal != nil {
				_ = p.Terminal.Close()
			}
			if _, err := p.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	all() // opens what is opened once
	before := count()
	for range 10 {
		all()
	}
	soon(t, "as many descriptors as before", func() bool { return count() <= before })
}
