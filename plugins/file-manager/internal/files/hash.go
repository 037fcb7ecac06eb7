package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Hash returns the digest of a file's content. The entry is from before the
// content was read, as in ReadFile.
func (m *Manager) Hash(ctx context.Context, request *filev1.HashRequest) (*filev1.HashResponse, error) {
	t, err := m.enter(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	h, err := newHash(request.GetAlgorithm())
	if err != nil {
		return nil, err
	}
	found, err := t.findFile(request.GetPath())
	if err != nil {
		return nil, err
	}
	defer found.Close()
	fd, err := found.Open()
	if err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	defer unix.Close(fd) //nolint:errcheck // what was only read loses nothing
	buf := m.chunks.get()
	defer m.chunks.pool.Put(buf)
	content := &content{fd: fd, left: found.Info.Size, read: m.metrics.read.Add}
	for err == nil {
		var n int
		n, err = content.Read(*buf)
		_, _ = h.Write((*buf)[:n]) // it never fails
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, t.explain(request.GetPath(), err)
	}
	return &filev1.HashResponse{Digest: hex.EncodeToString(h.Sum(nil)), Entry: entryOf(found.Path, found.Info)}, nil
}

func newHash(algorithm filev1.Algorithm) (hash.Hash, error) {
	switch algorithm {
	case filev1.Algorithm_ALGORITHM_UNSPECIFIED, filev1.Algorithm_SHA256:
		return sha256.New(), nil
	case filev1.Algorithm_BLAKE3:
		return blake3.New(), nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "algorithm %d is not known; use SHA256 or BLAKE3", algorithm)
}
