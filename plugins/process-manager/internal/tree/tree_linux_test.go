package tree_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// kinds are the ways in which a tree can be held.
func kinds() map[string]func(version int, controllers []string) bool {
	return map[string]func(int, []string) bool{
		"as the machine has": func(int, []string) bool { return true },
		"cgroup v2":          func(version int, _ []string) bool { return version == 2 },
		"cgroup v1":          func(version int, _ []string) bool { return version == 1 },
		"v1 without pids": func(version int, c []string) bool {
			return version == 1 && !slices.Contains(c, "pids")
		},
		"nothing": nil,
	}
}

// open opens a forest of a kind, nil for one without control groups.
func open(t testing.TB, use func(int, []string) bool) *tree.Forest {
	t.Helper()
	wanted := use != nil
	if !wanted {
		use = func(int, []string) bool { return false }
	}
	f, ok, err := tree.OpenOn(t.TempDir(), use)
	if err != nil {
		t.Fatal(err)
	}
	if wanted && !ok {
		t.Skip("this machine has none that this user may write")
	}
	return f
}

// limited skips the test unless the forest limits what it is about.
func limited(t testing.TB, f *tree.Forest, controller string) {
	t.Helper()
	if limits, _, _ := strings.Cut(f.String(), ";"); !strings.Contains(limits, controller) || strings.HasPrefix(limits, "rlimits") {
		t.Skip(f.String())
	}
}

// group makes a group that is killed and removed at the end of the test.
func group(t testing.TB, f *tree.Forest, l tree.Limits) *tree.Group {
	t.Helper()
	g, err := f.New("test", l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, g) })
	return g
}

func end(t testing.TB, g *tree.Group) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if err := errors.Join(g.Kill(ctx), g.Remove()); err != nil {
		t.Error(err)
	}
}

// script is a shell that runs in a group.
type script struct {
	*spawn.Process
	out *bufio.Reader
}

func run(t testing.TB, g *tree.Group, text string) *script {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := spawn.Start(spawn.Config{Path: "/bin/sh", Args: []string{"-c", text}, Env: os.Environ(), Stdout: w, Stderr: w, Group: g})
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		_ = p.Close()
	})
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &script{Process: p, out: bufio.NewReader(r)}
}

// line waits for the next line of output.
func (s *script) line(t testing.TB) string {
	t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatalf("got %q and %v", line, err)
	}
	return strings.TrimSpace(line)
}

// gone waits until nobody holds the output any more.
func (s *script) gone(t testing.TB) {
	t.Helper()
	if _, err := io.Copy(io.Discard, s.out); err != nil {
		t.Errorf("somebody still holds the output: %v", err)
	}
}

func asRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
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

func TestKillEndsAllThatAProcessHasStarted(t *testing.T) {
	for _, escape := range []struct{ name, script string }{
		{"children", `sleep 1000 & echo ready; wait`},
		{"another session", `setsid sleep 1000 & setsid sh -c 'sleep 1000 & echo ready; wait'`},
		{"a daemon", `(setsid sh -c 'sleep 1000 & echo ready' &) & wait; exit 0`},
		{"a daemon of a process that has ended", `setsid sh -c '(sleep 1000 &) ; echo ready' & exit 3`},
		{"who ignores signals", `trap '' TERM INT HUP QUIT; sh -c 'trap "" TERM; echo ready; while :; do sleep 1000; done' & wait`},
		{"who is stopped", `sh -c 'kill -STOP $$' & echo ready; kill -STOP $$`},
		{"who has put off the environment", `setsid env -i sleep 1000 & echo ready; wait`},
		{"a chain that forks and exits for ever", `f() { f & exec sleep 0.001; }; f & echo ready; wait`},
		{"a crowd", `i=0; while [ $i -lt 100 ]; do setsid sleep 1000 & i=$((i+1)); done; echo ready; wait`},
	} {
		t.Run(escape.name, func(t *testing.T) {
			for name, use := range kinds() {
				t.Run(name, func(t *testing.T) {
					f := open(t, use)
					g := group(t, f, tree.Limits{})
					s := run(t, g, escape.script)
					if got := s.line(t); got != "ready" {
						t.Fatalf("got %q", got)
					}
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					if err := g.Kill(ctx); err != nil {
						t.Fatal(err)
					}
					s.gone(t)
					if pids, err := g.Pids(); err != nil || len(pids) > 0 {
						t.Errorf("left are %v, error %v", pids, err)
					}
					if exit, err := s.Wait(ctx); err != nil || exit.Signal != unix.SIGKILL && exit.Code != 0 && exit.Code != 3 {
						t.Errorf("got %+v and %v", exit, err)
					}
				})
			}
		})
	}
}

func TestKillEndsAForkBomb(t *testing.T) {
	for name, use := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := open(t, use)
			bomb := `f() { f & f & wait; }; echo ready; f`
			if !strings.Contains(f.String(), "pids") || strings.HasPrefix(f.String(), "rlimits") {
				bomb = `f() { [ $1 -gt 6 ] && exec sleep 1000; f $(($1+1)) & f $(($1+1)) & wait; }; echo ready; f 0` // nothing else would bound it
			}
			g := group(t, f, tree.Limits{Processes: 150})
			s := run(t, g, bomb)
			s.line(t)
			soon(t, "many processes", func() bool { return g.Usage().Processes > 60 })
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := g.Kill(ctx); err != nil {
				t.Fatal(err)
			}
			s.gone(t)
			// The group is as good as new.
			if got := run(t, g, `sleep 0 & wait; echo again`).line(t); got != "again" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestRemoveKillsNobody(t *testing.T) {
	for name, use := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := open(t, use)
			g := group(t, f, tree.Limits{})
			s := run(t, g, `echo ready; read -r _ < /dev/zero; sleep 1000`)
			s.line(t)
			if err := g.Remove(); len(g.Directories()) > 0 && !errors.Is(err, unix.EBUSY) {
				t.Errorf("got %v, want EBUSY", err)
			}
			if pids, err := g.Pids(); err != nil || !slices.Contains(pids, s.Pid) {
				t.Errorf("got %v and %v, want %d", pids, err, s.Pid)
			}
		})
	}
}

func TestAGroupThatWasRemovedStartsNothing(t *testing.T) {
	f := open(t, kinds()["as the machine has"])
	g, err := f.New("test", tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Remove(); err != nil {
		t.Fatal(err)
	}
	if p, err := spawn.Start(spawn.Config{Path: "/bin/true", Group: g}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v and %v", p, err)
	}
	if err := errors.Join(g.Update(tree.Limits{Processes: 1}), g.Kill(t.Context()), g.Remove()); err != nil {
		t.Error(err)
	}
}

func TestAProcessThatNeedsMoreMemoryThanTheLimitIsKilledAndCounted(t *testing.T) {
	for name, use := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := open(t, use)
			limited(t, f, "memory")
			g := group(t, f, tree.Limits{Memory: 32 << 20})
			s := run(t, g, `head -c 200000000 /dev/zero | tail; echo $?`)
			s.gone(t)
			if n := g.OOMKills(); n == 0 {
				t.Error("no kill was counted")
			}
			// One more is told from the count before.
			before := g.OOMKills()
			run(t, g, `head -c 200000000 /dev/zero | tail`).gone(t)
			if n := g.OOMKills(); n <= before {
				t.Errorf("got %d after %d", n, before)
			}
		})
	}
}

func TestNoMoreProcessesRunThanTheLimit(t *testing.T) {
	for name, use := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := open(t, use)
			limited(t, f, "pids")
			g := group(t, f, tree.Limits{Processes: 5})
			s := run(t, g, `for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait`)
			if got := s.line(t); !strings.Contains(strings.ToLower(got), "fork") {
				t.Errorf("got %q, want an error of fork", got)
			}
			if n := g.Usage().Processes; n > 5 {
				t.Errorf("%d processes run", n)
			}
		})
	}
}

func TestAGroupWithAProcessorLimitIsThrottled(t *testing.T) {
	for name, use := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := open(t, use)
			limited(t, f, "cpu")
			g := group(t, f, tree.Limits{CPU: 0.05})
			run(t, g, `while :; do :; done`)
			soon(t, "throttled", func() bool {
				for _, dir := range g.Directories() {
					text, _ := os.ReadFile(filepath.Join(dir, "cpu.stat"))
					for line := range strings.Lines(string(text)) {
						if n, ok := strings.CutPrefix(line, "nr_throttled "); ok && strings.TrimSpace(n) != "0" {
							return true
						}
					}
				}
				return false
			})
		})
	}
}

func TestLimitsThatComeLaterHoldForProcessesThatRun(t *testing.T) {
	for name, use := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := open(t, use)
			limited(t, f, "pids")
			g := group(t, f, tree.Limits{})
			s := run(t, g, `trap 'sleep 1000 & sleep 1000 & echo alive' USR1; setsid sleep 1000 & echo ready; while :; do :; done`)
			s.line(t)
			if err := g.Update(tree.Limits{Processes: 2, CPU: 0.5, Memory: 64 << 20, OpenFiles: 77}); err != nil {
				t.Fatal(err)
			}
			if err := spawn.Signal(s.Pidfd, unix.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			if got := s.line(t); !strings.Contains(strings.ToLower(got), "fork") {
				t.Errorf("got %q, want an error of fork", got)
			}
			var files unix.Rlimit
			if err := unix.Prlimit(s.Pid, unix.RLIMIT_NOFILE, nil, &files); err == nil && files.Max != 77 {
				t.Errorf("got %d open files", files.Max)
			}
			end(t, g)
			if dirs := g.Directories(); len(dirs) > 0 {
				t.Errorf("left are %q", dirs)
			}
		})
	}
}

func TestUsageGrowsWithUse(t *testing.T) {
	for name, use := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := open(t, use)
			g := group(t, f, tree.Limits{})
			s := run(t, g, `sleep 1000 & echo ready; while :; do :; done`)
			s.line(t)
			soon(t, "usage", func() bool {
				u := g.Usage()
				return u.Processes == 2 && u.CPU > 20*time.Millisecond && u.Memory > 0
			})
		})
	}
}

func TestAGroupIsBornWithItsProcess(t *testing.T) {
	for name, use := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := open(t, use)
			g := group(t, f, tree.Limits{Memory: 64 << 20, Processes: 10, CPU: 1})
			s := run(t, g, `echo $(cat /proc/self/cgroup); ulimit -m`)
			groups := s.line(t)
			for _, dir := range g.Directories() {
				if !strings.Contains(groups, filepath.Base(dir)) {
					t.Errorf("%s is not among %q", dir, groups)
				}
			}
			if mark := s.line(t); len(g.Directories()) == 0 && mark == "unlimited" {
				t.Errorf("it has no mark")
			}
			if text, err := os.ReadFile("/proc/self/cgroup"); err != nil || strings.Contains(string(text), "gaia-tree") {
				t.Errorf("got %s and %v: we are in it ourselves", text, err)
			}
		})
	}
}

func TestNamesThatNoDirectoryMayHaveAreRefused(t *testing.T) {
	f := open(t, nil)
	for _, name := range []string{"", "a/b", "..\x00", "a b", strings.Repeat("x", 101)} {
		if _, err := f.New(name, tree.Limits{}); !errors.Is(err, tree.ErrName) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}
