// Package session keeps pages that last: each has a slot for itself, takes one
// action at a time, and ends when it is closed, idle for too long, or dead.
//
// A session is made by Registry.Open, worked on with Session.Do, followed with
// Session.Follow, and has one goroutine, Session.live, that sees its end and
// gives its slot back.
package session

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The reasons for which sessions end, as EventsResponse.ended tells them.
const (
	Closed   = "closed"
	Idle     = "idle"
	Crashed  = "crashed"
	Draining = "draining"
)

const (
	// rememberTime and maxRemembered are how long, and of how many sessions, it is
	// known why they have ended.
	rememberTime  = 5 * time.Minute
	maxRemembered = 1000
)

// Options are those of a Registry. All are set.
type Options struct {
	Max   int // sessions at once
	Slots *slot.Pool
	Meter Meter
}

// Meter counts sessions. Its methods are safe for concurrent use.
type Meter interface {
	SessionOpened()
	SessionEnded(reason string, used page.Usage) // without the CPU time
}

// Registry has all sessions. Its methods are safe for concurrent use.
type Registry struct {
	Options

	life  context.Context //nolint:containedctx // ends what is being opened, with the registry
	die   context.CancelFunc
	tasks sync.WaitGroup // sessions that live or are being opened

	mu       sync.Mutex // of the sessions too
	closed   bool
	sessions map[string]*Session
	names    map[nameOf]*named
	opening  int
	gone     []gone // the longest gone first
}

// nameOf is what a session with a name is found by.
type nameOf struct{ client, name string }

// named is a session with a name, or one that is being opened under it.
type named struct {
	ready   chan struct{} // closed when it has been opened, or not
	session *Session      // nil while it is opened
}

// gone is a session that has ended.
type gone struct {
	id, reason string
	at         time.Time
}

// New returns a registry without sessions. The caller closes it.
func New(ctx context.Context, o Options) *Registry {
	r := &Registry{Options: o, sessions: make(map[string]*Session), names: make(map[nameOf]*named)}
	r.life, r.die = context.WithCancel(context.WithoutCancel(ctx))
	return r
}

// Open returns the client's session of this name as it is, or else a new one over
// the page that open returns. Of several callers who ask for a name at the same
// time one opens it. The error is a status, or open's.
func (r *Registry) Open(ctx context.Context, o Owner, open func(context.Context) (Page, error)) (s *Session, reopened bool, err error) {
	if o.Name == "" {
		s, err = r.add(ctx, o, open)
		return s, false, err
	}
	key := nameOf{o.Client, o.Name}
	for {
		n, isMine := r.claim(key)
		if isMine {
			defer func() { r.settle(key, n, s) }()
			s, err = r.add(ctx, o, open)
			return s, false, err
		}
		select {
		case <-n.ready:
		case <-ctx.Done():
			return nil, false, status.Errorf(codes.DeadlineExceeded, "time is over, waiting for the session %q, which another call opens", o.Name)
		}
		if n.session != nil && n.session.touch() {
			return n.session, true, nil
		}
	}
}

// claim takes a name, or returns who has it.
func (r *Registry) claim(key nameOf) (n *named, isMine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.names[key]; n != nil {
		return n, false
	}
	n = &named{ready: make(chan struct{})}
	r.names[key] = n
	return n, true
}

// settle tells who waits for a name what has become of it.
func (r *Registry) settle(key nameOf, n *named, s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n.session = s
	if s == nil || s.reason != "" { // it may have ended already
		delete(r.names, key)
	}
	close(n.ready)
}

// add opens a session that is not there yet.
func (r *Registry) add(ctx context.Context, o Owner, open func(context.Context) (Page, error)) (*Session, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	opened, err := open(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && r.closed:
		return nil, errClosed()
	case err != nil:
		return nil, err
	}
	s := &Session{
		Owner: o, ID: rand.Text(), Opened: time.Now(), registry: r, page: opened,
		turn: make(chan struct{}, 1), over: make(chan struct{}), used: time.Now(),
	}
	s.life, s.die = context.WithCancel(context.WithoutCancel(ctx))
	r.sessions[s.ID] = s
	r.tasks.Go(s.live)
	if r.closed {
		s.end(Draining)
		return nil, errClosed()
	}
	return s, nil
}

func errClosed() error { return status.Error(codes.Unavailable, "the browser pool is closed") }

// enter makes sure that there may be one more session, and counts its caller
// among the tasks.
func (r *Registry) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return errClosed()
	case len(r.sessions)+r.opening >= r.Max:
		return status.Errorf(codes.ResourceExhausted, "%d sessions are open, limit %d (max_tabs); Close some, or wait until they are idle", len(r.sessions)+r.opening, r.Max)
	}
	r.opening++
	r.tasks.Add(1)
	return nil
}

// leave is for who has entered, when there is a session or an error.
func (r *Registry) leave() {
	r.mu.Lock()
	r.opening--
	r.mu.Unlock()
	r.tasks.Done()
}

// Find returns the session with an id. The error is a NotFound that says why there
// is none.
func (r *Registry) Find(id string) (*Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[id]; s != nil {
		return s, nil
	}
	return nil, r.missing(id)
}

// missing is the error for a session that is not there. Called with the lock.
func (r *Registry) missing(id string) error {
	for _, g := range slices.Backward(r.gone) {
		if g.id == id && time.Since(g.at) < rememberTime {
			return status.Errorf(codes.NotFound, "no session %s: it %s %v ago; Open another one", short(id), sentence(g.reason), time.Since(g.at).Round(time.Second))
		}
	}
	return status.Errorf(codes.NotFound, "no session %s: it was closed, idle for too long or crashed; Open another one", short(id))
}

// short is as much of an id as may be shown: whoever has it has the session.
func short(id string) string {
	const shown = 6
	if id == "" {
		return `""`
	}
	if len(id) <= shown {
		return "…"
	}
	return strings.ToValidUTF8(id[:shown], "") + "…"
}

func sentence(reason string) string {
	switch reason {
	case Idle:
		return "was ended for being idle"
	case Crashed:
		return "crashed"
	case Draining:
		return "ended with the browser pool"
	}
	return "was closed"
}

// forget takes a session that ends off the list. Called with the lock.
func (r *Registry) forget(s *Session) {
	delete(r.sessions, s.ID)
	if key := (nameOf{s.Client, s.Name}); r.names[key] != nil && r.names[key].session == s {
		delete(r.names, key)
	}
	now := time.Now()
	r.gone = slices.DeleteFunc(r.gone, func(g gone) bool { return now.Sub(g.at) > rememberTime })
	if len(r.gone) >= maxRemembered {
		r.gone = slices.Delete(r.gone, 0, len(r.gone)-maxRemembered+1)
	}
	r.gone = append(r.gone, gone{s.ID, s.reason, now})
}

// List returns the sessions of a client, or all of them, oldest first.
func (r *Registry) List(client string) []*browserv1.Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var listed []*browserv1.Session
	for _, s := range r.sessions {
		if client == "" || client == s.Client {
			listed = append(listed, s.describe())
		}
	}
	slices.SortFunc(listed, func(a, b *browserv1.Session) int {
		return a.GetOpened().AsTime().Compare(b.GetOpened().AsTime())
	})
	return listed
}

// Close ends all sessions and returns when nothing of them is left.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	r.die()
	for _, s := range r.sessions {
		s.end(Draining)
	}
	r.mu.Unlock()
	r.tasks.Wait()
}
