package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
)

func TestManyMixedOperationsAtOnceAllGiveWhatWasWritten(t *testing.T) { mixed(t, 100, 3) }

func TestSlowFiveHundredMixedOperationsAtOnceAllGiveWhatWasWritten(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("500 callers for some time: GAIA_SLOW=1")
	}
	mixed(t, 500, 20)
}

// mixed lets callers work at once, each on files of its own, all in the same
// directories, and checks each answer.
func mixed(t *testing.T, callers, rounds int) {
	t.Helper()
	b := open(t, func(r *filev1.Root) {
		r.Quota, r.Trash, r.Durability = 1<<30, duration("1h"), filev1.Durability_FSYNC
	})
	times := make(chan time.Duration, callers*rounds)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for round := range rounds {
				begun := time.Now()
				if err := b.life(t.Context(), fmt.Sprintf("d%d/f%d", i%4, i), i, round); err != nil {
					t.Errorf("caller %d, round %d: %v", i, round, err)
					return
				}
				times <- time.Since(begun)
			}
		})
	}
	all.Wait()
	close(times)
	total := time.Duration(0)
	for d := range times {
		total += d
	}
	t.Logf("%d callers: a life of 9 operations took %v on average", callers, total/time.Duration(callers*rounds))
	bytes, files := usedOnDisk(t, b.dir)
	roots, err := b.Roots(t.Context(), &filev1.RootsRequest{})
	if got := roots.GetRoots()[0]; err != nil || int64(got.GetUsed()) != bytes || int64(got.GetFiles()) != files {
		t.Errorf("counted: got %v, %v, want %d bytes in %d files", got, err, bytes, files)
	}
	b.noTemp()
}

// life makes a file, changes it in all ways, and removes it.
func (b *box) life(ctx context.Context, path string, i, round int) error {
	content := bytes.Repeat(fmt.Appendf(nil, "%d %d;", i, round), 1000+i)
	written, err := b.WriteFile(ctx, &filev1.WriteFileRequest{Root: "r", Path: path, Content: content, Options: &filev1.WriteOptions{MakeParents: true}})
	if err != nil {
		return err
	}
	read, err := b.ReadFile(ctx, &filev1.ReadFileRequest{Root: "r", Path: path})
	if err != nil || !bytes.Equal(read.GetContent(), content) || read.GetEntry().GetEtag() != written.GetEntry().GetEtag() {
		return fmt.Errorf("read %d bytes, %w, want %d", len(read.GetContent()), orDiffers(err), len(content))
	}
	appended, err := b.Append(ctx, &filev1.AppendRequest{Root: "r", Path: path, Content: []byte("the end"), IfSize: &[]uint64{uint64(len(content))}[0]})
	if err != nil || appended.GetOffset() != uint64(len(content)) {
		return fmt.Errorf("append: %v, %w", appended, orDiffers(err))
	}
	edited, err := b.Edit(ctx, &filev1.EditRequest{
		Root: "r", Path: path, Options: &filev1.WriteOptions{IfMatch: appended.GetEntry().GetEtag()},
		Replacements: []*filev1.Replacement{{Old: "the end", New: "END"}},
	})
	if err != nil || edited.GetReplaced() != 1 {
		return fmt.Errorf("edit: %v, %w", edited, orDiffers(err))
	}
	want := append(content, "END"...)
	if _, err := b.Copy(ctx, &filev1.CopyRequest{Root: "r", Path: path, ToPath: path + "-copy"}); err != nil {
		return err
	}
	if _, err := b.Move(ctx, &filev1.MoveRequest{Root: "r", Path: path + "-copy", ToPath: path + "-moved"}); err != nil {
		return err
	}
	if err := b.streamIs(ctx, path+"-moved", want); err != nil {
		return err
	}
	sum := sha256.Sum256(want)
	if hash, err := b.Hash(ctx, &filev1.HashRequest{Root: "r", Path: path}); err != nil || hash.GetDigest() != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("hash: %v, %w", hash, orDiffers(err))
	}
	list, err := b.List(ctx, &filev1.ListRequest{Root: "r", Path: strings.Split(path, "/")[0], PageSize: 10_000})
	if err != nil || len(list.GetEntries()) == 0 {
		return fmt.Errorf("list: %v, %w", list, orDiffers(err))
	}
	for _, p := range []string{path, path + "-moved"} {
		if _, err := b.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: p, Permanent: i%2 == 0}); err != nil {
			return err
		}
	}
	return nil
}

var errDiffers = errors.New("not what was written")

func orDiffers(err error) error {
	if err == nil {
		return errDiffers
	}
	return err
}

func (b *box) streamIs(ctx context.Context, path string, want []byte) error {
	stream, err := b.Read(ctx, &filev1.ReadRequest{Root: "r", Path: path})
	var got []byte
	for err == nil {
		var piece *filev1.ReadResponse
		piece, err = stream.Recv()
		got = append(got, piece.GetContent()...)
	}
	if !errors.Is(err, io.EOF) || !bytes.Equal(got, want) {
		return fmt.Errorf("stream of %s: %d bytes, %w, want %d", path, len(got), err, len(want))
	}
	return nil
}
