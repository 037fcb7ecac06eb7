package session

import (
	"context"
	"os"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Owner is whose a session is, and for how long.
type Owner struct {
	Client string
	Name   string        // "" for none
	Idle   time.Duration // without an action it ends then
}

// Page is a page that is open in a slot, and becomes the session's.
type Page struct {
	Slot      *slot.Slot
	Info      *browserv1.PageInfo
	Isolation browserv1.Isolation
	Outcome   slot.Outcome // how the slot is given back, if all is well
	Dir       string       // for what it uploads, need not be there; removed with the session
}

// Session is a page that lasts. Its methods are safe for concurrent use.
type Session struct {
	Owner
	ID     string // whoever knows it may use it
	Opened time.Time

	registry *Registry
	page     Page // Info is of the registry's lock
	feed     feed
	turn     chan struct{}   // has one entry while an action is at work
	life     context.Context //nolint:containedctx // ends what the session has under way, when its end begins
	die      context.CancelFunc
	over     chan struct{} // closed when nothing is left

	// Of the registry's lock.
	used   time.Time // end of the last action
	busy   int       // actions at work and in line
	isHung bool      // the page may be busy with an action that was given up
	reason string    // why it has ended
}

// Do has an action done on the session's page when those before it have ended.
// work returns the page as it is then, or nil if that is not known, and an error,
// which is a status. Ends the session meanwhile, work's context ends too.
func (s *Session) Do(ctx context.Context, work func(context.Context, Page) (*browserv1.PageInfo, error)) error {
	if !s.enter() {
		return s.missing()
	}
	defer s.leave()
	select {
	case s.turn <- struct{}{}:
	case <-s.life.Done():
		return s.missing()
	case <-ctx.Done():
		return status.Errorf(status.FromContextError(ctx.Err()).Code(), "time is over, waiting for the session's action before this one")
	}
	defer func() { <-s.turn }()
	if s.life.Err() != nil {
		return s.missing()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	info, err := work(ctx, s.page)
	return s.done(info, err)
}

// enter puts an action in line, unless the session has ended.
func (s *Session) enter() bool {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	if s.page.Slot.Tab.Err() != nil {
		s.end(Crashed)
	}
	if s.reason == "" {
		s.busy++
	}
	return s.reason == ""
}

func (s *Session) leave() {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	s.busy--
	s.used = time.Now()
}

// touch uses the session without an action; it reports whether that is still
// there.
func (s *Session) touch() bool {
	if s.enter() {
		s.leave()
		return true
	}
	return false
}

// done notes what an action has left and returns its error, which is the end of
// the session where that has come meanwhile.
func (s *Session) done(info *browserv1.PageInfo, err error) error {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	if info != nil {
		s.page.Info = info
	}
	s.isHung = page.MayBeBusy(err)
	if s.page.Slot.Tab.Err() != nil {
		s.end(Crashed)
	}
	if err == nil {
		return nil
	}
	switch s.reason {
	case "", Crashed:
		return err
	case Draining:
		return errClosed()
	}
	return status.Error(codes.Aborted, "the session was closed")
}

func (s *Session) missing() error {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	return s.registry.missing(s.ID)
}

// end begins the end of the session; only the first reason counts. Called with
// the lock.
func (s *Session) end(reason string) {
	if s.reason != "" {
		return
	}
	s.reason = reason
	s.die()
	s.registry.forget(s)
}

// Close ends the session, an action at work included, and returns when nothing is
// left of it, or ctx ends.
func (s *Session) Close(ctx context.Context) {
	s.registry.mu.Lock()
	s.end(Closed)
	s.registry.mu.Unlock()
	select {
	case <-s.over:
	case <-ctx.Done():
	}
}

// live waits for the end of the session and cleans up after it.
func (s *Session) live() {
	s.registry.Meter.SessionOpened()
	idle := time.NewTimer(s.Idle)
	defer idle.Stop()
	for isLive := true; isLive; {
		select {
		case <-s.life.Done():
			isLive = false
		case <-s.page.Slot.Tab.Ended():
			s.registry.mu.Lock()
			s.end(Crashed)
			s.registry.mu.Unlock()
		case <-idle.C:
			idle.Reset(s.rest())
		}
	}
	s.turn <- struct{}{} // an action at work has been told
	outcome, used := s.page.Outcome, s.page.Slot.Tab.Counted()
	s.registry.mu.Lock()
	if s.isHung {
		outcome = slot.Hung
	}
	s.registry.mu.Unlock()
	s.registry.Meter.SessionEnded(s.reason, used)
	s.feed.close(s.reason)
	s.registry.Slots.Release(s.page.Slot, outcome)
	if s.page.Dir != "" {
		_ = os.RemoveAll(s.page.Dir) // what cannot be removed now is at the next start
	}
	close(s.over)
}

// rest ends the session if it was idle for too long, and returns when to look
// again.
func (s *Session) rest() time.Duration {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	if s.busy > 0 {
		return min(s.Idle, time.Second)
	}
	left := s.Idle - time.Since(s.used)
	if left <= 0 {
		s.end(Idle)
	}
	return left
}

// Info is the page as it was last seen.
func (s *Session) Info() *browserv1.PageInfo {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	return s.page.Info
}

// describe is the session as the service lists it. Called with the lock.
func (s *Session) describe() *browserv1.Session {
	d := &browserv1.Session{
		Session: s.ID, Name: s.Name, Client: s.Client, Page: s.page.Info, Opened: timestamppb.New(s.Opened),
		Browser: s.page.Slot.Browser(), Idle: durationpb.New(0),
	}
	if s.busy == 0 {
		d.Idle = durationpb.New(time.Since(s.used))
	}
	return d
}
