package watch

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// node is what was last reported of a path.
type node struct {
	parent   *node
	name     string
	depth    int // parts of the path
	state    state
	seen     int64            // when it was looked at, in Unix nanoseconds
	children map[string]*node // of a directory whose content is watched
	watch    int32            // of the source of events; 0 for none
	gone     bool
}

// path is seen from the root, "" for the root itself.
func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	parts := make([]string, n.depth)
	for ; n.parent != nil; n = n.parent {
		parts[n.depth-1] = n.name
	}
	return strings.Join(parts, "/")
}

// state is what tells one version of a file from another.
type state struct {
	kind         fs.FileMode // type bits
	mode         fs.FileMode
	device, ino  uint64
	size         int64
	mtime, ctime int64 // Unix nanoseconds
}

func stateOf(info fs.FileInfo) state {
	s := state{kind: info.Mode().Type(), mode: info.Mode(), size: info.Size(), mtime: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.ino, s.ctime = uint64(sys.Dev), sys.Ino, changeTime(sys) //nolint:gosec,unconvert,nolintlint // G115: of another type elsewhere
	}
	return s
}

func (s state) sameFile(other state) bool { return s.ino == other.ino && s.device == other.device }

// differs reports whether a change is to be reported. What is in a directory is
// reported for itself.
func (s state) differs(before state) bool {
	if s.kind.IsDir() {
		return s.mode != before.mode
	}
	return s != before
}

// racy reports whether the file may have changed since it was seen without a trace:
// on Linux before 6.13 two changes within a tick of the clock, up to 10 ms, have one
// time.
func (n *node) racy() bool {
	const tick = 20 * time.Millisecond
	return n.state.ctime > n.seen-int64(tick)
}

// inside reports whether the content of a directory is watched, or on the way to
// what is.
func (w *watcher) inside(n *node) bool {
	return n.state.kind.IsDir() && (n.depth <= len(w.target) || w.options.Recursive)
}

// concerns reports whether a name in a directory is watched, or on the way to what
// is.
func (w *watcher) concerns(n *node, name string) bool {
	if n.depth < len(w.target) {
		return name == w.target[n.depth]
	}
	if !utf8.ValidString(name) {
		return false
	}
	if w.options.Hidden == nil {
		return true
	}
	path := name
	if n.depth > 0 {
		path = n.path() + "/" + name
	}
	return !w.options.Hidden(path)
}

// open opens a directory if it is still the one that was looked at. A "." at the end
// of the path keeps what has taken its place from being opened, such as a FIFO.
func (w *watcher) open(n *node) (*os.Root, error) {
	dir, err := w.root.OpenRoot(n.path() + "/.")
	if n.parent == nil {
		dir, err = w.root.OpenRoot(".")
	}
	if err != nil || n.parent == nil {
		return dir, err
	}
	info, err := dir.Lstat(".")
	if err == nil && !stateOf(info).sameFile(n.state) {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = dir.Close() // nothing was written
		return nil, err
	}
	return dir, nil
}

// list sets a watch on a directory and then lists it, sorted by name: what changes
// from then on is told.
func (w *watcher) list(n *node) ([]fs.FileInfo, error) {
	dir, err := w.open(n)
	if err != nil {
		return nil, err
	}
	defer dir.Close() //nolint:errcheck // it was only read
	file, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := w.attach(n, file); err != nil {
		return nil, err
	}
	if n.depth < len(w.target) {
		info, err := dir.Lstat(w.target[n.depth])
		if err != nil {
			return nil, nil //nolint:nilerr // it is not there
		}
		return []fs.FileInfo{info}, nil
	}
	var infos []fs.FileInfo
	for {
		some, err := file.Readdir(1024)
		infos = append(infos, some...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := w.hub.roomFor(len(infos)); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return cmp.Compare(a.Name(), b.Name()) })
	return infos, nil
}

// roomFor refuses more entries than there may be.
func (h *Hub) roomFor(n int) error {
	if bound := h.directories * entriesPerDirectory; h.entries.Load()+int64(n) > bound {
		return status.Errorf(codes.ResourceExhausted, "watch: more than %d files are watched; raise max_watched, which allows for %d files each", bound, entriesPerDirectory)
	}
	return nil
}

// attach sees that changes in a directory are told.
func (w *watcher) attach(n *node, dir *os.File) error {
	if n.watch == 0 {
		if w.hub.watched.Add(1) > w.hub.directories {
			w.hub.watched.Add(-1)
			return status.Errorf(codes.ResourceExhausted, "watch %q: %d directories are watched, max_watched allows %[2]d", n.path(), w.hub.directories)
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
	infos, err := w.list(n)
	switch {
	case errors.Is(err, fs.ErrPermission):
		w.detach(n) // what cannot be seen is gone; when its mode changes, it is scanned again
	case isGone(err):
		return nil // which is told to the directory that it was in
	case err != nil:
		return err
	}
	if n.children == nil {
		n.children = make(map[string]*node)
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if _, there := slices.BinarySearchFunc(infos, name, func(i fs.FileInfo, name string) int { return cmp.Compare(i.Name(), name) }); !there {
			if err := w.remove(n.children[name]); err != nil {
				return err
			}
		}
	}
	for _, info := range infos {
		if w.concerns(n, info.Name()) {
			if err := w.update(ctx, n, info, appeared, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// isGone reports whether a directory is not there any more, or not the same.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// look reports how names in a directory differ from what was last reported.
func (w *watcher) look(ctx context.Context, n *node, names map[string]hint) error {
	if n.gone || n.children == nil {
		return nil
	}
	dir, err := w.open(n)
	if err != nil {
		return nil //nolint:nilerr // that it is gone is told to the directory that it was in
	}
	defer dir.Close() //nolint:errcheck // it was only read
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if n.gone || !w.concerns(n, name) {
			continue
		}
		seen := time.Now().UnixNano()
		info, err := dir.Lstat(name)
		switch child := n.children[name]; {
		case err == nil:
			err = w.update(ctx, n, info, names[name], seen)
		case child != nil:
			err = w.remove(child)
		default:
			err = nil // came and went
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// update reports how what is in a directory differs from what was last reported.
func (w *watcher) update(ctx context.Context, parent *node, info fs.FileInfo, h hint, seen int64) error {
	now := stateOf(info)
	n := parent.children[info.Name()]
	if n != nil && n.state.kind != now.kind {
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
		n = &node{parent: parent, name: info.Name(), depth: parent.depth + 1}
		parent.children[n.name] = n
	} else {
		event = filev1.Event_CHANGED
		differs := now.differs(n.state)
		look = differs || h&appeared != 0 || n.children == nil || !now.sameFile(n.state)
		if !differs && (h&modified == 0 || now.kind.IsDir() || !n.racy()) {
			event = filev1.Event_EVENT_UNSPECIFIED
		}
	}
	n.state, n.seen = now, seen
	if event != filev1.Event_EVENT_UNSPECIFIED {
		if err := w.report(event, n, info); err != nil {
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
	return w.report(filev1.Event_REMOVED, n, nil)
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
