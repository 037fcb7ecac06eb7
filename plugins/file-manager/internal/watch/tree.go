package watch

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// node is what was last reported of a path.
type node struct {
	parent   *node
	name     string
	depth    int // parts of the path
	info     jail.Info
	seen     int64            // when it was looked at, in nanoseconds since 1970
	children map[string]*node // of a directory whose content is watched
	watch    int32            // of the source of events; 0 for none
	gone     bool
}

// path is seen from the root, "." for the root itself.
func (n *node) path() string {
	if n.parent == nil {
		return "."
	}
	parts := make([]string, n.depth)
	for ; n.parent != nil; n = n.parent {
		parts[n.depth-1] = n.name
	}
	return strings.Join(parts, "/")
}

func sameFile(a, b jail.Info) bool { return a.Inode == b.Inode && a.Device == b.Device }

// differs reports whether a change is to be reported. What is in a directory is
// reported for itself.
func differs(a, b jail.Info) bool {
	if a.IsDir() {
		return a.Mode != b.Mode || a.Owner != b.Owner || a.Group != b.Group
	}
	return a != b
}

// racy reports whether the file may have changed since it was seen without a trace:
// on Linux before 6.13 two changes within a tick of the clock, up to 10 ms, have one
// time.
func (n *node) racy() bool {
	const tick = 20 * time.Millisecond
	return n.info.Changed > n.seen-int64(tick)
}

// inside reports whether the content of a directory is watched, or on the way to
// what is.
func (w *watcher) inside(n *node) bool {
	return n.info.IsDir() && (n.depth <= len(w.target) || w.options.Recursive)
}

// concerns reports whether a name in a directory, which has a path, is watched, or on
// the way to what is.
func (w *watcher) concerns(n *node, path, name string) bool {
	if n.depth < len(w.target) {
		return name == w.target[n.depth]
	}
	if !utf8.ValidString(name) {
		return false
	}
	return w.options.Hidden == nil || !w.options.Hidden(jail.Join(path, name))
}

// file is a name and what is there.
type file struct {
	name string
	info jail.Info
}

// list sets a watch on a directory and then lists it, sorted by name: what changes
// from then on is told.
func (w *watcher) list(n *node) ([]file, error) {
	dir, err := w.root.Dir(n.path())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := w.attach(n, dir); err != nil {
		return nil, err
	}
	names := w.target[min(n.depth, len(w.target)):]
	if len(names) > 0 {
		names = names[:1] // on the way to what is watched
	} else if names, err = dir.Names(); err != nil {
		return nil, err
	}
	if err := w.hub.roomFor(len(names) - len(n.children)); err != nil {
		return nil, err
	}
	slices.Sort(names)
	files := make([]file, 0, len(names))
	for _, name := range names {
		info, err := dir.Stat(name)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, info})
	}
	return files, nil
}

// roomFor refuses more entries than there may be.
func (h *Hub) roomFor(n int) error {
	if bound := h.directories.Load() * entriesPerDirectory; n > 0 && h.entries.Load()+int64(n) > bound {
		return status.Errorf(codes.ResourceExhausted, "watch: more than %d files are watched; raise max_watched, which allows for %d files each", bound, entriesPerDirectory)
	}
	return nil
}

// attach sees that changes in a directory are told.
func (w *watcher) attach(n *node, dir jail.Dir) error {
	if n.watch == 0 {
		if bound := w.hub.directories.Load(); w.hub.watched.Add(1) > bound {
			w.hub.watched.Add(-1)
			return status.Errorf(codes.ResourceExhausted, "watch %q: %d directories are watched already, as many as max_watched allows", n.path(), bound)
		}
	}
	before := n.watch
	err := w.source.add(dir, w, n)
	if before == 0 && n.watch == 0 {
		w.hub.watched.Add(-1)
	}
	return err
}

// detach undoes attach.
func (w *watcher) detach(n *node) {
	if n.watch != 0 {
		w.source.remove(w, n)
		n.watch = 0
		w.hub.watched.Add(-1)
	}
}

// scan reports how the content of a directory, and of those in it, differs from what
// was last reported.
func (w *watcher) scan(ctx context.Context, n *node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	seen := time.Now().UnixNano()
	files, err := w.list(n)
	switch {
	case errors.Is(err, fs.ErrPermission):
		w.detach(n) // what cannot be seen is gone; when its mode changes, it is scanned again
		files = nil
	case isGone(err):
		return nil // which is told to the directory that it was in
	case err != nil:
		return err
	}
	if n.children == nil {
		n.children = make(map[string]*node)
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if _, there := slices.BinarySearchFunc(files, name, func(f file, name string) int { return cmp.Compare(f.name, name) }); !there {
			if err := w.remove(n.children[name]); err != nil {
				return err
			}
		}
	}
	path := n.path()
	for _, f := range files {
		if w.concerns(n, path, f.name) {
			if err := w.update(ctx, n, f, appeared, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// isGone reports whether what was to be looked at is not there any more, or cannot be
// seen.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, jail.ErrMoving)
}

// look reports how names in a directory differ from what was last reported.
func (w *watcher) look(ctx context.Context, n *node, names map[string]hint) error {
	if n.gone || n.children == nil {
		return nil
	}
	path := n.path()
	dir, err := w.root.Dir(path)
	if isGone(err) {
		return nil // which is told to the directory that it was in
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if n.gone || !w.concerns(n, path, name) {
			continue
		}
		seen := time.Now().UnixNano()
		info, err := dir.Stat(name)
		switch child := n.children[name]; {
		case err == nil:
			err = w.update(ctx, n, file{name, info}, names[name], seen)
		case !isGone(err):
		case child != nil:
			err = w.remove(child)
		default:
			err = nil // it came and went
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// update reports how what is in a directory differs from what was last reported.
func (w *watcher) update(ctx context.Context, parent *node, f file, h hint, seen int64) error {
	now := f.info
	n := parent.children[f.name]
	if n != nil && n.info.Type() != now.Type() {
		if err := w.remove(n); err != nil {
			return err
		}
		n = nil
	}
	event := filev1.Event_CREATED
	look := true
	if n == nil {
		if err := w.hub.roomFor(1); err != nil {
			return err
		}
		w.hub.entries.Add(1)
		n = &node{parent: parent, name: f.name, depth: parent.depth + 1}
		parent.children[n.name] = n
	} else {
		event = filev1.Event_CHANGED
		changed := differs(now, n.info)
		look = changed || h&appeared != 0 || n.children == nil || !sameFile(now, n.info)
		if !changed && (h&modified == 0 || now.IsDir() || !n.racy()) {
			event = filev1.Event_EVENT_UNSPECIFIED
		}
	}
	n.info, n.seen = now, seen
	if event != filev1.Event_EVENT_UNSPECIFIED {
		if err := w.report(event, n); err != nil {
			return err
		}
	}
	if look && w.inside(n) {
		return w.scan(ctx, n)
	}
	return nil
}

// remove reports that a path is gone, after what was below it.
func (w *watcher) remove(n *node) error {
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if err := w.remove(n.children[name]); err != nil {
			return err
		}
	}
	w.drop(n)
	return w.report(filev1.Event_REMOVED, n)
}

// forget drops a node and all below it.
func (w *watcher) forget(n *node) {
	for _, child := range n.children {
		w.forget(child)
	}
	w.drop(n)
}

// drop takes a node out of the tree.
func (w *watcher) drop(n *node) {
	w.detach(n)
	n.gone = true
	if n.parent != nil {
		delete(n.parent.children, n.name)
		w.hub.entries.Add(-1)
	}
}
