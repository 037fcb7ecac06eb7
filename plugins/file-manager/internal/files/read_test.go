package files

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"
	"google.golang.org/grpc/codes"
)

func TestAPieceOfAFileIsReadFromEitherEnd(t *testing.T) {
	b := open(t)
	b.put("f", "0123456789")
	for _, c := range []struct {
		offset int64
		length uint64
		want   string
	}{
		{0, 0, "0123456789"}, {3, 0, "3456789"}, {3, 4, "3456"}, {-3, 0, "789"}, {-3, 2, "78"},
		{-100, 2, "01"}, {10, 0, ""}, {100, 5, ""}, {8, 1 << 63, "89"}, {-1 << 63, 1, "0"}, {1<<63 - 1, 1<<64 - 1, ""},
	} {
		got, err := b.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: "f", Offset: c.offset, Length: c.length})
		if err != nil || string(got.GetContent()) != c.want {
			t.Errorf("ReadFile(%d, %d): got %q, %v, want %q", c.offset, c.length, got.GetContent(), err, c.want)
		}
		content, entry, err := b.readStream(&filev1.ReadRequest{Root: "r", Path: "f", Offset: c.offset, Length: c.length})
		if err != nil || content != c.want || entry.GetSize() != 10 {
			t.Errorf("Read(%d, %d): got %q, %v, %v, want %q of a file with 10 bytes", c.offset, c.length, content, entry, err, c.want)
		}
	}
	first, err := b.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: "f"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: "f", IfNoneMatch: first.GetEntry().GetEtag()})
	if err != nil || !again.GetNotModified() || len(again.GetContent()) != 0 {
		t.Errorf("if_none_match: got %v, %v, want it not modified", again, err)
	}
}

func (b *box) readStream(request *filev1.ReadRequest) (content string, entry *filev1.Entry, err error) {
	b.t.Helper()
	stream, err := b.Read(b.t.Context(), request)
	if err != nil {
		return "", nil, err
	}
	var all []byte
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return string(all), entry, nil
		}
		if err != nil {
			return "", nil, err
		}
		if piece.GetEntry() != nil {
			entry = piece.GetEntry()
		}
		all = append(all, piece.GetContent()...)
	}
}

func TestALargeFileIsStreamedAndHashed(t *testing.T) {
	b := open(t)
	text := strings.Repeat("0123456789abcdef", 1<<20) // 16 MiB
	b.put("f", text[:len(text)-5])
	_, err := b.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: "f"})
	wantCode(t, "ReadFile", err, codes.ResourceExhausted, "limit 8388608 (max_content); use Read")
	content, entry, err := b.readStream(&filev1.ReadRequest{Root: "r", Path: "f"})
	if err != nil || content != text[:len(text)-5] || entry.GetSize() != uint64(len(text)-5) {
		t.Errorf("got %d bytes, %v, %v", len(content), entry, err)
	}
	sha, b3 := sha256.Sum256([]byte(content)), blake3.Sum256([]byte(content))
	for algorithm, want := range map[filev1.Algorithm]string{0: hex.EncodeToString(sha[:]), filev1.Algorithm_BLAKE3: hex.EncodeToString(b3[:])} {
		got, err := b.Hash(t.Context(), &filev1.HashRequest{Root: "r", Path: "f", Algorithm: algorithm})
		if err != nil || got.GetDigest() != want || got.GetEntry().GetEtag() != entry.GetEtag() {
			t.Errorf("%v: got %v, %v, want %s", algorithm, got, err, want)
		}
	}
	_, err = b.Hash(t.Context(), &filev1.HashRequest{Root: "r", Path: "f", Algorithm: 9})
	wantCode(t, "algorithm 9", err, codes.InvalidArgument, "SHA256 or BLAKE3")
}

func TestAStatSaysWhatIsThere(t *testing.T) {
	b := open(t)
	b.put("d/f", "123")
	if err := os.Symlink("d/f", filepath.Join(b.dir, "link")); err != nil {
		t.Fatal(err)
	}
	stat := func(path string, noFollow bool) *filev1.Entry {
		response, err := b.Stat(t.Context(), &filev1.StatRequest{Root: "r", Path: path, NoFollow: noFollow})
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return response.GetEntry()
	}
	if e := stat("link", false); e.GetPath() != "d/f" || e.GetType() != filev1.Type_FILE || e.GetSize() != 3 {
		t.Errorf("followed: got %v, want d/f", e)
	}
	if e := stat("link", true); e.GetPath() != "link" || e.GetType() != filev1.Type_SYMLINK || e.GetTarget() != "d/f" {
		t.Errorf("not followed: got %v, want the link", e)
	}
	for _, noFollow := range []bool{false, true} {
		if e := stat("", noFollow); e.GetPath() != "." || e.GetType() != filev1.Type_DIRECTORY {
			t.Errorf("the root: got %v", e)
		}
	}
	if a, b := stat("d/f", true).GetEtag(), stat("link", false).GetEtag(); a != b {
		t.Errorf("etags of the same file: %q and %q", a, b)
	}
}

func TestAListIsInOrderPageByPage(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Deny = []string{"**/secret"} })
	for _, path := range []string{"a/x.go", "a/b/y.go", "a.txt", "a-1/z", "b/secret/s", "b/t.go", "c.go", "secret", "\xff.bin"} {
		b.put(path, "1")
	}
	if err := os.Symlink("a", filepath.Join(b.dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		request *filev1.ListRequest
		want    string
	}{
		"one level":        {&filev1.ListRequest{}, "a a-1 a.txt b c.go link \uFFFD.bin"},
		"a tree":           {&filev1.ListRequest{Depth: 64}, "a a/b a/b/y.go a/x.go a-1 a-1/z a.txt b b/t.go c.go link \uFFFD.bin"},
		"two levels":       {&filev1.ListRequest{Depth: 2}, "a a/b a/x.go a-1 a-1/z a.txt b b/t.go c.go link \uFFFD.bin"},
		"by glob":          {&filev1.ListRequest{Depth: 64, Glob: "**/*.go"}, "a/b/y.go a/x.go b/t.go c.go"},
		"of a directory":   {&filev1.ListRequest{Path: "a", Depth: 64}, "a/b a/b/y.go a/x.go"},
		"glob below a dir": {&filev1.ListRequest{Path: "a", Depth: 64, Glob: "b/*.go"}, "a/b/y.go"},
		"through a link":   {&filev1.ListRequest{Path: "link"}, "a/b a/x.go"},
	} {
		for size := range uint32(14) {
			c.request.Root, c.request.PageSize = "r", size
			got, pages := b.listAll(c.request)
			if diff := cmp.Diff(strings.Fields(c.want), got); diff != "" {
				t.Errorf("%s, pages of %d (-want +got):\n%s", name, size, diff)
			}
			if n := len(got); size > 0 && pages != max((n+int(size)-1)/int(size), 1) {
				t.Errorf("%s: %d pages of %d for %d entries", name, pages, size, n)
			}
		}
	}
	_, err := b.List(t.Context(), &filev1.ListRequest{Root: "r", Path: "c.go"})
	wantCode(t, "a file", err, codes.FailedPrecondition, "is not a directory")
	_, err = b.List(t.Context(), &filev1.ListRequest{Root: "r", PageToken: "!"})
	wantCode(t, "a token", err, codes.InvalidArgument, "page_token")
	_, err = b.List(t.Context(), &filev1.ListRequest{Root: "r", Glob: "["})
	wantCode(t, "a glob", err, codes.InvalidArgument, "not closed")
	_, err = b.List(t.Context(), &filev1.ListRequest{Root: "r", Depth: 65})
	wantCode(t, "a depth", err, codes.InvalidArgument, "at most 64")
}

func (b *box) listAll(request *filev1.ListRequest) (paths []string, pages int) {
	b.t.Helper()
	request.PageToken = ""
	for {
		page, err := b.List(b.t.Context(), request)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range page.GetEntries() {
			paths = append(paths, e.GetPath())
		}
		pages++
		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			return paths, pages
		}
	}
}

func TestRootsSaysWhatTheyHold(t *testing.T) {
	one, gone := t.TempDir(), filepath.Join(t.TempDir(), "gone")
	put(t, one, "d/f", "123")
	put(t, one, "g", "4567")
	b := serve(t, one, &filev1.Config{Root: map[string]*filev1.Root{
		"ro": {Path: one}, "r": {Path: filepath.Join(gone, "made"), Create: true, Mode: filev1.Mode_RW, Quota: 10}, "gone": {Path: gone + "2"},
	}})
	response, err := b.Roots(t.Context(), &filev1.RootsRequest{})
	if err != nil || len(response.GetRoots()) != 3 {
		t.Fatal(response, err)
	}
	problem, made, read := response.GetRoots()[0], response.GetRoots()[1], response.GetRoots()[2]
	if problem.GetName() != "gone" || !strings.Contains(problem.GetProblem(), "not there") {
		t.Errorf("gone: got %v, want a problem", problem)
	}
	if made.GetName() != "r" || !made.GetWritable() || made.GetProblem() != "" || made.GetQuota() != 10 || made.GetUsed() != 0 {
		t.Errorf("r: got %v", made)
	}
	if read.GetName() != "ro" || read.GetWritable() || read.GetUsed() != 7 || read.GetFiles() != 2 || read.GetDiskFree() == 0 {
		t.Errorf("ro: got %v", read)
	}
	b.mustWrite("f", "12345")
	_, err = b.Stat(t.Context(), &filev1.StatRequest{Root: "x", Path: "f"})
	wantCode(t, "unknown root", err, codes.NotFound, "the roots are gone, r, ro")
	_, err = b.Stat(t.Context(), &filev1.StatRequest{Path: "f"})
	wantCode(t, "no root", err, codes.InvalidArgument, "root is not set")
}

func TestAFaultOfTheConfigurationIsToldByItsField(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "sub/file", "1")
	if err := os.Symlink("sub", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	err := New().Configure(t.Context(), &filev1.Config{Root: map[string]*filev1.Root{
		"a": {Path: dir}, "b": {Path: dir + "/sub"}, "c": {Path: dir + "/link"}, "d": {Path: dir + "/sub/file"}, "e": {}, "f": {Path: "/nowhere", Deny: []string{"ok", "["}},
	}})
	var got []string
	for line := range strings.Lines(err.Error()) {
		field, _, _ := strings.Cut(line, ": ")
		got = append(got, field)
	}
	slices.Sort(got)
	want := []string{`root["b"].path`, `root["b"].path`, `root["c"].path`, `root["c"].path`, `root["d"].path`, `root["d"].path`, `root["d"].path`, `root["d"].path`, `root["e"].path`, `root["f"].deny[1]`}
	if diff := cmp.Diff(slices.Compact(want), slices.Compact(got)); diff != "" {
		t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
	}
}

// F4 of the system that this one descends from: a cancelled call was done in half of
// the cases.
func TestACancelledCallDoesNothing(t *testing.T) {
	b := open(t)
	ctx, cancel := withCancel(t)
	cancel()
	for range 100 {
		_, err := b.manager.WriteFile(ctx, &filev1.WriteFileRequest{Root: "r", Path: "f", Content: []byte("x")})
		wantCode(t, "WriteFile", err, codes.Canceled, "")
	}
	b.lacks("f")
}

// F5: a call after the end panicked.
func TestACallAfterTheEndIsUnavailable(t *testing.T) {
	b := open(t)
	if err := b.manager.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := b.write("f", "x")
	wantCode(t, "WriteFile", err, codes.Unavailable, "closed")
}
