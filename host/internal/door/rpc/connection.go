package rpc

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/gaia-go/gaia/host/internal/door/bodies"
)

const (
	// receiveTimeout is how long the only message of a call may take to come: 64
	// MiB at 5 Mbit/s. A stream of messages may last.
	receiveTimeout = 2 * time.Minute
	// lastWords is how long a caller whose call has ended may take to read what
	// is being sent.
	lastWords = 2 * time.Second
	// sendTimeout is how long a caller may take to read the only answer.
	sendTimeout = 2 * time.Minute
)

// connection bounds the time of what a call reads and writes.
type connection struct {
	control  *http.ResponseController
	isDuplex bool // can be read after it was written to
	share    *bodies.Share
}

type connectionKey struct{}

// newConnection returns the connection of a request. Its share is to be closed.
func newConnection(w http.ResponseWriter, r *http.Request, budget *bodies.Budget) *connection {
	return &connection{control: http.NewResponseController(w), isDuplex: r.ProtoMajor >= 2, share: budget.Share()}
}

// of lets the request's context have the connection, and what is read of the
// body be counted.
func (c *connection) of(r *http.Request) *http.Request {
	r = r.WithContext(context.WithValue(r.Context(), connectionKey{}, c))
	if r.Body != http.NoBody {
		r.Body = countedBody{r.Body, c.share}
	}
	return r
}

// connectionOf is never nil within a handler of this package.
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

// boundReceiving bounds the time until the request is whole, if it is one
// message, and never waits longer for it than the call may take.
func boundReceiving(single bool) connect.RequestGateFunc {
	return func(ctx context.Context, _ connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
		if !single {
			_ = connectionOf(ctx).control.SetReadDeadline(time.Time{})
			return nil, nil
		}
		until := time.Now().Add(receiveTimeout)
		if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
			until = deadline
		}
		_ = connectionOf(ctx).control.SetReadDeadline(until) // a test's recorder has none
		return nil, nil
	}
}

// received ends the bound on receiving, if there was one. (On HTTP/1 the server
// goes on reading, to learn whether the caller leaves.)
func (c *connection) received(single bool) {
	if single {
		_ = c.control.SetReadDeadline(time.Time{})
	}
}

// boundSending bounds the time that the only answer may take on its way, unless
// the call was given less.
func (c *connection) boundSending(ctx context.Context) {
	if ctx.Err() == nil {
		_ = c.control.SetWriteDeadline(time.Now().Add(sendTimeout))
	}
}

// stopReading makes reads fail, also the one that is under way.
func (c *connection) stopReading() { _ = c.control.SetReadDeadline(time.Unix(1, 0)) }

// unblock does not let a caller who does not read hold a call that has ended.
// The function that it returns ends the watch.
func (c *connection) unblock(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	release := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = c.control.SetWriteDeadline(time.Now().Add(lastWords))
	})
	return func() {
		if !release() {
			<-done
		}
	}
}
