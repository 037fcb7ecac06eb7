package files

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Whatever many callers do at once, the files never exceed the quota, and what is
// counted is what is there.
func TestTheQuotaHoldsExactlyUnderConcurrentChanges(t *testing.T) {
	const quota = 60_000
	dir := t.TempDir()
	put(t, dir, "before", strings.Repeat("b", 10_000))
	b := serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {
		Path: dir, Mode: filev1.Mode_RW, Quota: quota, Trash: duration("1h"), Durability: filev1.Durability_NONE,
	}}})
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			roots, err := b.Roots(t.Context(), &filev1.RootsRequest{})
			if used := roots.GetRoots()[0].GetUsed(); err != nil || used > quota {
				t.Errorf("the files have %d bytes, the quota is %d: %v", used, quota, err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	refused := 0
	var mu sync.Mutex
	var callers sync.WaitGroup
	for i := range 16 {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for range 150 {
				err := b.anyChange(t.Context(), r)
				switch status.Code(err) {
				case codes.ResourceExhausted:
					mu.Lock()
					refused++
					mu.Unlock()
				case codes.OK, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.InvalidArgument, codes.Aborted:
				default:
					t.Errorf("got %v", err)
				}
			}
		})
	}
	callers.Wait()
	close(stop)
	watching.Wait()
	bytes, files := usedOnDisk(t, b.dir)
	roots, err := b.Roots(t.Context(), &filev1.RootsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := roots.GetRoots()[0]; int64(got.GetUsed()) != bytes || int64(got.GetFiles()) != files || bytes > quota {
		t.Errorf("counted: %d bytes in %d files, there are %d in %d, quota %d", got.GetUsed(), got.GetFiles(), bytes, files, quota)
	}
	if refused == 0 {
		t.Error("the quota refused nothing, which is no test")
	}
	b.noTemp()
}

// anyChange makes a change of any kind to a few paths.
func (b *box) anyChange(ctx context.Context, r *rand.Rand) error {
	path := func() string { return fmt.Sprintf("d%d/f%d", r.IntN(3), r.IntN(4)) }
	dir := func() string { return fmt.Sprintf("d%d", r.IntN(3)) }
	content := []byte(strings.Repeat("x", r.IntN(12_000)))
	var err error
	switch r.IntN(11) {
	case 0, 1, 2:
		_, err = b.WriteFile(ctx, &filev1.WriteFileRequest{Root: "r", Path: path(), Content: content, Options: &filev1.WriteOptions{MakeParents: true}})
	case 3, 4:
		_, err = b.Append(ctx, &filev1.AppendRequest{Root: "r", Path: path(), Content: content, MakeParents: true})
	case 5:
		_, err = b.Copy(ctx, &filev1.CopyRequest{Root: "r", Path: path(), ToPath: path(), Overwrite: true})
	case 6:
		_, err = b.Copy(ctx, &filev1.CopyRequest{Root: "r", Path: dir(), ToPath: dir(), Recursive: true})
	case 7:
		_, err = b.Move(ctx, &filev1.MoveRequest{Root: "r", Path: path(), ToPath: path(), Overwrite: true})
	case 8:
		_, err = b.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: path(), Permanent: r.IntN(2) == 0})
	case 9:
		_, err = b.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: dir(), Recursive: true, Permanent: r.IntN(2) == 0})
	case 10:
		if r.IntN(3) == 0 {
			_, err = b.EmptyTrash(ctx, &filev1.EmptyTrashRequest{Root: "r"})
			break
		}
		items, listErr := b.ListTrash(ctx, &filev1.ListTrashRequest{Root: "r"})
		if err = listErr; err == nil && len(items.GetItems()) > 0 {
			_, err = b.Restore(ctx, &filev1.RestoreRequest{Root: "r", Id: items.GetItems()[0].GetId()})
		}
	}
	return err
}

func TestAWriteOverTheQuotaOrTheLargestSizeIsRefusedWithTheNumbers(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Quota, r.MaxFileSize = 1000, 800 })
	b.mustWrite("a", strings.Repeat("a", 700))
	_, err := b.write("b", strings.Repeat("b", 301))
	wantCode(t, "over the quota", err, codes.ResourceExhausted, "301 more bytes over 700 that are used or reserved, limit 1000 (quota)")
	_, err = b.write("a", strings.Repeat("a", 801))
	wantCode(t, "over the size", err, codes.ResourceExhausted, "800 bytes")
	b.mustWrite("a", strings.Repeat("a", 800)) // what is replaced makes room
	_, err = b.Append(t.Context(), &filev1.AppendRequest{Root: "r", Path: "a", Content: []byte("a")})
	wantCode(t, "an append over the size", err, codes.ResourceExhausted, "max_file_size")
	b.mustWrite("b", strings.Repeat("b", 200))
	b.noTemp()
}

func TestOfManyWritersAsManySucceedAsHaveRoom(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Quota = 10_999 })
	results := make(chan error)
	for i := range 50 {
		go func() {
			_, err := b.WriteFile(t.Context(), &filev1.WriteFileRequest{Root: "r", Path: fmt.Sprintf("f%d", i), Content: make([]byte, 1000)})
			results <- err
		}()
	}
	succeeded := int64(0)
	for range 50 {
		if err := <-results; err == nil {
			succeeded++
		} else {
			wantCode(t, "a write without room", err, codes.ResourceExhausted, "limit 10999 (quota)")
		}
	}
	bytes, files := usedOnDisk(t, b.dir)
	if succeeded < 1 || succeeded > 10 || files != succeeded || bytes != 1000*files {
		t.Errorf("%d succeeded, there are %d files with %d bytes; at most 10 have room", succeeded, files, bytes)
	}
	for i := range 10 - succeeded { // who was refused while others had reserved finds room now
		b.mustWrite(fmt.Sprintf("late%d", i), string(make([]byte, 1000)))
	}
	_, err := b.write("last", string(make([]byte, 1000)))
	wantCode(t, "the eleventh", err, codes.ResourceExhausted, "quota")
}
