package main

import (
	"context"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Copy copies a file, or with recursive a directory: the copy shares what it has with
// the original until one of them is changed.
func (m *manager) Copy(_ context.Context, r *filev1.CopyRequest) (*filev1.CopyResponse, error) {
	from, to, err := m.fromTo(r.GetRoot(), r.GetPath(), r.GetToRoot(), r.GetToPath())
	if err != nil {
		return nil, err
	}
	n, err := from.look()
	switch {
	case err != nil:
		return nil, err
	case n.dir != nil && !r.GetRecursive():
		return nil, from.fail(codes.FailedPrecondition, "is a directory; recursive copies it")
	case n.size != n.visibleSize(from):
		return nil, from.fail(codes.PermissionDenied, "the directory has something in it that the root denies")
	}
	err = to.change(r.GetLock(), func(tree *node) (*node, error) {
		tree, err := to.vacate(tree, n, r.GetOverwrite(), r.GetMakeParents())
		if err == nil {
			err = to.room(n.size, n.size)
		}
		if err != nil {
			return nil, err
		}
		return tree.with(to.path, n), nil
	})
	return &filev1.CopyResponse{Entry: n.entry(to.path), Files: uint64(n.files), Bytes: uint64(n.size)}, err //nolint:gosec // G115: not negative
}

// visibleSize is the size of all files below a place that the root does not deny.
func (n *node) visibleSize(p place) int64 {
	if len(p.deny) == 0 {
		return n.size
	}
	size := int64(len(n.content))
	n.walk(p.path, func(path string, n *node) bool {
		if p.denies(path) {
			return false
		}
		size += int64(len(n.content))
		return true
	})
	return size
}

// Move renames a file or directory, also into another root.
func (m *manager) Move(_ context.Context, r *filev1.MoveRequest) (*filev1.MoveResponse, error) {
	from, to, err := m.fromTo(r.GetRoot(), r.GetPath(), r.GetToRoot(), r.GetToPath())
	if err != nil {
		return nil, err
	}
	if !from.writable {
		return nil, from.fail(codes.PermissionDenied, "the root is read-only")
	}
	response := &filev1.MoveResponse{}
	if from.root == to.root {
		err = to.change(r.GetToLock(), func(tree *node) (*node, error) {
			n, err := from.taken(r.GetLock(), r.GetIfMatch())
			if err != nil {
				return nil, err
			}
			response.Entry = n.entry(to.path)
			if from.path == to.path {
				return tree, nil
			}
			if tree, err = to.vacate(tree, n, r.GetOverwrite(), r.GetMakeParents()); err != nil {
				return nil, err
			}
			return tree.with(from.path, nil).with(to.path, n), nil
		})
		return response, err
	}
	response.Entry, err = from.moveAcross(to, r)
	return response, err
}

// moveAcross moves between two roots. Their locks are taken in the order of their names.
func (p place) moveAcross(to place, r *filev1.MoveRequest) (entry *filev1.Entry, err error) {
	take := func(then func(n *node) error) error {
		if err := p.checkLock(r.GetLock()); err != nil {
			return err
		}
		n, err := p.taken(r.GetLock(), r.GetIfMatch())
		if err == nil {
			err = then(n)
		}
		if err == nil {
			p.publish(p.tree.Load().with(p.path, nil))
		}
		return err
	}
	give := func(n *node) error {
		if err := to.checkLock(r.GetToLock()); err != nil {
			return err
		}
		tree, err := to.vacate(to.tree.Load(), n, r.GetOverwrite(), r.GetMakeParents())
		if err == nil {
			err = to.room(n.size, n.size)
		}
		if err == nil {
			tree = tree.with(to.path, n)
			err = to.countable(tree)
		}
		if err == nil {
			to.publish(tree)
			entry = n.entry(to.path)
		}
		return err
	}
	if !to.writable {
		return nil, to.fail(codes.PermissionDenied, "the root is read-only")
	}
	first, second := p.root, to.root
	if first.name > second.name {
		first, second = second, first
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	second.mu.Lock()
	defer second.mu.Unlock()
	return entry, take(give)
}

// taken is what Move and Remove take away: with all that is in it.
func (p place) taken(lock, ifMatch string) (*node, error) {
	n, err := p.look()
	switch {
	case err != nil:
		return nil, err
	case p.path == ".":
		return nil, p.fail(codes.InvalidArgument, "is the root itself, which stays")
	case n.size != n.visibleSize(p):
		return nil, p.fail(codes.PermissionDenied, "the directory has something in it that the root denies")
	}
	if err := p.checkLocksBelow(lock); err != nil {
		return nil, err
	}
	return n, p.matches(n, ifMatch)
}

// fromTo finds the two places of a copy or move.
func (m *manager) fromTo(root, path, toRoot, toPath string) (from, to place, err error) {
	if toRoot == "" {
		toRoot = root
	}
	if from, err = m.find(root, path); err == nil {
		to, err = m.find(toRoot, toPath)
	}
	switch {
	case err != nil:
	case to.path == ".":
		err = status.Error(codes.InvalidArgument, "to_path is empty, want where it will be")
	case from.root == to.root && from.path != to.path && isWithin(from.path, to.path):
		err = to.fail(codes.InvalidArgument, "is within %.100q, which cannot be put into itself", from.path)
	}
	return from, to, err
}

// vacate returns a tree in which n can be put at the place.
func (p place) vacate(tree, n *node, overwrite, makeParents bool) (*node, error) {
	switch old := tree.at(p.path); {
	case old == nil:
	case !overwrite:
		return nil, p.fail(codes.AlreadyExists, "exists; overwrite replaces a file")
	case old.dir != nil || n.dir != nil:
		return nil, p.fail(codes.FailedPrecondition, "overwrite replaces a file by a file, and no directory")
	}
	return p.parents(tree, makeParents)
}

// Remove removes a file, an empty directory, or with recursive a directory with what is
// in it.
func (m *manager) Remove(_ context.Context, r *filev1.RemoveRequest) (*filev1.RemoveResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	response := &filev1.RemoveResponse{}
	err = p.change(r.GetLock(), func(tree *node) (*node, error) {
		n, err := p.taken(r.GetLock(), r.GetIfMatch())
		if err != nil {
			return nil, err
		}
		if len(n.dir) > 0 && !r.GetRecursive() {
			return nil, p.fail(codes.FailedPrecondition, "the directory is not empty; recursive removes it with what is in it")
		}
		if p.trashFor > 0 && !r.GetPermanent() {
			if len(p.trash) >= maxTrash {
				return nil, p.fail(codes.ResourceExhausted, "the trash has %d items, as many as it may; EmptyTrash, or permanent", maxTrash)
			}
			response.TrashId = p.discard(p.path, n)
		}
		return tree.with(p.path, nil), nil
	})
	return response, err
}

// MakeDir makes a directory.
func (m *manager) MakeDir(_ context.Context, r *filev1.MakeDirRequest) (*filev1.MakeDirResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	mode := r.GetMode()
	if mode == 0 {
		mode = 0o755
	}
	if mode > 0o777 {
		return nil, status.Errorf(codes.InvalidArgument, "mode is %#o; permission bits are at most 0o777", mode)
	}
	response := &filev1.MakeDirResponse{}
	err = p.change(r.GetLock(), func(tree *node) (*node, error) {
		n := tree.at(p.path)
		switch {
		case n != nil && (n.dir == nil || !r.GetParents()):
			return nil, p.fail(codes.AlreadyExists, "exists")
		case n == nil:
			if tree, err = p.parents(tree, r.GetParents()); err != nil {
				return nil, err
			}
			if err := p.room(0, 0); err != nil {
				return nil, err
			}
			n = newDir(mode, time.Now())
			tree = tree.with(p.path, n)
		}
		response.Entry = n.entry(p.path)
		return tree, nil
	})
	return response, err
}

// SetAttributes changes permissions and times.
func (m *manager) SetAttributes(_ context.Context, r *filev1.SetAttributesRequest) (*filev1.SetAttributesResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	if r.GetMode() > 0o777 {
		return nil, status.Errorf(codes.InvalidArgument, "mode is %#o; permission bits are at most 0o777", r.GetMode())
	}
	response := &filev1.SetAttributesResponse{}
	err = p.change(r.GetLock(), func(tree *node) (*node, error) {
		old, err := p.look()
		if err != nil {
			return nil, err
		}
		n := *old
		if r.Mode != nil {
			n.mode = r.GetMode()
		}
		if r.GetModified() != nil {
			n.modified = r.GetModified().AsTime()
		}
		if n.dir == nil {
			n.etag = newFile(nil, 0, time.Time{}).etag
		}
		response.Entry = n.entry(p.path)
		return tree.with(p.path, &n), nil
	})
	return response, err
}
