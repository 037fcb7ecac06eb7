package jail

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever swaps a directory for a link that leads out, and a file for such a link,
// while paths are opened and changed, never brings a call to the outside.
func TestNothingOutsideIsReachedWhileLinksAreSwappedIn(t *testing.T) {
	ways(t, func(t *testing.T, root *Root, dir string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, "d/e"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"d/e/f", "g"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("inside"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for name, target := range map[string]string{"evil": "../out", "d/evil": "../../out", "evil-f": "../out/f"} {
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		out, err := os.Stat(filepath.Join(dir, "../out"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var swappers sync.WaitGroup
		defer swappers.Wait()
		defer stop()
		for a, b := range map[string]string{"d": "evil", "d/e": "d/evil", "g": "evil-f"} {
			swappers.Go(func() {
				for ctx.Err() == nil {
					_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, a), unix.AT_FDCWD, filepath.Join(dir, b), unix.RENAME_EXCHANGE)
				}
			})
		}
		reached := 0
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			for _, path := range []string{"d/e/f", "d/f", "d/evil/f", "g", "evil-f", "evil/f"} {
				if found, err := root.Lookup(path); err == nil {
					reached++
					if text, err := tryContent(found); err == nil && text != "inside" {
						t.Fatalf("%s: read %q, which is outside", path, text)
					}
					found.Close()
				}
			}
			for _, path := range []string{"d", "d/e"} {
				if d, err := root.Dir(path); err == nil {
					if f, err := d.Create("new", 0o600); err == nil {
						_ = f.Close()
						_ = d.Remove("new")
					}
					d.Close()
				}
			}
		}
		if reached == 0 {
			t.Error("nothing was reached at all, which is no test")
		}
		after, err := os.Stat(filepath.Join(dir, "../out"))
		if err != nil || !after.ModTime().Equal(out.ModTime()) {
			t.Errorf("something was made outside: %v, the time of the directory was %v and is %v", err, out.ModTime(), after.ModTime())
		}
	})
}

func tryContent(found Found) (string, error) {
	f, err := found.File()
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	return string(text), err
}
