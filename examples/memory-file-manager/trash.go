package main

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// trashed is something that was removed and can be brought back.
type trashed struct {
	id      string
	path    string
	node    *node
	removed time.Time
}

// discard puts what was at a path into the trash. The caller holds mu.
func (r *root) discard(path string, n *node) (id string) {
	t := trashed{id: rand.Text(), path: path, node: n, removed: time.Now()}
	r.trash = append(r.trash, t)
	return t.id
}

// expireTrash removes for good what has been in the trash for too long. The caller
// holds mu.
func (r *root) expireTrash(now time.Time) {
	r.trash = slices.DeleteFunc(r.trash, func(t trashed) bool { return now.Sub(t.removed) >= r.trashFor })
}

// ListTrash lists what was removed, the latest first.
func (m *manager) ListTrash(_ context.Context, r *filev1.ListTrashRequest) (*filev1.ListTrashResponse, error) {
	p, err := m.find(r.GetRoot(), "")
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expireTrash(time.Now())
	response := &filev1.ListTrashResponse{}
	for _, t := range slices.Backward(p.trash) {
		response.Items = append(response.Items, &filev1.TrashItem{
			Id: t.id, Path: t.path, Removed: timestamppb.New(t.removed),
			Size: uint64(t.node.size), Type: t.node.entry("").GetType(), //nolint:gosec // G115: not negative
		})
	}
	return response, nil
}

// Restore brings something back from the trash.
func (m *manager) Restore(_ context.Context, r *filev1.RestoreRequest) (*filev1.RestoreResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetToPath())
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	i := slices.IndexFunc(p.trash, func(t trashed) bool { return t.id == r.GetId() })
	if i >= 0 && r.GetToPath() == "" {
		p.path = p.trash[i].path
	}
	p.mu.Unlock()
	response := &filev1.RestoreResponse{}
	err = p.change(r.GetLock(), func(tree *node) (*node, error) {
		p.expireTrash(time.Now())
		i := slices.IndexFunc(p.trash, func(t trashed) bool { return t.id == r.GetId() })
		if i < 0 {
			return nil, p.fail(codes.NotFound, "no item %.100q is in the trash", r.GetId())
		}
		n := p.trash[i].node
		tree, err := p.vacate(tree, n, false, true)
		if err != nil {
			return nil, err
		}
		p.trash = slices.Delete(p.trash, i, i+1)
		response.Entry = n.entry(p.path)
		return tree.with(p.path, n), nil
	})
	return response, err
}

// EmptyTrash removes for good what is in the trash.
func (m *manager) EmptyTrash(_ context.Context, r *filev1.EmptyTrashRequest) (*filev1.EmptyTrashResponse, error) {
	p, err := m.find(r.GetRoot(), "")
	if err != nil {
		return nil, err
	}
	response := &filev1.EmptyTrashResponse{}
	err = p.change("", func(tree *node) (*node, error) {
		now := time.Now()
		p.trash = slices.DeleteFunc(p.trash, func(t trashed) bool {
			if now.Sub(t.removed) < r.GetOlderThan().AsDuration() {
				return false
			}
			response.Items++
			response.Bytes += uint64(t.node.size) //nolint:gosec // G115: not negative
			return true
		})
		return tree, nil
	})
	return response, err
}
