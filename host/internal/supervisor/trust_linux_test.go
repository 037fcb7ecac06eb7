package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestWhatWasTrustedIsExecutedWhateverTakesItsPlace puts another file in the place of a
// plugin after it was checked, and before it is executed.
func TestWhatWasTrustedIsExecutedWhateverTakesItsPlace(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "g") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, evil, ran := filepath.Join(dir, "fleet-echo"), filepath.Join(dir, "evil"), filepath.Join(dir, "ran")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(evil, []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	x := NewExecutables()
	asked := 0
	x.Trust(func(*os.File, string, string) error {
		asked++
		return os.Rename(evil, path)
	})
	if _, err := Probe(t.Context(), x, path, "", filepath.Join(dir, "p"), Ties{}); err != nil || asked != 1 {
		t.Errorf("what was checked: %v after %d questions, want that it runs", err, asked)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("what was put in its place was executed")
	}
}

func TestWhatIsNotTrustedIsNotStarted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("content"), 0o700); err != nil {
		t.Fatal(err)
	}
	x := NewExecutables()
	no := errors.New("no")
	x.Trust(func(*os.File, string, string) error { return no })
	if _, err := x.Open(path, ""); !errors.Is(err, no) || !errors.Is(err, ErrUnusable) {
		t.Errorf("got %v, want what was said, and ErrUnusable", err)
	}
}
