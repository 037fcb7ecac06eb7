package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// mount mounts a small file system for the test, or skips it.
func mount(t *testing.T, kind, dir, options string, flags uintptr) {
	t.Helper()
	if err := unix.Mount(kind, dir, kind, flags, options); err != nil {
		t.Skipf("mounting is not permitted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestAFullDiskIsAClearErrorAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "size=2m", 0)
	b := serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: dir, Mode: filev1.Mode_RW}}})
	b.mustWrite("f", "old")
	large := strings.Repeat("x", 3<<20)
	_, err := b.write("f", large)
	wantCode(t, "WriteFile", err, codes.ResourceExhausted, "disk is full")
	_, err = b.Append(t.Context(), &filev1.AppendRequest{Root: "r", Path: "f", Content: []byte(large)})
	wantCode(t, "Append", err, codes.ResourceExhausted, "disk is full")
	b.has("f", "old")
	b.noTemp()
}

func TestAFileSystemThatIsReadOnlyIsAClearError(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "size=2m", 0)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "size=2m"); err != nil {
		t.Fatal(err)
	}
	b := serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: dir, Mode: filev1.Mode_RW}}})
	for call, err := range b.reads("f") {
		wantCode(t, call, err, codes.OK, "")
	}
	for call, err := range b.changes("f") {
		wantCode(t, call, err, codes.PermissionDenied, "the file system is read-only")
	}
	roots, err := b.Roots(t.Context(), &filev1.RootsRequest{})
	if err != nil || roots.GetRoots()[0].GetWritable() || !strings.Contains(roots.GetRoots()[0].GetProblem(), "read-only") {
		t.Errorf("Roots: got %v, %v, want one that is not writable, and why", roots, err)
	}
}

// A directory below the root may be another file system, to which nothing can be
// renamed.
func TestAllCallsWorkAcrossAMountBelowTheRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "m"), 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, "tmpfs", filepath.Join(dir, "m"), "size=2m", 0)
	b := serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: dir, Mode: filev1.Mode_RW, Quota: 1 << 20}}})
	b.mustWrite("m/d/f", "1", func(o *filev1.WriteOptions) { o.MakeParents = true })
	etag := b.mustWrite("m/d/f", "2").GetEtag()
	b.mustWrite("m/d/f", "3", func(o *filev1.WriteOptions) { o.IfMatch = etag })
	b.has("m/d/f", "3")
	ctx := t.Context()
	steps := []func() error{
		func() error {
			_, err := b.Move(ctx, &filev1.MoveRequest{Root: "r", Path: "m/d", ToPath: "d"})
			return err
		},
		func() error {
			_, err := b.Copy(ctx, &filev1.CopyRequest{Root: "r", Path: "d", ToPath: "m/e", Recursive: true})
			return err
		},
		func() error {
			_, err := b.Move(ctx, &filev1.MoveRequest{Root: "r", Path: "d/f", ToPath: "m/e/g"})
			return err
		},
		func() error {
			_, err := b.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: "m/e/f"})
			return err
		},
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	b.has("m/e/g", "3")
	b.lacks("m/e/f")
	b.lacks("m/d")
	b.lacks("d/f")
	bytes, files := usedOnDisk(t, b.dir)
	roots, err := b.Roots(ctx, &filev1.RootsRequest{})
	if got := roots.GetRoots()[0]; err != nil || int64(got.GetUsed()) != bytes || int64(got.GetFiles()) != files {
		t.Errorf("used: got %v, %v, want %d bytes in %d files", got, err, bytes, files)
	}
	b.noTemp()
}
