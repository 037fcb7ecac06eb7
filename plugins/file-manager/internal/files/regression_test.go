package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func makeParents(o *filev1.WriteOptions) { o.MakeParents = true }

func TestNothingIsReachedBelowANameOfOurs(t *testing.T) {
	b := open(t)
	b.put("d/.gaia-y.tmp/f", "half a copy")
	_, err := b.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: "d/.gaia-y.tmp/f"})
	wantCode(t, "ReadFile", err, codes.NotFound, "does not exist")
	_, err = b.write("d/.gaia-x.tmp/f", "counted by nobody", makeParents)
	wantCode(t, "WriteFile", err, codes.PermissionDenied, "keeps this path")
	b.lacks("d/.gaia-x.tmp")
}

func TestACopyOfADirectoryThatACrashLeftBesideItsPlaceIsSwept(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "mounted/.gaia-A.tmp/d/f", "half a copy")
	put(t, dir, ".gaia/tmp/beside-A", `{"dir":"mounted","name":".gaia-A.tmp"}`)
	serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: dir, Mode: filev1.Mode_RW}}})
	leftovers(t, dir)
}

func TestAMoveOntoAnotherNameOfTheSameFileIsRefused(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Quota = 1 << 20 })
	b.mustWrite("a", "12345")
	if err := os.Link(filepath.Join(b.dir, "a"), filepath.Join(b.dir, "b")); err != nil {
		t.Fatal(err)
	}
	_, err := b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "a", ToPath: "b", Overwrite: true})
	wantCode(t, "Move", err, codes.FailedPrecondition, "hard link")
	roots, err := b.Roots(t.Context(), &filev1.RootsRequest{})
	if err != nil || roots.GetRoots()[0].GetUsed() != 5 {
		t.Errorf("Roots: got %v, %v, want 5 bytes used, as before", roots, err)
	}
}

func TestADeniedPathIsNotMadeByMovingTheDirectoryItIsIn(t *testing.T) {
	b := open(t, func(r *filev1.Root) {
		r.Deny = []string{"conf/key"}
		r.Trash = duration("1h")
	})
	b.put("d/key", "forged")
	_, err := b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "d", ToPath: "conf"})
	wantCode(t, "Move", err, codes.PermissionDenied, "keeps from being used")
	removed, err := b.Remove(t.Context(), &filev1.RemoveRequest{Root: "r", Path: "d", Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Restore(t.Context(), &filev1.RestoreRequest{Root: "r", Id: removed.GetTrashId(), ToPath: "conf"})
	wantCode(t, "Restore", err, codes.PermissionDenied, "keeps from being used")
	b.lacks("conf")
}

func TestNoParentsAreMadeInWhatSomebodyElseHasLocked(t *testing.T) {
	b := open(t)
	b.put("f", "1")
	b.put("d/f", "1")
	lock, err := b.Lock(t.Context(), &filev1.LockRequest{Root: "r", Path: "locked"})
	if err != nil {
		t.Fatal(err)
	}
	const to = "locked/a/b"
	_, err = b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "f", ToPath: to, MakeParents: true})
	wantCode(t, "Move", err, codes.FailedPrecondition, "is locked")
	_, err = b.MakeDir(t.Context(), &filev1.MakeDirRequest{Root: "r", Path: to, Parents: true})
	wantCode(t, "MakeDir", err, codes.FailedPrecondition, "is locked")
	_, err = b.Copy(t.Context(), &filev1.CopyRequest{Root: "r", Path: "d", ToPath: to, Recursive: true, MakeParents: true})
	wantCode(t, "Copy", err, codes.FailedPrecondition, "is locked")
	b.lacks("locked")
	_, err = b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "f", ToPath: to, MakeParents: true, ToLock: lock.GetToken()})
	wantCode(t, "Move with the token", err, codes.OK, "")
}

func TestATimeThatCannotBeKeptIsRefused(t *testing.T) {
	b := open(t)
	b.mustWrite("f", "1")
	for _, year := range []int{1, 1600, 2263, 9999} {
		when := timestamppb.New(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))
		_, err := b.SetAttributes(t.Context(), &filev1.SetAttributesRequest{Root: "r", Path: "f", Modified: when})
		wantCode(t, when.String(), err, codes.InvalidArgument, "between the years")
	}
}

func TestAnEditEndsWithItsCaller(t *testing.T) {
	b := open(t)
	b.mustWrite("f", strings.Repeat("a", 4<<20))
	back := []*filev1.Replacement{{Old: "a", New: "b", All: true}, {Old: "b", New: "a", All: true}}
	request := &filev1.EditRequest{Root: "r", Path: "f"}
	for range 50_000 { // they would take an hour
		request.Replacements = append(request.Replacements, back...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := b.Edit(ctx, request)
	wantCode(t, "Edit", err, codes.DeadlineExceeded, "")
	request.Replacements = back[:1] // waits for the one before
	if _, err := b.Edit(t.Context(), request); err != nil {
		t.Error(err)
	}
}

func TestAStateDirectoryThatSomebodyRemovesIsMadeAnew(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Trash = duration("1h") })
	for _, removed := range []string{stateDir, stateDir + "/" + tempDir} {
		b.mustWrite("f", "1")
		if err := os.RemoveAll(filepath.Join(b.dir, removed)); err != nil {
			t.Fatal(err)
		}
		_, err := b.write("f", "2")
		wantCode(t, "WriteFile without "+removed, err, codes.Unavailable, "somebody has removed")
		b.mustWrite("f", "2")
	}
}

func TestARootThatIsNotThereYetIsFoundToBeInAnother(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o755), os.Symlink("real", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	m := New()
	defer func() { _ = m.Shutdown(t.Context()) }()
	err := m.Configure(t.Context(), &filev1.Config{Root: map[string]*filev1.Root{
		"outer": {Path: filepath.Join(dir, "real")},
		"inner": {Path: filepath.Join(dir, "link", "new", "sub"), Mode: filev1.Mode_RW, Create: true},
	}})
	if err == nil || !strings.Contains(err.Error(), "roots lie side by side") {
		t.Errorf("got %v, want that one is in the other", err)
	}
}

func TestFilesBelowPathsTooLongToAskForCountForTheQuota(t *testing.T) {
	b := open(t)
	deep := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 250)+"/", 15), "/")
	b.mustWrite("one/"+deep+"/f", "12345", makeParents)
	b.mustWrite("two/"+deep+"/f", "12345", makeParents)
	if _, err := b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "one", ToPath: "two/" + deep + "/one"}); err != nil {
		t.Fatal(err)
	}
	roots, err := b.Roots(t.Context(), &filev1.RootsRequest{})
	if err != nil || roots.GetRoots()[0].GetUsed() != 10 {
		t.Errorf("Roots: got %v, %v, want 10 bytes used", roots, err)
	}
}

func TestWhatAForeignWriterPutThereIsNotTakenAwayUnderAnOldEtag(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Trash = duration("1h") })
	foreign := filepath.Join(t.TempDir(), "foreign")
	for call, do := range map[string]func(etag string) error{
		"Remove to the trash": func(etag string) error {
			_, err := b.Remove(t.Context(), &filev1.RemoveRequest{Root: "r", Path: "a", IfMatch: etag})
			return err
		},
		"Remove": func(etag string) error {
			_, err := b.Remove(t.Context(), &filev1.RemoveRequest{Root: "r", Path: "a", IfMatch: etag, Permanent: true})
			return err
		},
		"Move": func(etag string) error {
			_, err := b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "a", ToPath: "b", IfMatch: etag})
			return err
		},
	} {
		for i := range 300 {
			etag := b.mustWrite("a", "start").GetEtag()
			done := make(chan error)
			go func() {
				err := os.WriteFile(foreign, []byte("foreign"), 0o644)
				if err == nil {
					err = os.Rename(foreign, filepath.Join(b.dir, "a"))
				}
				done <- err
			}()
			err := do(etag)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if got, readErr := os.ReadFile(filepath.Join(b.dir, "a")); string(got) != "foreign" {
				t.Errorf("%s, round %d: got %q, %v after %v, want the foreign content", call, i, got, readErr, err)
				break
			}
			_ = os.Remove(filepath.Join(b.dir, "b"))
		}
	}
}

func TestALinkToANameThatNoNoteCanHaveIsNotWrittenThrough(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Trash = duration("1h") })
	if err := errors.Join(os.Mkdir(filepath.Join(b.dir, "\xff"), 0o755), os.Symlink("\xff", filepath.Join(b.dir, "link"))); err != nil {
		t.Skip(err)
	}
	b.put("\xff/f", "1")
	_, err := b.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: "link/f"})
	wantCode(t, "ReadFile", err, codes.OK, "")
	_, err = b.Lock(t.Context(), &filev1.LockRequest{Root: "r", Path: "link/f"})
	wantCode(t, "Lock", err, codes.FailedPrecondition, "not UTF-8")
	_, err = b.Remove(t.Context(), &filev1.RemoveRequest{Root: "r", Path: "link/f"})
	wantCode(t, "Remove", err, codes.FailedPrecondition, "not UTF-8")
}

func TestTheTrashIsNotEmptiedOfWhatIsYetToCome(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Trash = duration("1h") })
	_, err := b.EmptyTrash(t.Context(), &filev1.EmptyTrashRequest{Root: "r", OlderThan: duration("-1h")})
	wantCode(t, "EmptyTrash", err, codes.InvalidArgument, "negative")
}
