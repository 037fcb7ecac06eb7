package files

import (
	"strings"
	"testing"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
)

func (b *box) lock(path, ttl, wait, token string) (*filev1.LockResponse, error) {
	b.t.Helper()
	return b.Lock(b.t.Context(), &filev1.LockRequest{Root: "r", Path: path, Ttl: duration(ttl), Wait: duration(wait), Token: token, Owner: "me"})
}

func TestALockedPathIsChangedWithItsTokenOnly(t *testing.T) {
	b := open(t)
	b.put("d/f", "1")
	b.put("f", "1")
	held, err := b.lock("d", "1m", "0s", "")
	if err != nil {
		t.Fatal(err)
	}
	for call, err := range b.changes("d/f") {
		wantCode(t, call, err, codes.FailedPrecondition, `"d" is locked by "me" until`)
		if strings.Contains(err.Error(), held.GetToken()) {
			t.Errorf("%s: the error shows the token", call)
		}
	}
	_, err = b.Remove(t.Context(), &filev1.RemoveRequest{Root: "r", Path: "d/f"})
	wantCode(t, "Remove", err, codes.FailedPrecondition, "is locked")
	_, err = b.Move(t.Context(), &filev1.MoveRequest{Root: "r", Path: "d/f", ToPath: "g"})
	wantCode(t, "Move", err, codes.FailedPrecondition, "is locked")
	_, err = b.Copy(t.Context(), &filev1.CopyRequest{Root: "r", Path: "d/f", ToPath: "copy"}) // it only reads
	wantCode(t, "Copy", err, codes.OK, "")
	b.mustWrite("d/f", "2", func(o *filev1.WriteOptions) { o.Lock = held.GetToken() })
	b.has("d/f", "2")
	_, err = b.lock("d/f", "1m", "0s", "")
	wantCode(t, "a lock below", err, codes.FailedPrecondition, "is locked")
	_, err = b.lock("d", "1m", "0s", "guess")
	wantCode(t, "a wrong token", err, codes.NotFound, "no lock with this token")
	if _, err := b.Unlock(t.Context(), &filev1.UnlockRequest{Root: "r", Path: "d", Token: held.GetToken()}); err != nil {
		t.Fatal(err)
	}
	_, err = b.Unlock(t.Context(), &filev1.UnlockRequest{Root: "r", Path: "d", Token: held.GetToken()})
	wantCode(t, "Unlock again", err, codes.NotFound, "no lock with this token")
	below, err := b.lock("d/f", "1m", "0s", "")
	if err != nil || below.GetFence() <= held.GetFence() {
		t.Errorf("got %v, %v, want a fence above %d", below, err, held.GetFence())
	}
	_, err = b.Remove(t.Context(), &filev1.RemoveRequest{Root: "r", Path: "d", Recursive: true})
	wantCode(t, "the directory of a lock", err, codes.FailedPrecondition, `"d/f" is locked`)
}

func TestADirectoryIsMadeAndAnItemRestoredUnderALock(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Trash = duration("1h") })
	b.put("f", "1")
	removed, err := b.Remove(t.Context(), &filev1.RemoveRequest{Root: "r", Path: "f"})
	if err != nil {
		t.Fatal(err)
	}
	file, err := b.lock("f", "1m", "0s", "")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := b.lock("d", "1m", "0s", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.MakeDir(t.Context(), &filev1.MakeDirRequest{Root: "r", Path: "d"})
	wantCode(t, "MakeDir", err, codes.FailedPrecondition, "is locked")
	_, err = b.MakeDir(t.Context(), &filev1.MakeDirRequest{Root: "r", Path: "d", Lock: dir.GetToken()})
	wantCode(t, "MakeDir with the token", err, codes.OK, "")
	_, err = b.Restore(t.Context(), &filev1.RestoreRequest{Root: "r", Id: removed.GetTrashId()})
	wantCode(t, "Restore", err, codes.FailedPrecondition, "is locked")
	_, err = b.Restore(t.Context(), &filev1.RestoreRequest{Root: "r", Id: removed.GetTrashId(), Lock: file.GetToken()})
	wantCode(t, "Restore with the token", err, codes.OK, "")
	b.has("f", "1")
}

func TestALockIsWaitedForUntilItIsGivenBackOrExpires(t *testing.T) {
	b := open(t)
	first, err := b.lock("f", "1m", "0s", "")
	if err != nil {
		t.Fatal(err)
	}
	granted := make(chan error, 1)
	go func() {
		_, err := b.lock("f", "50ms", "10s", "")
		granted <- err
	}()
	begun := time.Now()
	_, err = b.lock("f", "1m", "30ms", "")
	wantCode(t, "a wait that is too short", err, codes.FailedPrecondition, "is locked")
	if waited := time.Since(begun); waited < 30*time.Millisecond {
		t.Errorf("waited %v, want 30ms", waited)
	}
	if _, err := b.Unlock(t.Context(), &filev1.UnlockRequest{Root: "r", Path: "f", Token: first.GetToken()}); err != nil {
		t.Fatal(err)
	}
	if err := <-granted; err != nil {
		t.Errorf("after Unlock: %v", err)
	}
	third, err := b.lock("f", "1m", "10s", "") // the second expires
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := b.lock("f", "2m", "0s", third.GetToken())
	if err != nil || renewed.GetFence() != third.GetFence() || !renewed.GetExpires().AsTime().After(third.GetExpires().AsTime()) {
		t.Errorf("renewed: got %v, %v, want the same lock for longer than %v", renewed, err, third)
	}
}

func TestALockOutlivesTheManager(t *testing.T) {
	b := open(t)
	held, err := b.lock("f", "1m", "0s", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.manager.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := serve(t, b.dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: b.dir, Mode: filev1.Mode_RW}}})
	_, err = again.write("f", "x")
	wantCode(t, "WriteFile", err, codes.FailedPrecondition, "is locked")
	again.mustWrite("f", "x", func(o *filev1.WriteOptions) { o.Lock = held.GetToken() })
	other, err := again.lock("g", "1m", "0s", "")
	if err != nil || other.GetFence() <= held.GetFence() {
		t.Errorf("got %v, %v, want a fence above %d", other, err, held.GetFence())
	}
}

func TestALateHolderOfALockChangesNothing(t *testing.T) {
	b := open(t)
	late, err := b.Lock(t.Context(), &filev1.LockRequest{Root: "r", Path: "a", Ttl: duration("1ms")})
	if err != nil {
		t.Fatal(err)
	}
	next, err := b.Lock(t.Context(), &filev1.LockRequest{Root: "r", Path: "a", Wait: duration("5s")})
	if err != nil {
		t.Fatal(err)
	}
	b.mustWrite("a", "next", func(o *filev1.WriteOptions) { o.Lock = next.GetToken() })
	if _, err := b.Unlock(t.Context(), &filev1.UnlockRequest{Root: "r", Path: "a", Token: next.GetToken()}); err != nil {
		t.Fatal(err)
	}
	_, err = b.write("a", "late", func(o *filev1.WriteOptions) { o.Lock = late.GetToken() })
	wantCode(t, "WriteFile", err, codes.FailedPrecondition, "may have expired")
	_, err = b.Append(t.Context(), &filev1.AppendRequest{Root: "r", Path: "a", Content: []byte("late"), Lock: late.GetToken()})
	wantCode(t, "Append", err, codes.FailedPrecondition, "may have expired")
	b.has("a", "next")
}
