package files

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

func TestALockThatCannotBeWrittenDownIsNotHeld(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "size=64k", 0)
	b := serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: dir, Mode: filev1.Mode_RW}}})
	b.mustWrite("f", "1")
	fill := filepath.Join(dir, "fill")
	if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	_, err := b.Lock(t.Context(), &filev1.LockRequest{Root: "r", Path: "f"})
	wantCode(t, "Lock", err, codes.ResourceExhausted, "disk is full")
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	b.mustWrite("f", "2")
}

func TestDirectoriesThatAreReadOnlyAreRemovedByTheirOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to become somebody else takes root")
	}
	dir := t.TempDir()
	put(t, dir, "d/read-only/f", "12345")
	for path := dir; path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Skip(err)
		}
	}
	for _, path := range []string{"d/read-only/f", "d/read-only", "d"} {
		if err := os.Chown(filepath.Join(dir, path), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "d/read-only"), 0o555); err != nil {
		t.Fatal(err)
	}
	root, err := jail.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	top, err := root.Dir(".")
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	type result struct {
		usage usage
		err   error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine, as somebody else
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			done <- result{err: err}
			return
		}
		u, err := removeAll(t.Context(), top, "d")
		done <- result{u, err}
	}()
	if r := <-done; r.err != nil || r.usage != (usage{bytes: 5, files: 1}) {
		t.Errorf("removeAll: got %v, %v, want one file of 5 bytes", r.usage, r.err)
	}
}

func TestTooManyOpenFilesDoNotMakeDirectoriesLookEmpty(t *testing.T) {
	b := open(t)
	b.put(strings.Repeat("d/", 60)+"f", "1")
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	inUse, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	tree := b.manager.roots["r"].tree
	few := unix.Rlimit{Cur: uint64(len(inUse)) + 20, Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Skip(err)
	}
	_, listErr := b.List(t.Context(), &filev1.ListRequest{Root: "r", Depth: 64})
	_, countErr := tree.count(t.Context())
	none := unix.Rlimit{Cur: 3, Max: before.Max}
	noneErr := unix.Setrlimit(unix.RLIMIT_NOFILE, &none)
	kept := tree.keepsState()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if noneErr != nil || !kept {
		t.Errorf("keepsState: got %v, %v, want true", kept, noneErr)
	}
	wantCode(t, "List", listErr, codes.ResourceExhausted, "open files")
	if countErr == nil {
		t.Error("count: got no error")
	}
}
