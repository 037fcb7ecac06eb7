package jail

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAPathThatBreaksARuleIsRefusedWithTheRule(t *testing.T) {
	for path, want := range map[string]string{
		"/etc/passwd":                    "is absolute",
		"a\x00b":                         "has a NUL byte",
		"..":                             `has a ".." part`,
		"a/../b":                         `has a ".." part`,
		"a//b":                           "has an empty part",
		"a/":                             "has an empty part",
		strings.Repeat("x", 256):         "has a part of 256 bytes, at most 255",
		strings.Repeat("x/", 2048) + "x": "has 4097 bytes, at most 4096",
	} {
		_, err := Clean(path)
		if rule, ok := errors.AsType[*PathError](err); !ok || !strings.HasPrefix(rule.Rule, want) {
			t.Errorf("Clean(%.20q): got %v, want a rule that begins with %q", path, err, want)
		}
	}
}

func TestAPathIsFreedOfPartsThatSayNothing(t *testing.T) {
	for path, want := range map[string]string{
		"": ".", ".": ".", "./.": ".", "a": "a", "./a": "a", "a/./b": "a/b", "a/.": "a",
		"...": "...", ".a": ".a", "a/..b": "a/..b", "a/b..": "a/b..", `a\..\b`: `a\..\b`,
	} {
		if got, err := Clean(path); err != nil || got != want {
			t.Errorf("Clean(%q): got %q, %v, want %q", path, got, err, want)
		}
	}
}

// secret is what a file outside of the root has, and none inside.
const secret = "outside"

// place makes a root with all kinds of links, and files outside of it.
func place(t testing.TB) (root *Root, dir string) {
	t.Helper()
	top := t.TempDir()
	dir = filepath.Join(top, "root")
	for _, d := range []string{"root/a/b", "out"} {
		if err := os.MkdirAll(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"out/f": secret, "f": secret, "root/f": "f", "root/a/f": "a/f", "root/a/b/f": "a/b/f"} {
		if err := os.WriteFile(filepath.Join(top, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"to-a": "a", "to-f": "f", "a/up": "..", "a/b/up-up-f": "../../f", "chain": "to-a/up/to-a/b",
		"out": "../out", "out-f": "../f", "abs": "/etc/passwd", "abs-in": dir + "/f", "a/out": "../../out",
		"sly": "a/../../root/f", "loop": "loop2", "loop2": "loop", "dangling": "nothing", "dangling-deep": "a/no/thing",
		"magic": "/proc/self/root",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	})
	return root, dir
}

// ways runs a test with openat2 and without.
func ways(t *testing.T, test func(t *testing.T, root *Root, dir string)) {
	t.Helper()
	for _, walk := range []bool{false, true} {
		t.Run(map[bool]string{false: "openat2", true: "part by part"}[walk], func(t *testing.T) {
			root, dir := place(t)
			if root.walk && !walk {
				t.Skip("the system has no openat2")
			}
			root.walk = walk
			test(t, root, dir)
		})
	}
}

func TestLinksAreFollowedWithinTheRoot(t *testing.T) {
	ways(t, func(t *testing.T, root *Root, _ string) {
		t.Helper()
		for path, want := range map[string]string{
			"f": "f", "a/f": "a/f", "to-a/f": "a/f", "to-f": "f", "a/up/f": "f", "to-a/b/up-up-f": "f", "chain/f": "a/b/f", "chain/up-up-f": "f",
		} {
			found, err := root.Lookup(path)
			if err != nil {
				t.Errorf("%s: got %v, want %s", path, err, want)
				continue
			}
			if found.Path != want || content(t, found) != want {
				t.Errorf("%s: got %s with content %q, want %s", path, found.Path, content(t, found), want)
			}
			found.Close()
		}
	})
}

func content(t testing.TB, found Found) string {
	t.Helper()
	f, err := found.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestALinkThatLeadsNowhereGoodIsAnErrorOfItsKind(t *testing.T) {
	ways(t, func(t *testing.T, root *Root, _ string) {
		t.Helper()
		for path, want := range map[string]error{
			"out/f": ErrEscape, "out-f": ErrEscape, "abs": ErrEscape, "abs-in": ErrEscape, "a/out/f": ErrEscape, "sly": ErrEscape, "magic/etc/passwd": ErrEscape,
			"loop": ErrLoop, "loop/x": ErrLoop, "dangling": ErrDangling, "dangling-deep": ErrDangling, "dangling/x": ErrDangling,
			"nothing": unix.ENOENT, "to-a/nothing": unix.ENOENT, "no/thing": unix.ENOENT, "f/x": unix.ENOTDIR, "to-f/x": unix.ENOTDIR,
		} {
			found, err := root.Lookup(path)
			if err == nil {
				found.Close()
			}
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", path, err, want)
			}
		}
	})
}

func TestAPathThatIsYetToBeMadeIsResolved(t *testing.T) {
	ways(t, func(t *testing.T, root *Root, _ string) {
		t.Helper()
		for path, want := range map[string]string{
			"new": "new", "to-a/new": "a/new", "to-a/new/er": "a/new/er", "chain/x/y/z": "a/b/x/y/z",
		} {
			if got, err := root.Resolve(path); err != nil || got != want {
				t.Errorf("Resolve(%s): got %q, %v, want %q", path, got, err, want)
			}
		}
		if got, err := root.ResolveParent("to-a/up"); err != nil || got != "a/up" {
			t.Errorf("ResolveParent: got %q, %v, want the link itself, a/up", got, err)
		}
	})
}

func TestAFIFOIsFoundButNotOpened(t *testing.T) {
	ways(t, func(t *testing.T, root *Root, dir string) {
		t.Helper()
		if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
			t.Fatal(err)
		}
		found, err := root.Lookup("fifo")
		if err != nil {
			t.Fatal(err)
		}
		defer found.Close()
		if found.Info.Type() != unix.S_IFIFO {
			t.Errorf("type: got %o, want a FIFO", found.Info.Type())
		}
		// A reader would let this open succeed.
		if fd, err := unix.Open(filepath.Join(dir, "fifo"), unix.O_WRONLY|unix.O_NONBLOCK, 0); !errors.Is(err, unix.ENXIO) {
			t.Errorf("a writer's open: got %d, %v, want ENXIO as nobody reads", fd, err)
		}
	})
}

func FuzzPaths(f *testing.F) {
	for _, path := range []string{"f", "../f", "a/../../f", "to-a/up/f", "out/f", "chain/../../f", "./a/./f", "a\x00/f", "/f", "abs", "magic/etc/passwd", "a/out/f", "%2e%2e/f", "..\\f", "loop/f", "a/b/up-up-f"} {
		f.Add(path)
	}
	top, dir := place(f)
	f.Fuzz(func(t *testing.T, path string) {
		clean, err := Clean(path)
		if err != nil {
			return
		}
		for _, walk := range []bool{false, true} {
			root := *top
			root.walk = root.walk || walk
			found, err := root.Lookup(clean)
			if err != nil {
				continue
			}
			if found.Info.IsFile() {
				inside, err := os.Stat(filepath.Join(dir, found.Path))
				if text := content(t, found); text == secret || err != nil || int64(len(text)) != inside.Size() {
					t.Errorf("%q led to %q with content %q, %v", path, found.Path, text, err)
				}
			}
			if again, err := Clean(found.Path); err != nil || again != found.Path {
				t.Errorf("%q led to the path %q, which is not clean: %v", path, found.Path, err)
			}
			found.Close()
		}
	})
}
