package files

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
)

// Somebody swaps directories and files for links that lead out, again and again,
// while all calls are made on them: what is outside is neither read nor changed.
func TestNothingOutsideIsReadOrChangedWhileLinksAreSwappedIn(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Trash = duration("1h") })
	canary := strings.Repeat("canary", 10_000) // longer than anything inside
	out := filepath.Join(filepath.Dir(b.dir), "out")
	for path, content := range map[string]string{"r/d/e/f": "inside", "r/g/e/f": "inside", "r/f": "inside", "out/f": canary, "out/e/f": canary} {
		put(t, filepath.Dir(b.dir), path, content)
	}
	links := map[string]string{"d": "../out", "g/e": "../../out", "f": "../out/f"}
	for path, target := range links {
		if err := os.Symlink(target, filepath.Join(b.dir, path+"-evil")); err != nil {
			t.Fatal(err)
		}
	}
	before := snapshot(t, out)
	ctx, stop := context.WithCancel(t.Context())
	var swappers sync.WaitGroup
	defer swappers.Wait()
	defer stop()
	for path := range links {
		swappers.Go(func() {
			for ctx.Err() == nil {
				a, c := filepath.Join(b.dir, path), filepath.Join(b.dir, path+"-evil")
				tmp := a + "-tmp"
				_ = os.Rename(a, tmp)
				_ = os.Rename(c, a)
				_ = os.Rename(tmp, c)
			}
		})
	}
	succeeded := b.hammer(t, canary, time.Now().Add(1500*time.Millisecond))
	if succeeded == 0 {
		t.Error("no call succeeded, which is no test")
	}
	if after := snapshot(t, out); after != before {
		t.Errorf("outside: there was\n%s, there is\n%s", before, after)
	}
}

// hammer makes calls of all kinds, and says how many succeeded.
func (b *box) hammer(t *testing.T, canary string, end time.Time) (succeeded int) {
	t.Helper()
	ctx := t.Context()
	paths := []string{"d/e/f", "d/f", "f", "g/e/f", "g/e-evil/f", "d-evil/f", "d-evil/e/f", "d/new", "g/e/new"}
	for i := 0; time.Now().Before(end); i++ {
		path, other := paths[i%len(paths)], paths[(i/7)%len(paths)]
		read, err := b.ReadFile(ctx, &filev1.ReadFileRequest{Root: "r", Path: path})
		if err == nil && strings.Contains(string(read.GetContent()), "canary") {
			t.Fatalf("%s: read what is outside", path)
		}
		list, _ := b.List(ctx, &filev1.ListRequest{Root: "r", Path: filepath.Dir(path), Depth: 3})
		for _, e := range list.GetEntries() {
			if e.GetType() == filev1.Type_FILE && e.GetSize() >= uint64(len(canary)) {
				t.Fatalf("%s: listed what is outside", path)
			}
		}
		_, err = b.write(path, "inside")
		if err == nil {
			succeeded++
		}
		_, _ = b.Append(ctx, &filev1.AppendRequest{Root: "r", Path: path, Content: []byte("!")})
		_, _ = b.Move(ctx, &filev1.MoveRequest{Root: "r", Path: path, ToPath: other, Overwrite: true})
		_, _ = b.Copy(ctx, &filev1.CopyRequest{Root: "r", Path: other, ToPath: path, Overwrite: true})
		_, _ = b.MakeDir(ctx, &filev1.MakeDirRequest{Root: "r", Path: path + "-dir"})
		mode := uint32(0o777)
		_, _ = b.SetAttributes(ctx, &filev1.SetAttributesRequest{Root: "r", Path: path, Mode: &mode})
		if i%10 == 0 {
			_, _ = b.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: path, Recursive: true, Permanent: i%20 == 0})
		}
	}
	return succeeded
}

// snapshot is all that is in a directory: names, modes, times and content.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	all := ""
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all += path + " " + info.Mode().String() + " " + info.ModTime().String()
		if !d.IsDir() {
			text, err := os.ReadFile(path) //nolint:gosec // G122: nobody changes what is outside, which is what is tested
			if err != nil {
				return err
			}
			all += fmt.Sprintf(" %x", sha256.Sum256(text))
		}
		all += "\n"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
