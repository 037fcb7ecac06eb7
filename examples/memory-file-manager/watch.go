package main

import (
	"context"
	"maps"
	"slices"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
)

// watcher tells of the differences between the tree that it has told of last and the
// present one. Who is slow is told less often; nothing has to be kept for it but that
// tree, which it shares.
type watcher struct {
	place     place
	recursive bool
	send      func(event filev1.Event, path string, n *node) error
}

// Watch reports changes until the caller leaves, or this manager is about to end.
func (m *manager) Watch(r *filev1.WatchRequest, stream grpc.ServerStreamingServer[filev1.WatchResponse]) error {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return err
	}
	if _, err := p.look(); err != nil {
		return err
	}
	var sequence uint64
	w := watcher{p, r.GetRecursive(), func(event filev1.Event, path string, n *node) error {
		sequence++
		response := &filev1.WatchResponse{Sequence: sequence, Event: event, Path: path}
		if n != nil {
			response.Entry = n.entry(path)
		}
		return stream.Send(response)
	}}
	ctx, stop := sdk.UntilDrain(stream.Context())
	defer stop()
	told, changed := w.look()
	if r.GetExisting() {
		if err := w.tell(p.path, newDir(0, told.modified), told, 0); err != nil {
			return err
		}
	}
	if err := w.send(filev1.Event_READY, "", nil); err != nil {
		return err
	}
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var now *node
		now, changed = w.look()
		if err := w.tell(p.path, told, now, 0); err != nil {
			return err
		}
		told = now
	}
}

// look returns what is at the place now, and what is closed when it may be another.
func (w watcher) look() (*node, <-chan struct{}) {
	w.place.mu.Lock()
	defer w.place.mu.Unlock()
	return w.place.tree.Load().at(w.place.path), w.place.changed
}

// tell tells of the differences at a path, so many levels below the place; nil is
// nothing.
func (w watcher) tell(path string, old, now *node, level int) error {
	if old == now || w.place.denies(path) {
		return nil
	}
	if old != nil && now != nil && (old.dir == nil) != (now.dir == nil) && level > 0 {
		if err := w.tell(path, old, nil, level); err != nil {
			return err
		}
		old = nil
	}
	if event := difference(old, now); event != 0 && (level > 0 || isFileOrGone(old, now)) {
		if err := w.send(event, path, now); err != nil {
			return err
		}
	}
	if level > 0 && !w.recursive {
		return nil
	}
	for _, name := range names(old, now) {
		if err := w.tell(join(path, name), old.child(name), now.child(name), level+1); err != nil {
			return err
		}
	}
	return nil
}

// isFileOrGone reports whether the place itself is to be told of: a directory is watched
// for what is in it.
func isFileOrGone(old, now *node) bool { return old == nil || now == nil || now.dir == nil }

// difference is what has happened, 0 for nothing. A directory does not change by what
// is in it.
func difference(old, now *node) filev1.Event {
	switch {
	case now == nil:
		return filev1.Event_REMOVED
	case old == nil, (old.dir == nil) != (now.dir == nil):
		return filev1.Event_CREATED
	case now.dir == nil && now.etag != old.etag, now.mode != old.mode:
		return filev1.Event_CHANGED
	}
	return 0
}

// names are those that are in one of two directories, sorted.
func names(old, now *node) []string {
	all := make(map[string]bool)
	for _, n := range []*node{old, now} {
		if n != nil {
			for name := range n.dir {
				all[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	return n.dir[name]
}
