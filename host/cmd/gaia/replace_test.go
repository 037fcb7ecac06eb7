package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestAFileManagerIsReplacedByAnotherWhileCallersRead swaps the shipped one for
// examples/memory-file-manager and back, by the config and by hand. The host is neither
// rebuilt nor restarted, and no read fails.
func TestAFileManagerIsReplacedByAnotherWhileCallersRead(t *testing.T) {
	dir := newHouse(t)
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	const want = "what is on disk"
	if err := os.WriteFile(filepath.Join(root, "f"), []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	config := func(plugin string) string {
		return fmt.Sprintf(`
host { http = "127.0.0.1:0" }
subsystem "files" {
  plugin = %q
  restart { hold = "20s" }
  config {
    root "r" {
      path = %q
      mode = "rw"
    }
  }
}`, plugin, root)
	}
	h := open(t, dir, config("gaia-file-manager"))
	h.await(t, "files", isReady)
	files := filev1.NewFileManagerClient(h.conn)
	reads := h.readers(t, files, want)

	for i, step := range []struct {
		plugin string
		args   []string
	}{
		{"memory-file-manager", []string{"reload"}},
		{"gaia-file-manager", []string{"swap", "files", "gaia-file-manager"}},
		{"memory-file-manager", []string{"swap", "files", "memory-file-manager"}},
		{"gaia-file-manager", []string{"reload"}},
	} {
		h.write(t, config(step.plugin))
		h.says(t, true, "files: ", step.args...)
		if got := h.status(t, "files").GetPlugin(); got != step.plugin {
			t.Fatalf("%v: got the plugin %s, want %s", step.args, got, step.plugin)
		}
		// Only the shipped one makes what is written stay.
		name := fmt.Sprint("new", i)
		if _, err := files.WriteFile(t.Context(), &filev1.WriteFileRequest{Root: "r", Path: name, Content: []byte("x")}); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(root, name)); os.IsNotExist(err) != strings.HasPrefix(step.plugin, "memory") {
			t.Errorf("%s: a file that was written: %v", step.plugin, err)
		}
	}
	if n := reads(); n < 100 {
		t.Errorf("only %d reads were made meanwhile", n)
	} else {
		t.Logf("%d reads, none of which failed", n)
	}
}

// readers read a file, over and over, until stop, which says how often.
func (h *house) readers(t *testing.T, files filev1.FileManagerClient, want string) (stop func() int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var reads atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for ctx.Err() == nil {
				r, err := files.ReadFile(ctx, &filev1.ReadFileRequest{Root: "r", Path: "f"})
				if status.Code(err) == codes.Canceled {
					return
				}
				if err != nil || string(r.GetContent()) != want {
					t.Errorf("got %q, %v", r.GetContent(), err)
					return
				}
				reads.Add(1)
			}
		})
	}
	return func() int64 {
		cancel()
		all.Wait()
		return reads.Load()
	}
}
