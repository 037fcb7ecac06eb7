package spawn_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// output runs a shell with some configuration and returns what it writes.
func output(t testing.TB, c spawn.Config, script string) (string, spawn.Exit) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.Path, c.Args, c.Stdout, c.Stderr = "/bin/sh", []string{"-c", script}, w, w
	p, err := spawn.Start(c)
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
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

func TestAProcessRunsAndTellsItsExitCode(t *testing.T) {
	dir := t.TempDir()
	text, exit := output(t, spawn.Config{Dir: dir, Env: []string{"A=b"}, Group: group(t, tree.Limits{})}, "echo $A; pwd; exit 7")
	target, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := "b\n" + target + "\n"; text != want || exit.Code != 7 || exit.Signal != 0 {
		t.Errorf("got %q and %+v, want %q and code 7", text, exit, want)
	}
}
