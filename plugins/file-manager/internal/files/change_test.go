package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestAnAppendGoesToTheEndOnce(t *testing.T) {
	b := open(t)
	appendTo := func(path, content string, ifSize *uint64) (*filev1.AppendResponse, error) {
		return b.Append(t.Context(), &filev1.AppendRequest{Root: "r", Path: path, Content: []byte(content), IfSize: ifSize, MakeParents: true})
	}
	first, err := appendTo("d/log", "one", proto.Uint64(0))
	if err != nil || first.GetOffset() != 0 || first.GetEntry().GetSize() != 3 {
		t.Fatalf("got %v, %v, want a new file", first, err)
	}
	second, err := appendTo("d/log", "two", proto.Uint64(3))
	if err != nil || second.GetOffset() != 3 || second.GetEntry().GetEtag() == first.GetEntry().GetEtag() {
		t.Errorf("got %v, %v, want offset 3 and another etag", second, err)
	}
	_, err = appendTo("d/log", "two", proto.Uint64(3)) // the same again
	wantCode(t, "repeated", err, codes.Aborted, "the file has 6 bytes, if_size wants 3")
	_, err = appendTo("d/new", "x", proto.Uint64(3))
	wantCode(t, "no file", err, codes.Aborted, "the file has 0 bytes")
	b.has("d/log", "onetwo")
	b.lacks("d/new")
}

func TestAppendsOfManyCallersAllArriveWhole(t *testing.T) {
	b := open(t)
	const callers, each, size = 20, 20, 5000
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for range each {
				_, err := b.Append(t.Context(), &filev1.AppendRequest{Root: "r", Path: "log", Content: []byte(strings.Repeat(string(rune('a'+i)), size))})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	text, err := os.ReadFile(filepath.Join(b.dir, "log"))
	if err != nil || len(text) != callers*each*size {
		t.Fatalf("got %d bytes, %v, want %d", len(text), err, callers*each*size)
	}
	for i := 0; i < len(text); i += size {
		if piece := string(text[i : i+size]); piece != strings.Repeat(piece[:1], size) {
			t.Fatalf("the append at %d is torn", i)
		}
	}
	b.noTemp()
}

func TestHalfAnAppendIsTakenBackAtTheNextStart(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "torn", "oldne") // "new" was being appended to "old"
	put(t, dir, "whole", "oldnew")
	put(t, dir, ".gaia/tmp/append-A", `{"path":"torn","size":3,"append":3}`)
	put(t, dir, ".gaia/tmp/append-B", `{"path":"whole","size":3,"append":3}`)
	put(t, dir, ".gaia/tmp/append-C", `{"path":"to`)
	put(t, dir, ".gaia/tmp/append-D", `{"path":"gone","size":3,"append":3}`)
	put(t, dir, ".gaia/tmp/beside-A", `{"dir":"sub","name":".gaia-x.tmp"}`)
	put(t, dir, "sub/.gaia-x.tmp", "draft")
	put(t, dir, ".gaia/tmp/tree/a/b", "half a copy")
	b := serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: dir, Mode: filev1.Mode_RW}}})
	b.has("torn", "old")
	b.has("whole", "oldnew")
	eventually(t, "an empty temporary directory", func() bool { return len(names(t, filepath.Join(dir, stateDir, tempDir))) == 0 })
	b.noTemp()
}

func TestAnEditReplacesAllOrNothing(t *testing.T) {
	b := open(t)
	b.put("f", "one two two three\n")
	edit := func(path string, replacements ...*filev1.Replacement) (*filev1.EditResponse, error) {
		return b.Edit(t.Context(), &filev1.EditRequest{Root: "r", Path: path, Replacements: replacements})
	}
	response, err := edit("f", &filev1.Replacement{Old: "one", New: "1"}, &filev1.Replacement{Old: "two", New: "2", All: true})
	if err != nil || response.GetReplaced() != 3 {
		t.Fatalf("got %v, %v, want 3 replaced", response, err)
	}
	b.has("f", "1 2 2 three\n")
	for text, replacement := range map[string]*filev1.Replacement{
		"the old text is not there":        {Old: "four", New: "4"},
		"is there 2 times":                 {Old: "2", New: "two"},
		"that differs in white space only": {Old: "1  2", New: "x"},
	} {
		_, err := edit("f", &filev1.Replacement{Old: "three", New: "3"}, replacement)
		wantCode(t, text, err, codes.FailedPrecondition, text)
	}
	b.has("f", "1 2 2 three\n")
	b.put("binary", "a\x00b")
	_, err = edit("binary", &filev1.Replacement{Old: "a", New: "b"})
	wantCode(t, "binary", err, codes.FailedPrecondition, "not UTF-8 text")
	b.put("dos", "a\r\nb\r\n")
	_, err = edit("dos", &filev1.Replacement{Old: "a\nb", New: "c"})
	wantCode(t, "CR LF", err, codes.FailedPrecondition, "CR LF")
	_, err = edit("f")
	wantCode(t, "nothing to do", err, codes.InvalidArgument, "replacements is empty")
	b.noTemp()
}

func TestEditsOfManyCallersAllCount(t *testing.T) {
	b := open(t)
	var text strings.Builder
	for i := range 16 {
		fmt.Fprintf(&text, "<%d>", i)
	}
	b.put("f", text.String())
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			_, err := b.Edit(t.Context(), &filev1.EditRequest{Root: "r", Path: "f", Replacements: []*filev1.Replacement{{Old: fmt.Sprintf("<%d>", i), New: "x"}}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	b.has("f", strings.Repeat("x", 16))
}

func TestACopyIsWholeAndIndependent(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Deny = []string{"**/.env"} })
	b.put("d/f", "1")
	b.put("d/e/g", "22")
	b.put("d/.env", "denied")
	if err := os.Chmod(filepath.Join(b.dir, "d/f"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../f", filepath.Join(b.dir, "d/e/link")); err != nil {
		t.Fatal(err)
	}
	copied, err := b.Copy(t.Context(), &filev1.CopyRequest{Root: "r", Path: "d", ToPath: "x/y", Recursive: true, MakeParents: true})
	if err != nil || copied.GetFiles() != 2 || copied.GetBytes() != 3 || copied.GetEntry().GetType() != filev1.Type_DIRECTORY {
		t.Fatalf("got %v, %v, want 2 files with 3 bytes", copied, err)
	}
	b.has("x/y/f", "1")
	b.has("x/y/e/link", "1")
	b.lacks("x/y/.env")
	b.mustWrite("d/f", "changed")
	b.has("x/y/f", "1")
	file, err := b.Copy(t.Context(), &filev1.CopyRequest{Root: "r", Path: "x/y/f", ToPath: "f"})
	if err != nil || file.GetEntry().GetMode() != 0o755 {
		t.Errorf("got %v, %v, want the mode of the source", file, err)
	}
	for what, c := range map[string]struct {
		request *filev1.CopyRequest
		code    codes.Code
	}{
		"is a directory; set recursive": {&filev1.CopyRequest{Path: "d", ToPath: "new"}, codes.FailedPrecondition},
		"the file exists":               {&filev1.CopyRequest{Path: "d/f", ToPath: "f"}, codes.AlreadyExists},
		"something is there":            {&filev1.CopyRequest{Path: "d", ToPath: "x/y", Recursive: true, Overwrite: true}, codes.AlreadyExists},
		"is a directory, a file":        {&filev1.CopyRequest{Path: "d/f", ToPath: "x", Overwrite: true}, codes.FailedPrecondition},
	} {
		c.request.Root = "r"
		_, err := b.Copy(t.Context(), c.request)
		wantCode(t, what, err, c.code, what)
	}
	if err := os.Symlink("/etc", filepath.Join(b.dir, "d/out")); err != nil {
		t.Fatal(err)
	}
	_, err = b.Copy(t.Context(), &filev1.CopyRequest{Root: "r", Path: "d", ToPath: "z", Recursive: true})
	wantCode(t, "a link that leads out", err, codes.PermissionDenied, "d/out")
	b.lacks("z")
	b.noTemp()
}

func TestAMoveRenamesFilesAndDirectories(t *testing.T) {
	b := open(t)
	b.put("d/f", "1")
	b.put("g", "2")
	move := func(from, to string, change ...func(*filev1.MoveRequest)) error {
		request := &filev1.MoveRequest{Root: "r", Path: from, ToPath: to}
		for _, c := range change {
			c(request)
		}
		_, err := b.Move(t.Context(), request)
		return err
	}
	wantCode(t, "onto a file", move("d/f", "g"), codes.AlreadyExists, "overwrite is not set")
	wantCode(t, "into itself", move("d", "d/e"), codes.InvalidArgument, "into itself")
	wantCode(t, "nothing", move("no", "h"), codes.NotFound, "does not exist")
	wantCode(t, "if_match", move("g", "h", func(r *filev1.MoveRequest) { r.IfMatch = "x" }), codes.Aborted, "somebody has changed it")
	wantCode(t, "over a directory", move("g", "d", func(r *filev1.MoveRequest) { r.Overwrite = true }), codes.FailedPrecondition, "directory")
	wantCode(t, "with overwrite", move("d/f", "g", func(r *filev1.MoveRequest) { r.Overwrite = true }), codes.OK, "")
	wantCode(t, "a directory", move("d", "x/y", func(r *filev1.MoveRequest) { r.MakeParents = true }), codes.OK, "")
	b.has("g", "1")
	b.lacks("d")
	if info, err := os.Stat(filepath.Join(b.dir, "x/y")); err != nil || !info.IsDir() {
		t.Errorf("x/y: got %v, %v, want a directory", info, err)
	}
}

func TestAMoveBetweenRootsCopiesAndRemoves(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	b := serve(t, one, &filev1.Config{Root: map[string]*filev1.Root{
		"r": {Path: one, Mode: filev1.Mode_RW, Quota: 1000}, "two": {Path: two, Mode: filev1.Mode_RW, Quota: 5}, "ro": {Path: t.TempDir()},
	}})
	b.mustWrite("d/e/f", "12345", func(o *filev1.WriteOptions) { o.MakeParents = true })
	if err := os.Symlink("e/f", filepath.Join(one, "d/link")); err != nil {
		t.Fatal(err)
	}
	_, err := b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "d", ToRoot: "two", ToPath: "d"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(two, "d/link")); err != nil || string(got) != "12345" {
		t.Errorf("got %q, %v, want the content through the link", got, err)
	}
	b.lacks("d")
	b.mustWrite("g", "1")
	_, err = b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "g", ToRoot: "two", ToPath: "g"})
	wantCode(t, "over the quota", err, codes.ResourceExhausted, "limit 5 (quota)")
	_, err = b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "g", ToRoot: "ro", ToPath: "g"})
	wantCode(t, "to a read-only root", err, codes.PermissionDenied, "read-only")
	b.has("g", "1")
	leftovers(t, one)
	leftovers(t, two)
}

func TestARemovalIsCarefulAndUndone(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Trash, r.Deny, r.Quota = duration("1h"), []string{"**/.env"}, 1000 })
	b.mustWrite("d/e/f", "123", func(o *filev1.WriteOptions) { o.MakeParents = true })
	remove := func(path string, recursive bool) (string, error) {
		response, err := b.Remove(t.Context(), &filev1.RemoveRequest{Root: "r", Path: path, Recursive: recursive})
		return response.GetTrashId(), err
	}
	_, err := remove("d", false)
	wantCode(t, "not empty", err, codes.FailedPrecondition, "set recursive")
	_, err = remove(".", true)
	wantCode(t, "the root", err, codes.InvalidArgument, "the root itself")
	id, err := remove("d", true)
	if err != nil || id == "" {
		t.Fatal(id, err)
	}
	b.lacks("d")
	list, err := b.ListTrash(t.Context(), &filev1.ListTrashRequest{Root: "r"})
	if err != nil || len(list.GetItems()) != 1 {
		t.Fatal(list, err)
	}
	if item := list.GetItems()[0]; item.GetId() != id || item.GetPath() != "d" || item.GetSize() != 3 || item.GetType() != filev1.Type_DIRECTORY || time.Since(item.GetRemoved().AsTime()) > time.Minute {
		t.Errorf("item: got %v", item)
	}
	if _, err := b.Restore(t.Context(), &filev1.RestoreRequest{Root: "r", Id: id, ToPath: "new/place"}); err != nil {
		t.Fatal(err)
	}
	b.has("new/place/e/f", "123")
	_, err = b.Restore(t.Context(), &filev1.RestoreRequest{Root: "r", Id: id})
	wantCode(t, "again", err, codes.NotFound, "not in the trash")
	_, err = b.Restore(t.Context(), &filev1.RestoreRequest{Root: "r", Id: "../../x"})
	wantCode(t, "a path as an id", err, codes.NotFound, "not in the trash")
	if id, err = remove("new/place/e/f", false); err != nil {
		t.Fatal(err)
	}
	b.mustWrite("new/place/e/f", "other")
	_, err = b.Restore(t.Context(), &filev1.RestoreRequest{Root: "r", Id: id})
	wantCode(t, "over something", err, codes.AlreadyExists, "something is there")
	emptied, err := b.EmptyTrash(t.Context(), &filev1.EmptyTrashRequest{Root: "r", OlderThan: duration("1m")})
	if err != nil || emptied.GetItems() != 0 {
		t.Errorf("older than a minute: got %v, %v, want none", emptied, err)
	}
	emptied, err = b.EmptyTrash(t.Context(), &filev1.EmptyTrashRequest{Root: "r"})
	if err != nil || emptied.GetItems() != 1 || emptied.GetBytes() != 3 {
		t.Errorf("got %v, %v, want 1 item with 3 bytes", emptied, err)
	}
	b.put("new/.env", "denied")
	_, err = remove("new", true)
	wantCode(t, "with something denied in it", err, codes.PermissionDenied, "the configuration")
	_, err = b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "new", ToPath: "other"})
	wantCode(t, "a move with something denied in it", err, codes.PermissionDenied, "the configuration")
	b.has("new/.env", "denied")
	b.noTemp()
}

func TestTheTrashExpires(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Trash = duration("100ms") })
	b.mustWrite("f", "1")
	if _, err := b.Remove(t.Context(), &filev1.RemoveRequest{Root: "r", Path: "f"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an empty trash", func() bool { return len(names(t, filepath.Join(b.dir, stateDir, trashDir))) == 0 })
}

func TestDirectoriesAreMadeAndAttributesSet(t *testing.T) {
	b := open(t)
	_, err := b.MakeDir(t.Context(), &filev1.MakeDirRequest{Root: "r", Path: "a/b"})
	wantCode(t, "without parents", err, codes.NotFound, "make it first")
	made, err := b.MakeDir(t.Context(), &filev1.MakeDirRequest{Root: "r", Path: "a/b", Parents: true, Mode: 0o700})
	if err != nil || made.GetEntry().GetMode() != 0o700 || made.GetEntry().GetType() != filev1.Type_DIRECTORY {
		t.Fatal(made, err)
	}
	if _, err = b.MakeDir(t.Context(), &filev1.MakeDirRequest{Root: "r", Path: "a/b", Parents: true}); err != nil {
		t.Error(err)
	}
	_, err = b.MakeDir(t.Context(), &filev1.MakeDirRequest{Root: "r", Path: "a/b"})
	wantCode(t, "again", err, codes.AlreadyExists, "something is there")
	etag := b.mustWrite("f", "1").GetEtag()
	when := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	set, err := b.SetAttributes(t.Context(), &filev1.SetAttributesRequest{Root: "r", Path: "f", Mode: proto.Uint32(0), Modified: timestamppb.New(when)})
	if err != nil || set.GetEntry().GetMode() != 0 || !set.GetEntry().GetModified().AsTime().Equal(when) || set.GetEntry().GetEtag() == etag {
		t.Errorf("got %v, %v, want mode 0, the time %v and another etag", set, err, when)
	}
	_, err = b.SetAttributes(t.Context(), &filev1.SetAttributesRequest{Root: "r", Path: "f", Mode: proto.Uint32(0o4755)})
	wantCode(t, "setuid", err, codes.InvalidArgument, "0o777")
}

func TestTheOwnerStaysWhenAFileIsReplaced(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	b := open(t)
	b.put("f", "old")
	if err := os.Chown(filepath.Join(b.dir, "f"), 1234, 1235); err != nil {
		t.Fatal(err)
	}
	b.mustWrite("f", "new")
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(b.dir, "f"), &st); err != nil || st.Uid != 1234 || st.Gid != 1235 {
		t.Errorf("owner: got %d:%d, %v, want 1234:1235", st.Uid, st.Gid, err)
	}
}
