package download

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

func TestANameIsOneThatMayBeInADirectory(t *testing.T) {
	for given, want := range map[string]string{
		"report.pdf": "report.pdf", "../../etc/passwd": "passwd", `..\a.txt`: "a.txt", ".bashrc": "bashrc", "": "download", "...": "download",
		"a\x00\nb": "a__b", "tail. ": "tail", "\u202efdp.exe": "_fdp.exe", "a\xffb": "a_b", "über uns.txt": "über uns.txt",
		strings.Repeat("ä", 300) + ".tar": strings.Repeat("ä", 98) + ".tar", "x/": "download",
	} {
		if got := clean(given); got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}

func TestWhatAKilledProcessHasLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, partialName, "123", "456")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, partialName), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(left, "part"), filepath.Join(left, "..", "owner.lock")} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(Rules{Dir: dir, MaxSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	other, err := Open(Rules{Dir: dir, MaxSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.home.Dir()); err != nil {
		t.Errorf("what a living process has is gone: %v", err)
	}
	for _, store := range []*Store{s, other} {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAFileThatGrewUnseenIsRefused(t *testing.T) {
	s, err := Open(Rules{Dir: t.TempDir(), MaxSize: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var reports []*browserv1.Download
	f, err := s.Folder("x", func(d *browserv1.Download) { reports = append(reports, d) })
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"known", "unknown"} {
		if err := os.WriteFile(filepath.Join(f.Partial(), id), []byte("four"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.Begin("known", "http://a.test/", "a")
	f.Completed("known")
	f.Completed("unknown")
	f.moves.Wait()
	if left, err := os.ReadDir(f.Partial()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if len(reports) != 1 || reports[0].GetError() != "4 bytes, limit 3 (downloads.max_size)" {
		t.Errorf("got %v", reports)
	}
}
