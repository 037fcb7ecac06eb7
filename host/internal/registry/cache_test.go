package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

const sum = "abababababababababababababababababababababababababababababababab"

func openCache(t *testing.T) (*Cache, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data", "descriptions")
	c, err := OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

func TestACachedDescriptionComesBackWhole(t *testing.T) {
	c, dir := openCache(t)
	r := response(file("a.v1", "One", "Get", "<Both>"))
	r.ConfigMessage = "a.v1.OneConfig"
	d, err := NewDescription(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Store(sum, d); err != nil {
		t.Fatal(err)
	}
	got, ok := c.Load(sum)
	if !ok {
		t.Fatal("not found")
	}
	if diff := cmp.Diff(d.response(), got.response(), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(d.MethodNames(), got.MethodNames()); diff != "" {
		t.Errorf("methods (-want +got):\n%s", diff)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, c.path(sum): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
}

func TestACorruptEntryIsDropped(t *testing.T) {
	c, _ := openCache(t)
	if err := c.Store(sum, describe(t, file("a.v1", "One", "Get"))); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(c.path(sum))
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)-1] ^= 1
	for name, content := range map[string][]byte{
		"empty":        {},
		"torn":         good[:len(good)/2],
		"header only":  []byte(cacheHeader),
		"a bit":        flipped,
		"other format": append([]byte("gaia description 0\n"), good[len(cacheHeader):]...),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(c.path(sum), content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, ok := c.Load(sum); ok {
				t.Error("loaded")
			}
			if _, err := os.Stat(c.path(sum)); !os.IsNotExist(err) {
				t.Errorf("still there: %v", err)
			}
		})
	}
}

func TestAnEntryOverSizeIsDropped(t *testing.T) {
	c, _ := openCache(t)
	if err := os.WriteFile(c.path(sum), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(c.path(sum), 1<<40); err != nil { // sparse: reading it would take the memory
		t.Skip(err)
	}
	if _, ok := c.Load(sum); ok {
		t.Error("loaded")
	}
}

func TestOnlyASHA256NamesAnEntry(t *testing.T) {
	c, _ := openCache(t)
	d := describe(t, file("a.v1", "One", "Get"))
	for _, bad := range []string{"", "../../etc/passwd", strings.Repeat("AB", 32), strings.Repeat("ab", 31), strings.Repeat("zz", 32)} {
		if err := c.Store(bad, d); err == nil {
			t.Errorf("Store(%q) succeeded", bad)
		}
		if _, ok := c.Load(bad); ok {
			t.Errorf("Load(%q) found something", bad)
		}
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c, dir := openCache(t)
	d := describe(t, file("a.v1", "One", "Get"))
	var last string
	for i := range maxCacheEntries + 10 {
		last = fmt.Sprintf("%064x", i)
		if err := c.Store(last, d); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != maxCacheEntries {
		t.Errorf("%d entries, want %d", len(files), maxCacheEntries)
	}
	if _, ok := c.Load(last); !ok {
		t.Error("the newest entry is gone")
	}
	if _, ok := c.Load(fmt.Sprintf("%064x", 0)); ok {
		t.Error("the oldest entry is still there")
	}
}
