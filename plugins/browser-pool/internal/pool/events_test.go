package pool

import (
	"context"
	"io"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// stream is one of Events, without a network. It takes an event when it is asked
// to.
type stream struct {
	grpc.ServerStreamingServer[browserv1.EventsResponse]
	ctx    context.Context
	header chan struct{}
	events chan *browserv1.EventsResponse
	end    chan error
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) SendHeader(metadata.MD) error {
	close(s.header)
	return nil
}

func (s *stream) Send(e *browserv1.EventsResponse) error {
	select {
	case s.events <- e:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// follow begins a stream of a session's events, and ends it with the test.
func follow(t testing.TB, p *Pool, session string) *stream {
	t.Helper()
	s := &stream{ctx: t.Context(), header: make(chan struct{}), events: make(chan *browserv1.EventsResponse), end: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.end <- p.Events(&browserv1.EventsRequest{Session: session}, s)
	}()
	t.Cleanup(func() { <-ended }) // t's context has ended
	select {
	case <-s.header:
	case err := <-s.end:
		t.Fatal(err)
	}
	return s
}

// next is the next event; nil at the end of the stream.
func (s *stream) next(t testing.TB) *browserv1.EventsResponse {
	t.Helper()
	select {
	case e := <-s.events:
		return e
	case err := <-s.end:
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		s.end <- err
		return nil
	}
}

// until returns the first event that is wanted.
func (s *stream) until(t testing.TB, wanted func(*browserv1.EventsResponse) bool) *browserv1.EventsResponse {
	t.Helper()
	for {
		e := s.next(t)
		if e == nil {
			t.Fatal("the stream ended before what was waited for")
		}
		if wanted(e) {
			return e
		}
	}
}
