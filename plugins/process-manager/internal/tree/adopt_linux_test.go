package tree_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
)

// TestMain is also an instance of a plugin, which starts two processes.
func TestMain(m *testing.M) {
	if identity, kind := os.Getenv("IDENTITY"), os.Getenv("KIND"); identity != "" {
		be := func() error { return beInstance(identity, kinds()[kind]) }
		if kind == "divided" {
			be = func() error { return beDivided(identity) }
		}
		if err := be(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func beInstance(identity string, use func(int, []string) bool) error {
	if use == nil {
		use = func(int, []string) bool { return false }
	}
	f, _, err := tree.OpenOn(identity, use)
	if err != nil {
		return err
	}
	for _, name := range []string{"kept", "stale"} {
		g, err := f.New(name, tree.Limits{})
		if err != nil {
			return err
		}
		p, err := spawn.Start(spawn.Config{
			Path: "/bin/sh", Args: []string{"-c", `setsid sleep 1000 & echo ` + name + `; wait`}, Env: os.Environ(),
			Stdout: os.Stdout, Stderr: os.Stderr, Group: g,
		})
		if err != nil {
			return err
		}
		defer p.Close()
	}
	select {} // until it is killed
}

func TestTheNextInstanceAdoptsWhatIsKeptAndSweepsTheRest(t *testing.T) {
	for name, use := range kinds() {
		t.Run(name, func(t *testing.T) {
			identity := t.TempDir()
			open(t, use) // skips
			killed(t, identity, name)
			only := use
			if only == nil {
				only = func(int, []string) bool { return false }
			}
			f, held, err := tree.OpenOn(identity, only, "kept")
			if err != nil {
				t.Fatal(err)
			}
			kept, err := f.Adopt("kept")
			if err != nil {
				t.Fatal(err)
			}
			if pids, err := kept.Pids(); err != nil || len(pids) != 2 {
				t.Errorf("kept are %v, error %v, want two", pids, err)
			}
			if _, err := f.New("kept", tree.Limits{}); held && err == nil {
				t.Error("the name of a group was given twice")
			}
			stale, err := f.Adopt("stale")
			if err != nil {
				t.Fatal(err)
			}
			if pids, err := stale.Pids(); held && (err != nil || len(pids) > 0) {
				t.Errorf("stale are %v, error %v", pids, err)
			}
			end(t, kept)
			end(t, stale)
			if left := slices.Concat(kept.Directories(), stale.Directories()); len(left) > 0 {
				t.Errorf("left are %v", left)
			}
		})
	}
}

// killed lets an instance start its processes and kills it.
func killed(t *testing.T, identity, kind string) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "/proc/self/exe")
	cmd.Env = append(os.Environ(), "IDENTITY="+identity, "KIND="+kind)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewScanner(r)
	var lines []string
	for len(lines) < 2 && out.Scan() {
		lines = append(lines, out.Text())
	}
	slices.Sort(lines)
	if err := unix.Kill(cmd.Process.Pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if diff := cmp.Diff([]string{"kept", "stale"}, lines); diff != "" {
		t.Fatal(diff)
	}
}
