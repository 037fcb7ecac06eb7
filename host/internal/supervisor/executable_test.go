package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAnExecutableThatCannotRunIsSaidToBeUnusableAndWhy(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("content"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tt := range map[string]struct {
		path, sum, want string
	}{
		"a directory":    {dir, "", "is not a regular file"},
		"not executable": {write("text", 0o600), "", "is not executable; try chmod +x"},
		"another sum":    {write("other", 0o700), strings.Repeat("0", 64), "the config wants 0000"},
	} {
		_, err := NewExecutables().Open(tt.path, tt.sum)
		if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want ErrUnusable with %q", name, err, tt.want)
		}
	}
}

func TestAMissingExecutableMayComeBack(t *testing.T) {
	_, err := NewExecutables().Open(filepath.Join(t.TempDir(), "missing"), "")
	if err == nil || errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("got %v, want that it does not exist, and not ErrUnusable", err)
	}
}

func TestAFIFOIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := NewExecutables().Open(path, ""); !errors.Is(err, ErrUnusable) {
		t.Errorf("got %v, want ErrUnusable", err)
	}
}

func TestWhatNoHostHasMadeIsNotRemoved(t *testing.T) {
	dir := t.TempDir()
	work := filepath.Join(dir, "p", "work.txt")
	if err := os.Mkdir(filepath.Dir(work), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(work, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveSocketDir(filepath.Dir(work)); err == nil || !strings.Contains(err.Error(), "work.txt") {
		t.Errorf("got %v, want an error that names work.txt", err)
	}
	if _, err := os.Stat(work); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

func TestAChangedFileIsHashedAgainWhateverItsTimesSay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	x := NewExecutables()
	var stamp os.FileInfo
	for _, content := range []string{"first", "other"} { // of one length
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		if stamp == nil {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			stamp = info
		} else if err := os.Chtimes(path, stamp.ModTime(), stamp.ModTime()); err != nil {
			t.Fatal(err)
		}
		want := sha256.Sum256([]byte(content))
		for range 2 { // the second time from memory
			exe, err := x.Open(path, hex.EncodeToString(want[:]))
			if err != nil {
				t.Fatalf("content %q: %v", content, err)
			}
			if err := exe.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(x.hashes) != 2 {
		t.Errorf("got %d remembered hashes, want one a content", len(x.hashes))
	}
}

func TestTheDirectoryForSocketsIsEmptyShortAndTheOwnersAlone(t *testing.T) {
	short, err := os.MkdirTemp("", "g")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	long := filepath.Join(t.TempDir(), strings.Repeat("long/", 20))
	for _, socket := range []string{filepath.Join(short, "gaia.sock"), filepath.Join(long, "gaia.sock")} {
		dir, err := SocketDir(socket)
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Mkdir(filepath.Join(dir, ours+"17"), 0o700); err != nil {
			t.Fatal(err)
		}
		again, err := SocketDir(socket)
		if err != nil || again != dir {
			t.Fatalf("a second time: got %q and %v, want %q", again, err, dir)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 0 {
			t.Errorf("%s holds %v (%v), want nothing", dir, entries, err)
		}
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v (%v), want 0700", dir, info.Mode(), err)
		}
		if len(dir) > longestDir {
			t.Errorf("%s has %d bytes, want at most %d", dir, len(dir), longestDir)
		}
	}
}
