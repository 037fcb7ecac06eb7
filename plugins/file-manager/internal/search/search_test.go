package search

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// testRoot is a directory, as it is searched and as a test changes it.
type testRoot struct {
	*os.Root

	jail *jail.Root
}

func newRoot(tb testing.TB, dir string) testRoot {
	tb.Helper()
	root, err := jail.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { root.Close() })
	return testRoot{root.OS(), root}
}

// tree makes files; a name with a slash at its end is a directory.
func tree(t testing.TB, files map[string]string) testRoot {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return newRoot(t, dir)
}

// run searches and writes each match as "path", or "path:line:column:text".
func run(t testing.TB, root testRoot, request *filev1.SearchRequest) ([]string, Summary) {
	t.Helper()
	q, err := Parse(request)
	if err != nil {
		t.Fatal(err)
	}
	return runQuery(t, root, q)
}

func runQuery(t testing.TB, root testRoot, q Query) ([]string, Summary) {
	t.Helper()
	var got []string
	summary, err := Run(t.Context(), root.jail, q, func(m Match) error {
		if m.Info.Inode == 0 {
			t.Errorf("%s has no info", m.Path)
		}
		text := m.Path
		if m.Line > 0 {
			text = fmt.Sprintf("%s:%d:%d:%s", m.Path, m.Line, m.Column, m.Text)
		}
		got = append(got, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, summary
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("matches (-want +got):\n%s", diff)
	}
}

func TestNamesAreFoundInTheOrderOfPaths(t *testing.T) {
	root := tree(t, map[string]string{"a/b.go": "", "a.go": "", "a-b/c.go": "", "a/b/d.go": "", "z/": "", "a/x.txt": ""})
	got, summary := run(t, root, &filev1.SearchRequest{Glob: []string{"**/*.go", "z"}})
	expect(t, got, "a/b/d.go", "a/b.go", "a-b/c.go", "a.go", "z")
	if want := (Summary{Files: 5}); summary != want {
		t.Errorf("summary %+v, want %+v", summary, want)
	}
	got, _ = run(t, root, &filev1.SearchRequest{})
	expect(t, got, "a", "a/b", "a/b/d.go", "a/b.go", "a/x.txt", "a-b", "a-b/c.go", "a.go", "z")
}

func TestGlobsAreSeenFromTheDirectorySearched(t *testing.T) {
	root := tree(t, map[string]string{"src/a.go": "x", "src/sub/b.go": "x", "a.go": "x"})
	got, _ := run(t, root, &filev1.SearchRequest{Path: "src", Glob: []string{"*.go"}})
	expect(t, got, "src/a.go")
	got, _ = run(t, root, &filev1.SearchRequest{Path: "src", Glob: []string{"**/*.go"}, Content: "x", Exclude: []string{"sub"}})
	expect(t, got, "src/a.go:1:1:x")
}

func TestLinesAreFoundWithNumberColumnAndContext(t *testing.T) {
	root := tree(t, map[string]string{"f": "one\r\ntwo\n three two\n\nfive\nlast two"})
	q, err := Parse(&filev1.SearchRequest{Content: "two$", Context: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got []Match
	if _, err := Run(t.Context(), root.jail, q, func(m Match) error {
		m.Info = jail.Info{}
		got = append(got, m)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []Match{
		{Path: "f", Line: 2, Column: 1, Text: "two", Before: []string{"one"}, After: []string{" three two", ""}},
		{Path: "f", Line: 3, Column: 8, Text: " three two", Before: []string{"one", "two"}, After: []string{"", "five"}},
		{Path: "f", Line: 6, Column: 6, Text: "last two", Before: []string{"", "five"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("matches (-want +got):\n%s", diff)
	}
}

func TestALineIsMatchedForItself(t *testing.T) {
	root := tree(t, map[string]string{"f": "a\nb\nab\n"})
	got, _ := run(t, root, &filev1.SearchRequest{Content: `a\s*b`})
	expect(t, got, "f:3:1:ab")
	got, _ = run(t, root, &filev1.SearchRequest{Content: `^$`})
	expect(t, got)
	got, _ = run(t, root, &filev1.SearchRequest{Content: `\A[ab]\z`})
	expect(t, got, "f:1:1:a", "f:2:1:b")
}

func TestBinaryFilesAreSkippedAndCounted(t *testing.T) {
	root := tree(t, map[string]string{"bin": "needle\x00", "late": strings.Repeat("needle\n", 2000) + "\x00", "text": "needle", "empty": ""})
	got, summary := run(t, root, &filev1.SearchRequest{Content: "needle", Exclude: []string{"late"}})
	expect(t, got, "text:1:1:needle")
	if want := (Summary{Files: 2, Skipped: 1}); summary != want {
		t.Errorf("summary %+v, want %+v", summary, want)
	}
}

func TestALineTooLongEndsAFileAndIsCounted(t *testing.T) {
	long := strings.Repeat("x", maxWindow+1)
	fits := strings.Repeat("x", maxWindow-100) + "needle"
	root := tree(t, map[string]string{"long": "needle\n" + long + "needle\n", "fits": fits + "\nneedle"})
	got, summary := run(t, root, &filev1.SearchRequest{Content: "needle"})
	expect(t, got, fmt.Sprintf("fits:1:%d:%s", maxWindow-99, strings.Repeat("x", maxText)), "fits:2:1:needle", "long:1:1:needle")
	if summary.Skipped != 1 {
		t.Errorf("skipped %d, want 1", summary.Skipped)
	}
}

func TestMoreThanMaxResultsIsTruncated(t *testing.T) {
	root := tree(t, map[string]string{"a": "x\nx\nx\n", "b": "x\n"})
	for limit, truncated := range map[uint32]bool{3: true, 4: false} {
		got, summary := run(t, root, &filev1.SearchRequest{Content: "x", MaxResults: limit})
		if len(got) != int(limit) || summary.Truncated != truncated {
			t.Errorf("max_results %d: %d matches, truncated %v", limit, len(got), summary.Truncated)
		}
	}
	got, summary := run(t, root, &filev1.SearchRequest{MaxResults: 1})
	if len(got) != 1 || !summary.Truncated {
		t.Errorf("names: %d matches, truncated %v", len(got), summary.Truncated)
	}
}

func TestLinksAreNamedAndNotFollowed(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("needle"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := tree(t, map[string]string{"dir/f": "needle"})
	for name, target := range map[string]string{"dir/loop": "..", "out": outside, "file": "dir/f"} {
		if err := root.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := run(t, root, &filev1.SearchRequest{Content: "needle"})
	expect(t, got, "dir/f:1:1:needle")
	got, _ = run(t, root, &filev1.SearchRequest{})
	expect(t, got, "dir", "dir/f", "dir/loop", "file", "out")
	q, _ := Parse(&filev1.SearchRequest{Path: "out"})
	if _, err := Run(t.Context(), root.jail, q, func(Match) error { return nil }); err == nil {
		t.Error("a link out of the root was followed")
	}
}

func TestWhatIsNoFileIsNeverOpened(t *testing.T) {
	root := tree(t, map[string]string{"f": "needle"})
	if err := unix.Mkfifo(filepath.Join(root.Name(), "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, _ := run(t, root, &filev1.SearchRequest{Content: "needle"}) // would wait for a writer
	expect(t, got, "f:1:1:needle")
	d, err := openStart(root.jail, ".")
	if err != nil {
		t.Fatal(err)
	}
	defer d.release()
	if _, err := d.openFile("fifo"); !errors.Is(err, errNotRegular) { // it was a file when it was listed
		t.Errorf("open a FIFO: %v, want %v", err, errNotRegular)
	}
	if _, err := d.openDirectory("fifo"); err == nil {
		t.Error("a FIFO was opened as a directory")
	}
}

func TestHiddenPathsAreNotFound(t *testing.T) {
	root := tree(t, map[string]string{"a/.env": "needle", "secret/deep/f": "needle", "a/f": "needle"})
	for _, content := range []string{"", "needle"} {
		q, err := Parse(&filev1.SearchRequest{Content: content, Glob: []string{"**/*"}, Exclude: []string{"a"}})
		if err != nil {
			t.Fatal(err)
		}
		q.excludes = nil
		q.Hidden = func(path string) bool { return path == "secret" || strings.HasSuffix(path, ".env") }
		got, _ := runQuery(t, root, q)
		want := []string{"a", "a/f"}
		if content != "" {
			want = []string{"a/f:1:1:needle"}
		}
		expect(t, got, want...)
	}
}

func TestAnErrorOfEmitEndsTheSearch(t *testing.T) {
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("d%d/f", i)] = strings.Repeat("needle\n", 1000)
	}
	root := tree(t, files)
	q, _ := Parse(&filev1.SearchRequest{Content: "needle", MaxResults: maxResults})
	full := errors.New("full")
	if _, err := Run(t.Context(), root.jail, q, func(Match) error { return full }); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err := Run(ctx, root.jail, q, func(Match) error {
		if n++; n == 10 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v after %d matches", err, n)
	}
}

func TestNoDescriptorIsLeftOpen(t *testing.T) {
	root := tree(t, map[string]string{"a/b/c/f": "needle", "a/g": "needle", "h": "no"})
	count := func() int {
		fds, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Skip("no /dev/fd")
		}
		return len(fds)
	}
	before := count()
	for range 20 {
		run(t, root, &filev1.SearchRequest{Content: "needle", MaxResults: 1})
		run(t, root, &filev1.SearchRequest{Gitignore: true})
	}
	if after := count(); after > before+1 { // the poller's own
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

func TestBadRequestsSayWhichField(t *testing.T) {
	for want, request := range map[string]*filev1.SearchRequest{
		"max_results: 100001": {MaxResults: 100_001},
		"context: 21 lines":   {Context: 21},
		"glob[1]: glob":       {Glob: []string{"a", "a["}},
		"exclude[0]: glob":    {Exclude: []string{"/a"}},
		"content: error":      {Content: "a("},
		"content: 5000 bytes": {Content: strings.Repeat("a", 5000)},
	} {
		if _, err := Parse(request); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestWhatIsTooDeepIsSkippedAndCounted(t *testing.T) {
	root := tree(t, map[string]string{})
	dir := root.Root
	for range maxDepth + 10 { // one after the other: the path is longer than the system takes
		if err := errors.Join(dir.WriteFile("f", []byte("needle"), 0o644), dir.Mkdir("directory-with-a-long-name", 0o755)); err != nil {
			t.Fatal(err)
		}
		sub, err := dir.OpenRoot("directory-with-a-long-name")
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		dir = sub
	}
	got, summary := run(t, root, &filev1.SearchRequest{Content: "needle"})
	if len(got) != maxDepth || summary.Skipped != 1 {
		t.Errorf("%d matches, %d skipped, want %d and 1", len(got), summary.Skipped, maxDepth)
	}
}

func TestWhatMayNotBeReadIsSkippedAndCounted(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read all")
	}
	root := tree(t, map[string]string{"d/f": "needle", "e": "needle", "f": "needle"})
	if err := errors.Join(root.Chmod("d", 0), root.Chmod("e", 0)); err != nil {
		t.Fatal(err)
	}
	got, summary := run(t, root, &filev1.SearchRequest{Content: "needle"})
	expect(t, got, "f:1:1:needle")
	if summary.Skipped != 2 {
		t.Errorf("skipped %d, want 2", summary.Skipped)
	}
	if err := root.Chmod("d", 0o755); err != nil { // so that it can be removed
		t.Fatal(err)
	}
}
