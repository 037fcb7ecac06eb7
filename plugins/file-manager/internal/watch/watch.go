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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
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
	// files are remembered; each takes about 300 bytes.
	entriesPerDirectory = 64
)

// Hub is what all watches have in common: the system's source of events, of which
// there are few, and the bounds. It is safe for concurrent use.
type Hub struct {
	pending int // bound of each watch

	directories atomic.Int64 // bound
	watched     atomic.Int64
	entries     atomic.Int64
	events      atomic.Uint64
	overflows   atomic.Uint64

	mu       sync.Mutex
	notifier *notifier // nil before the first watch
	closed   bool
}

// New returns a hub whose watches look at no more than so many directories in
// total. The caller closes it.
func New(directories int) *Hub {
	h := &Hub{pending: defaultPending}
	h.Limit(directories)
	return h
}

// Limit sets how many directories may be looked at. Watches that run go on.
func (h *Hub) Limit(directories int) { h.directories.Store(int64(directories)) }

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
	// Path of a file or directory: a clean path without links.
	Path string
	// Recursive watches what is in directories below, too.
	Recursive bool
	// Existing reports what is there at first.
	Existing bool
	// Hidden leaves out a path with what is below it. May be nil.
	Hidden func(path string) bool
	// Check is called every second; its error ends the watch. May be nil.
	Check func() error
	// Entry makes the entry that is reported.
	Entry func(path string, info jail.Info) *filev1.Entry
}

// Watch reports changes to send, from this goroutine, until ctx ends or send or
// Check fails. While send blocks, changes are collected; if they become too
// many they are dropped, OVERFLOW is reported and all is looked at anew.
//
// A path that is removed is watched on and reported when it is there again. Names
// that are no UTF-8 are left out, as no message can carry them.
//
// Errors are a status, or a syscall.Errno: at the start ENOENT if nothing is at the
// path, and EACCES if it is a directory that may not be read. One below that may not
// be read looks empty.
func (h *Hub) Watch(ctx context.Context, root *jail.Root, o Options, send func(*filev1.WatchResponse) error) error {
	source, err := h.source()
	if err != nil {
		return err
	}
	w := &watcher{
		hub: h, source: source, root: root, options: o, send: send,
		top:     &node{info: jail.Info{Mode: unix.S_IFDIR}},
		target:  split(o.Path),
		quiet:   !o.Existing,
		pending: newPending(h.pending),
	}
	defer w.close()
	if err := w.scan(ctx, w.top); err != nil {
		return err
	}
	if err := w.begun(); err != nil {
		return err
	}
	w.quiet = false
	if err := w.emit(filev1.Event_READY, nil); err != nil {
		return err
	}
	return w.follow(ctx)
}

// watcher is one watch. Its goroutine owns all but pending, to which the source of
// events writes.
type watcher struct {
	hub      *Hub
	source   *notifier
	root     *jail.Root
	options  Options
	send     func(*filev1.WatchResponse) error
	top      *node    // of the root
	target   []string // parts of the path that is watched
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

// tick finds what no event tells, such as that the root is gone: while it is held
// open, the system says nothing.
func (w *watcher) tick(ctx context.Context) error {
	if w.options.Check != nil {
		if err := w.options.Check(); err != nil {
			return err
		}
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
		if err := w.emit(filev1.Event_OVERFLOW, nil); err != nil {
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

// begun is an error if what is to be watched cannot be: there is nothing, or it is a
// directory that may not be read.
func (w *watcher) begun() error {
	n := w.top
	for _, part := range w.target {
		if n = n.children[part]; n == nil {
			return unix.ENOENT
		}
	}
	if n.info.IsDir() && n.watch == 0 {
		return unix.EACCES
	}
	return nil
}

// report sends an event of a node, if it is one that is watched.
func (w *watcher) report(event filev1.Event, n *node) error {
	if w.quiet || n.depth == 0 || n.depth < len(w.target) {
		return nil
	}
	return w.emit(event, n)
}

// emit sends an event of a node, or of the watch itself.
func (w *watcher) emit(event filev1.Event, n *node) error {
	w.sequence++
	w.hub.events.Add(1)
	response := &filev1.WatchResponse{Sequence: w.sequence, Event: event}
	if n != nil {
		response.Path = n.path()
		if !n.gone {
			response.Entry = w.options.Entry(response.Path, n.info)
		}
	}
	return w.send(response)
}

// close gives back what the watch holds.
func (w *watcher) close() {
	w.forget(w.top)
}

// split returns the parts of a clean path.
func split(path string) []string {
	if path == "." {
		return nil
	}
	return strings.Split(path, "/")
}
