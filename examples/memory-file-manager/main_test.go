package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// start runs the plugin over a directory with some files, which root "r" may change
// and root "ro" may not.
func start(t *testing.T) (context.Context, filev1.FileManagerClient) {
	t.Helper()
	dir := t.TempDir()
	for path, content := range map[string]string{"a.txt": "one\ntwo\nthree\n", "d/b.go": "package b\n", "d/e/c.go": "package c\n", "secret/key": "k"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plugin := plugintest.Start(t, plugintest.Config(&filev1.Config{Root: map[string]*filev1.Root{
		"r":  {Path: dir, Mode: filev1.Mode_RW, Quota: 1000, Trash: durationpb.New(time.Hour), Deny: []string{"secret"}},
		"ro": {Path: dir},
	}}))
	return t.Context(), filev1.NewFileManagerClient(plugin.Conn())
}

func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// content of a file, or how reading it failed.
func content(t *testing.T, m filev1.FileManagerClient, path string) string {
	t.Helper()
	r, err := m.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: path})
	if err != nil {
		return status.Code(err).String()
	}
	return string(r.GetContent())
}

func TestWhatIsOnDiskIsReadAndStaysAsItIs(t *testing.T) {
	ctx, m := start(t)
	list, err := m.List(ctx, &filev1.ListRequest{Root: "r", Depth: 9})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range list.GetEntries() {
		paths = append(paths, fmt.Sprint(e.GetPath(), " ", e.GetSize()))
	}
	if diff := cmp.Diff([]string{"a.txt 14", "d 0", "d/b.go 10", "d/e 0", "d/e/c.go 10"}, paths); diff != "" {
		t.Error(diff)
	}
	if got := content(t, m, "a.txt"); got != "one\ntwo\nthree\n" {
		t.Errorf("got %q", got)
	}
	if got := content(t, m, "secret/key"); got != "NotFound" {
		t.Errorf("what is denied: got %q", got)
	}
	_, err = m.WriteFile(ctx, &filev1.WriteFileRequest{Root: "ro", Path: "a.txt"})
	wantCode(t, "a write to a read-only root", err, codes.PermissionDenied)
	for _, path := range []string{"../a.txt", "/a.txt", "d//b.go", "d/", "a\x00"} {
		_, err := m.Stat(ctx, &filev1.StatRequest{Root: "r", Path: path})
		wantCode(t, path, err, codes.InvalidArgument)
	}
	page := &filev1.ListRequest{Root: "r", Depth: 9, PageSize: 2}
	var pages []string
	for {
		r, err := m.List(ctx, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.GetEntries() {
			pages = append(pages, fmt.Sprint(e.GetPath(), " ", e.GetSize()))
		}
		if page.PageToken = r.GetNextPageToken(); page.PageToken == "" {
			break
		}
	}
	if diff := cmp.Diff(paths, pages); diff != "" {
		t.Errorf("in pages: %s", diff)
	}
}

func TestAWriteHoldsItsConditions(t *testing.T) {
	ctx, m := start(t)
	write := func(path, text string, o *filev1.WriteOptions) (*filev1.WriteFileResponse, error) {
		return m.WriteFile(ctx, &filev1.WriteFileRequest{Root: "r", Path: path, Content: []byte(text), Options: o})
	}
	first, err := write("n/new", "1", &filev1.WriteOptions{CreateOnly: true, MakeParents: true})
	if err != nil || !first.GetCreated() {
		t.Fatalf("got %v, %v", first, err)
	}
	_, err = write("n/new", "2", &filev1.WriteOptions{CreateOnly: true})
	wantCode(t, "create_only", err, codes.AlreadyExists)
	_, err = write("x/new", "2", nil)
	wantCode(t, "no directory", err, codes.NotFound)
	second, err := write("n/new", "2", &filev1.WriteOptions{IfMatch: first.GetEntry().GetEtag()})
	if err != nil || second.GetEntry().GetEtag() == first.GetEntry().GetEtag() {
		t.Fatalf("got %v, %v, want another etag", second, err)
	}
	_, err = write("n/new", "3", &filev1.WriteOptions{IfMatch: first.GetEntry().GetEtag()})
	wantCode(t, "an old etag", err, codes.Aborted)
	other := sha256.Sum256([]byte("other"))
	_, err = write("n/new", "3", &filev1.WriteOptions{Sha256: other[:]})
	wantCode(t, "another sum", err, codes.DataLoss)
	_, err = write("big", strings.Repeat("x", 1001), nil)
	wantCode(t, "over the quota", err, codes.ResourceExhausted)
	if got := content(t, m, "n/new"); got != "2" {
		t.Errorf("got %q, want what was written last", got)
	}
	if _, err := m.Append(ctx, &filev1.AppendRequest{Root: "r", Path: "n/new", Content: []byte("+"), IfSize: new(uint64(1))}); err != nil {
		t.Error(err)
	}
	_, err = m.Append(ctx, &filev1.AppendRequest{Root: "r", Path: "n/new", Content: []byte("+"), IfSize: new(uint64(1))})
	wantCode(t, "another size", err, codes.Aborted)
	edit := func(old string) error {
		_, err := m.Edit(ctx, &filev1.EditRequest{Root: "r", Path: "a.txt", Replacements: []*filev1.Replacement{{Old: "two", New: "2"}, {Old: old, New: "!"}}})
		return err
	}
	wantCode(t, "a text that is not there", edit("four"), codes.FailedPrecondition)
	wantCode(t, "a text that is there thrice", edit("e"), codes.FailedPrecondition)
	if err := edit("three"); err != nil || content(t, m, "a.txt") != "one\n2\n!\n" {
		t.Errorf("error %v and %q", err, content(t, m, "a.txt"))
	}
}

func TestAStreamIsWrittenWhenItIsWholeAndReadInPieces(t *testing.T) {
	ctx, m := start(t)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(strings.Repeat("streamed ", 50)))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	send := func(ctx context.Context) (filev1.FileManager_WriteClient, error) {
		s, err := m.Write(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.Send(&filev1.WriteRequest{Root: "r", Path: "s", Options: &filev1.WriteOptions{Encoding: filev1.Encoding_GZIP}}); err != nil {
			return nil, err
		}
		return s, s.Send(&filev1.WriteRequest{Content: packed.Bytes()})
	}
	broken, cancel := context.WithCancel(ctx)
	if _, err := send(broken); err != nil {
		t.Fatal(err)
	}
	cancel()
	s, err := send(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, m, "s"); got != "NotFound" {
		t.Errorf("before the end of the stream: got %q", got)
	}
	if r, err := s.CloseAndRecv(); err != nil || r.GetEntry().GetSize() != 450 {
		t.Fatalf("got %v, %v", r, err)
	}
	read, err := m.Read(ctx, &filev1.ReadRequest{Root: "r", Path: "s", Offset: -9})
	if err != nil {
		t.Fatal(err)
	}
	if piece, err := read.Recv(); err != nil || string(piece.GetContent()) != "streamed " {
		t.Errorf("got %v, %v", piece, err)
	}
	if _, err := read.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
}

func TestFilesAreMovedCopiedRemovedAndBroughtBack(t *testing.T) {
	ctx, m := start(t)
	_, err := m.Copy(ctx, &filev1.CopyRequest{Root: "r", Path: "d", ToPath: "d/e/again", Recursive: true})
	wantCode(t, "a directory into itself", err, codes.InvalidArgument)
	copied, err := m.Copy(ctx, &filev1.CopyRequest{Root: "ro", Path: "d", ToRoot: "r", ToPath: "copy", Recursive: true})
	if err != nil || copied.GetFiles() != 2 || content(t, m, "copy/e/c.go") != "package c\n" {
		t.Errorf("copy: %v, %v", copied, err)
	}
	_, err = m.Move(ctx, &filev1.MoveRequest{Root: "r", Path: "a.txt", ToPath: "copy/b.go"})
	wantCode(t, "a move without overwrite", err, codes.AlreadyExists)
	if _, err = m.Move(ctx, &filev1.MoveRequest{Root: "r", Path: "a.txt", ToPath: "copy/b.go", Overwrite: true}); err != nil || content(t, m, "a.txt") != "NotFound" {
		t.Errorf("move: %v", err)
	}
	_, err = m.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: "copy"})
	wantCode(t, "a directory that is not empty", err, codes.FailedPrecondition)
	removed, err := m.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: "copy", Recursive: true})
	if err != nil || content(t, m, "copy/b.go") != "NotFound" {
		t.Fatalf("remove: %v", err)
	}
	if trash, err := m.ListTrash(ctx, &filev1.ListTrashRequest{Root: "r"}); err != nil || len(trash.GetItems()) != 1 || trash.GetItems()[0].GetPath() != "copy" {
		t.Errorf("trash: %v, %v", trash, err)
	}
	if _, err := m.Restore(ctx, &filev1.RestoreRequest{Root: "r", Id: removed.GetTrashId()}); err != nil || content(t, m, "copy/b.go") != "one\ntwo\nthree\n" {
		t.Errorf("restore: %v", err)
	}
	_, err = m.MakeDir(ctx, &filev1.MakeDirRequest{Root: "r", Path: "copy"})
	wantCode(t, "a directory that is there", err, codes.AlreadyExists)
}

func TestALockHoldsUntilItIsGivenBackOrExpires(t *testing.T) {
	ctx, m := start(t)
	held, err := m.Lock(ctx, &filev1.LockRequest{Root: "r", Path: "d", Owner: "Ada"})
	if err != nil {
		t.Fatal(err)
	}
	write := func(lock string) error {
		_, err := m.WriteFile(ctx, &filev1.WriteFileRequest{Root: "r", Path: "d/b.go", Options: &filev1.WriteOptions{Lock: lock}})
		return err
	}
	wantCode(t, "a write without the token", write(""), codes.FailedPrecondition)
	wantCode(t, "a write with another one", write("x"), codes.FailedPrecondition)
	wantCode(t, "a write with it", write(held.GetToken()), codes.OK)
	_, err = m.Lock(ctx, &filev1.LockRequest{Root: "r", Path: "d/e"})
	wantCode(t, "a lock below", err, codes.FailedPrecondition)
	second := make(chan *filev1.LockResponse, 1)
	go func() {
		r, _ := m.Lock(ctx, &filev1.LockRequest{Root: "r", Path: "d/e", Wait: durationpb.New(20 * time.Second), Ttl: durationpb.New(time.Millisecond)})
		second <- r
	}()
	if _, err := m.Unlock(ctx, &filev1.UnlockRequest{Root: "r", Path: "d", Token: held.GetToken()}); err != nil {
		t.Fatal(err)
	}
	short := <-second
	if short.GetFence() <= held.GetFence() {
		t.Errorf("fence %d after %d", short.GetFence(), held.GetFence())
	}
	third, err := m.Lock(ctx, &filev1.LockRequest{Root: "r", Path: "d", Wait: durationpb.New(20 * time.Second)}) // the second one expires
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "a token that has expired", write(short.GetToken()), codes.FailedPrecondition)
	_, err = m.Unlock(ctx, &filev1.UnlockRequest{Root: "r", Path: "d", Token: third.GetToken()})
	wantCode(t, "unlock", err, codes.OK)
	_, err = m.Unlock(ctx, &filev1.UnlockRequest{Root: "r", Path: "d", Token: third.GetToken()})
	wantCode(t, "unlock again", err, codes.NotFound)
}

func TestASearchFindsLinesInTheOrderOfPaths(t *testing.T) {
	ctx, m := start(t)
	s, err := m.Search(ctx, &filev1.SearchRequest{Root: "r", Glob: []string{"**/*.{go,txt}"}, Exclude: []string{"d/e"}, Content: "^T|pack", IgnoreCase: true, Context: 1})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := r.GetMatch(); n != nil {
			found = append(found, fmt.Sprintf("%s:%d:%d %s %q", n.GetEntry().GetPath(), n.GetLine(), n.GetColumn(), n.GetText(), n.GetBefore()))
		} else {
			found = append(found, fmt.Sprint("files ", r.GetSummary().GetFiles()))
		}
	}
	if diff := cmp.Diff([]string{`a.txt:2:1 two ["one"]`, `a.txt:3:1 three ["two"]`, `d/b.go:1:1 package b []`, "files 2"}, found); diff != "" {
		t.Error(diff)
	}
}

func TestAWatchTellsOfEveryChange(t *testing.T) {
	ctx, m := start(t)
	w, err := m.Watch(ctx, &filev1.WatchRequest{Root: "r", Path: "d", Recursive: true, Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	next := func(want string) {
		t.Helper()
		r, err := w.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d %v %s", r.GetSequence(), r.GetEvent(), r.GetPath()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	next("1 CREATED d/b.go")
	next("2 CREATED d/e")
	next("3 CREATED d/e/c.go")
	next("4 READY ")
	_, err = m.WriteFile(ctx, &filev1.WriteFileRequest{Root: "r", Path: "d/e/c.go", Content: []byte("x")})
	wantCode(t, "write", err, codes.OK)
	next("5 CHANGED d/e/c.go")
	_, err = m.Move(ctx, &filev1.MoveRequest{Root: "r", Path: "d/e", ToPath: "d/f"})
	wantCode(t, "move", err, codes.OK)
	next("6 REMOVED d/e")
	next("7 REMOVED d/e/c.go")
	next("8 CREATED d/f")
	next("9 CREATED d/f/c.go")
	_, err = m.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: "a.txt"})
	wantCode(t, "remove elsewhere", err, codes.OK)
	_, err = m.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: "d/b.go"})
	wantCode(t, "remove", err, codes.OK)
	next("10 REMOVED d/b.go")
}
