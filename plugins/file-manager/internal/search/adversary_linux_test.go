package search

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
)

func TestNobodyLeadsASearchOut(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := tree(t, map[string]string{"a/d/f": "harmless", "a/f": "harmless"})
	if err := errors.Join(root.Symlink(outside, "link"), root.Symlink(filepath.Join(outside, "f"), "file")); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // swaps directory and link, file and link
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, pair := range [][2]string{{"a/d", "link"}, {"a/f", "file"}} {
				a, b := filepath.Join(root.Name(), pair[0]), filepath.Join(root.Name(), pair[1])
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	}()
	for range 3000 {
		if got, _ := run(t, root, &filev1.SearchRequest{Content: "secret"}); len(got) > 0 {
			t.Errorf("found %q", got)
			break
		}
	}
	close(stop)
	<-done
}
