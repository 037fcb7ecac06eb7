package session

import (
	"context"
	"io"
	"sync"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	// maxQueue and maxQueueBytes are how much may wait for one who is slow to
	// take it: some seconds of a busy page.
	maxQueue      = 1000
	maxQueueBytes = 1 << 20

	// maxFollowers of one session.
	maxFollowers = 8
)

// feed hands the events of a session to those who follow it. Nobody's slowness
// is felt by the page.
type feed struct {
	mu        sync.Mutex
	isOver    bool
	listens   bool // to the tab, which starts with the first follower
	followers map[*Follower]bool
}

// Follower gets the events of a session, in their order. The caller closes it.
type Follower struct {
	feed *feed
	wake chan struct{} // has one entry when there is something

	// Of the feed's lock.
	queue  []*browserv1.EventsResponse
	bytes  int
	missed uint64 // after those in the queue
	isOver bool
}

// Follow returns what happens in the session from here on. The error is a status.
func (s *Session) Follow() (*Follower, error) {
	f := &Follower{feed: &s.feed, wake: make(chan struct{}, 1)}
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	switch {
	case s.feed.isOver:
		return nil, status.Errorf(codes.NotFound, "no session %s: it has just ended", short(s.ID))
	case len(s.feed.followers) >= maxFollowers:
		return nil, status.Errorf(codes.ResourceExhausted, "%d streams follow this session, limit %d", len(s.feed.followers), maxFollowers)
	case s.feed.followers == nil:
		s.feed.followers = make(map[*Follower]bool)
	}
	s.feed.followers[f] = true
	if !s.feed.listens {
		s.feed.listens = true
		s.page.Slot.Tab.Listen(s.tell)
	}
	return f, nil
}

// tell adds to an event what the page does not know and hands it on. It is of the
// browser's goroutine.
func (s *Session) tell(e *browserv1.EventsResponse) {
	switch event := e.GetEvent().(type) {
	case *browserv1.EventsResponse_Navigated:
		event.Navigated.Isolation, event.Navigated.Engine = s.page.Isolation, s.page.Slot.Product()
	case *browserv1.EventsResponse_Request:
		event.Request.Error = page.Explain(event.Request.GetUrl(), event.Request.GetError(), s.page.Slot.Outlet.Why)
	}
	s.feed.publish(e)
}

func (f *feed) publish(e *browserv1.EventsResponse) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.followers) == 0 {
		return
	}
	size := proto.Size(e)
	for follower := range f.followers {
		follower.push(e, size)
	}
}

// push enqueues an event, or counts it as missed. Called with the feed's lock.
func (f *Follower) push(e *browserv1.EventsResponse, size int) {
	if f.missed > 0 || len(f.queue) >= maxQueue || f.bytes+size > maxQueueBytes {
		f.missed++
		return
	}
	f.queue = append(f.queue, e)
	f.bytes += size
	f.signal()
}

func (f *Follower) signal() {
	select {
	case f.wake <- struct{}{}:
	default: // it is awake
	}
}

// close ends the feed with its last event.
func (f *feed) close(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isOver = true
	for follower := range f.followers {
		follower.end(reason)
	}
	f.followers = nil
}

// end enqueues the last event. Called with the feed's lock.
func (f *Follower) end(reason string) {
	f.settle()
	f.queue = append(f.queue, &browserv1.EventsResponse{
		Time: timestamppb.Now(), Event: &browserv1.EventsResponse_Ended{Ended: reason},
	})
	f.isOver = true
	f.signal()
}

// Drain ends the following as the pool's end will: the session ends when its
// actions have, and is out of reach for others by now.
func (f *Follower) Drain() {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	if !f.isOver {
		delete(f.feed.followers, f)
		f.end(Draining)
	}
}

// settle tells how many were missed, after those that were not. Called with the
// feed's lock.
func (f *Follower) settle() {
	if f.missed > 0 {
		f.queue = append(f.queue, &browserv1.EventsResponse{
			Time: timestamppb.Now(), Event: &browserv1.EventsResponse_Missed{Missed: f.missed},
		})
		f.missed = 0
	}
}

// Next waits for events and returns those that there are. After the last one the
// error is io.EOF.
func (f *Follower) Next(ctx context.Context) ([]*browserv1.EventsResponse, error) {
	for {
		f.feed.mu.Lock()
		f.settle()
		events, isOver := f.queue, f.isOver
		f.queue, f.bytes = nil, 0
		f.feed.mu.Unlock()
		switch {
		case len(events) > 0:
			return events, nil
		case isOver:
			return nil, io.EOF
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

// Close ends the following.
func (f *Follower) Close() {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	delete(f.feed.followers, f)
}
