// Package watch reports changes of files and directories, and loses none
// silently.
//
// Events of the system say only where to look. What is reported is the difference
// between what is there now and what was last reported, so that it does not matter
// in which order events come, how many there are, or whether some are missing: a
// new scan of all finds the same differences.
package watch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// settle is how long changes are collected before they are looked at: a file
	// that is written in many pieces is reported a few times only.
	settle = 10 * time.Millisecond
	// defaultPending bounds the names that wait to be looked at while a caller is
	// slow; each takes about 100 bytes.
	defaultPending = 16_384
	// entriesPerDirectory bounds, together with the bound on directories, how many
	// files are remembered; each takes about 200 bytes.
	entriesPerDirectory = 128
)

// Hub is what all watches have in common: the system's source of events, of which
// there are few, and the bounds. It is safe for concurrent use.
type Hub struct {
	directories int64 // bound
	pending     int   // bound of each watch

	watched   atomic.Int64
	entries   atomic.Int64
	events    atomic.Uint64
	overflows atomic.Uint64

	mu       sync.Mutex
	notifier *notifier // nil before the first watch
	closed   bool
}

// New returns a hub whose watches look at so many directories in total. The caller
// closes it.
func New(directories int) *Hub {
	return &Hub{directories: int64(directories), pending: defaultPending}
}

// Close releases the source of events. No watch may be running.
func (h *Hub) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.notifier == nil {
		return nil
	}
	return h.notifier.close()
}

// Watched is how many directories are looked at.
func (h *Hub) Watched() int64 { return h.watched.Load() }

// Events is how many events were reported.
func (h *Hub) Events() uint64 { return h.events.Load() }

// Overflows is how often events were dropped and all was looked at anew.
func (h *Hub) Overflows() uint64 { return h.overflows.Load() }

// source opens the source of events at the first watch.
func (h *Hub) source() (*notifier, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, status.Error(codes.Unavailable, "the file manager is closed")
	}
	if h.notifier == nil {
		n, err := newNotifier()
		if err != nil {
			return nil, err
		}
		h.notifier = n
	}
	return h.notifier, nil
}

// Options say what to watch and how to report it.
type Options struct {
	// Path of a file or directory, seen from the root. Links in it are followed
	// once, at the start.
	Path string
	// Recursive watches what is in directories below, too.
	Recursive bool
	// Existing reports what is there at first.
	Existing bool
	// Hidden leaves out a path with what is below it. May be nil.
	Hidden func(path string) bool
	// Entry makes the entry that is reported.
	Entry func(path string, info fs.FileInfo) *filev1.Entry
}

// Watch reports changes to send, from this goroutine, until ctx ends, send fails or
// the root is gone. While send blocks, changes are collected; if they become too
// many they are dropped, OVERFLOW is reported and all is looked at anew.
//
// A path that is removed is watched on and reported when it is there again. Names
// that are no UTF-8 are left out, as no message can carry them.
//
// Errors are a status, or that of opening the path.
func (h *Hub) Watch(ctx context.Context, root *os.Root, o Options, send func(*filev1.WatchResponse) error) error {
	source, err := h.source()
	if err != nil {
		return err
	}
	target, err := resolve(root, o.Path)
	if err != nil {
		return err
	}
	w := &watcher{
		hub: h, source: source, root: root, options: o, send: send,
		top:     &node{state: state{kind: fs.ModeDir}},
		target:  split(target),
		shift:   len(target),
		quiet:   !o.Existing,
		pending: newPending(h.pending),
	}
	defer w.close()
	if err := w.scan(ctx, w.top); err != nil {
		return err
	}
	w.quiet = false
	if err := w.emit(filev1.Event_READY, "", nil); err != nil {
		return err
	}
	return w.follow(ctx)
}

// watcher is one watch. Its goroutine owns all but pending, to which the source of
// events writes.
type watcher struct {
	hub      *Hub
	source   *notifier
	root     *os.Root
	options  Options
	send     func(*filev1.WatchResponse) error
	top      *node    // of the root
	target   []string // parts of the path that is watched, without links
	shift    int      // length of the same
	quiet    bool     // nothing is reported
	sequence uint64
	pending  *pending
}

// follow looks wherever something has happened.
func (w *watcher) follow(ctx context.Context) error {
	settled := time.NewTimer(settle)
	defer settled.Stop()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			if err := w.tick(ctx); err != nil {
				return err
			}
			continue
		case <-w.pending.wake:
		}
		settled.Reset(settle)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-settled.C:
		}
		if err := w.catchUp(ctx); err != nil {
			return err
		}
	}
}

// tick finds what no event tells: that the root is gone, as long as it is held open.
func (w *watcher) tick(ctx context.Context) error {
	info, err := w.root.Stat(".")
	if err != nil {
		return errVanished()
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok && sys.Nlink == 0 {
		return errVanished()
	}
	if !eventsCome {
		return w.scan(ctx, w.top)
	}
	return nil
}

func errVanished() error {
	return status.Error(codes.Unavailable, "watch: the root's directory has vanished")
}

// catchUp reports what has changed where events have pointed to.
func (w *watcher) catchUp(ctx context.Context) error {
	b := w.pending.take()
	if b.err != nil {
		return b.err
	}
	if b.overflow {
		w.hub.overflows.Add(1)
		if err := w.emit(filev1.Event_OVERFLOW, "", nil); err != nil {
			return err
		}
		return w.scan(ctx, w.top)
	}
	for _, n := range b.order {
		if err := w.look(ctx, n, b.names[n]); err != nil {
			return err
		}
	}
	return nil
}

// report sends an event of a node, if it is one that is watched.
func (w *watcher) report(event filev1.Event, n *node, info fs.FileInfo) error {
	if w.quiet || n.depth == 0 || n.depth < len(w.target) {
		return nil
	}
	path := n.path()
	if asked := strings.Trim(w.options.Path, "/"); w.shift > 0 && asked != path[:w.shift] {
		path = asked + path[w.shift:] // as the caller sees it, through links
	}
	return w.emit(event, path, info)
}

func (w *watcher) emit(event filev1.Event, path string, info fs.FileInfo) error {
	w.sequence++
	w.hub.events.Add(1)
	response := &filev1.WatchResponse{Sequence: w.sequence, Event: event, Path: path}
	if info != nil {
		response.Entry = w.options.Entry(path, info)
	}
	return w.send(response)
}

// close gives back what the watch holds.
func (w *watcher) close() {
	w.forget(w.top)
}

// resolve follows the links in a path within the root.
func resolve(root *os.Root, path string) (string, error) {
	const maxLinks = 40 // as Linux, path_resolution(7)
	if _, err := root.Stat(orDot(path)); err != nil {
		return "", err // leads out of the root, or nowhere
	}
	rest := split(path)
	var done []string
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			done = done[:max(len(done)-1, 0)]
			continue
		}
		at := strings.Join(append(done, part), "/")
		link, err := root.Readlink(at)
		if err != nil {
			done = append(done, part) // no link; if it is not there any more, that is seen soon
			continue
		}
		if links++; links > maxLinks {
			return "", errors.New("too many links")
		}
		rest = append(split(link), rest...)
	}
	return strings.Join(done, "/"), nil
}

// split returns the parts of a path.
func split(path string) []string {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

func orDot(path string) string {
	if path == "" {
		return "."
	}
	return path
}
