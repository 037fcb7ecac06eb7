package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
)

// largestPiece is what api.proto allows of a request's body in one message.
const largestPiece = 1 << 20

// upload is the body of a stream's request, as an io.Reader of what the caller
// sends. A caller who does not keep to what it said ends the whole exchange, also
// when the response has begun.
type upload struct {
	stream apiStream
	first  [][]byte // what came with the first message
	length int64    // what Content-Length says, or -1
	limit  int64    // max_stream_body
	total  int64    // of what has come
	pieces chan piece
	sent   atomic.Int64 // bytes that were read
	closed chan struct{}
	once   sync.Once // of closed

	done   <-chan struct{} // of the exchange
	cancel context.CancelCauseFunc

	mu      sync.Mutex // Read is called by who sends, which is another after a new connection
	pending []byte
	end     error // after pending
}

// piece is what came of one Recv. The last one has an error, which is io.EOF at
// the end of the body.
type piece struct {
	data []byte
	err  error
}

// begin begins to receive. It ends with ctx and, as nothing else ends a Recv, with
// the call.
func (u *upload) begin(ctx context.Context, cancel context.CancelCauseFunc) {
	u.done, u.cancel = ctx.Done(), cancel
	go func() {
		for {
			next := u.receive()
			select {
			case u.pieces <- next:
			case <-u.done:
				return
			}
			if next.err != nil {
				return
			}
		}
	}()
}

// receive returns the next piece, after it has been held against what the
// caller said.
func (u *upload) receive() piece {
	var message *apiv1.StreamRequest
	var err error
	if len(u.first) > 0 {
		message = &apiv1.StreamRequest{Body: u.first[0]}
		u.first = u.first[1:]
	} else {
		message, err = u.stream.Recv()
	}
	u.total += int64(len(message.GetBody()))
	fault := u.fault(message, err)
	if fault == nil {
		return piece{message.GetBody(), err}
	}
	u.cancel(fault)
	return piece{nil, fault}
}

func (u *upload) fault(message *apiv1.StreamRequest, err error) *call.Failure {
	code, text := codes.InvalidArgument, ""
	switch {
	case errors.Is(err, io.EOF) && u.length > u.total:
		text = fmt.Sprintf("body: ended after %d bytes, and Content-Length says %d", u.total, u.length)
	case err != nil:
	case message.GetRequest() != nil:
		text = "request: only the first message has one"
	case len(message.GetBody()) > largestPiece:
		text = fmt.Sprintf("body: a piece of %d bytes, limit %d", len(message.GetBody()), largestPiece)
	case u.length >= 0 && u.total > u.length:
		text = fmt.Sprintf("body: more bytes than the %d that Content-Length says", u.length)
	case u.total > u.limit:
		code, text = codes.ResourceExhausted, fmt.Sprintf("request body over %d bytes (max_stream_body)", u.limit)
	}
	if text == "" {
		return nil
	}
	return &call.Failure{Code: code, Text: text}
}

// attach gives the body to request. Whether there is one is not known before the
// caller has sent some or has half-closed; where most requests have none, that is
// waited for, as servers take a body amiss there.
func (u *upload) attach(ctx context.Context, request *http.Request, patience time.Duration) error {
	request.ContentLength, request.GetBody = u.length, nil
	request.Body = u
	switch request.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		if u.length != 0 {
			return nil
		}
	}
	clock := time.NewTimer(patience)
	defer clock.Stop()
	for len(u.pending) == 0 && u.end == nil {
		select {
		case next := <-u.pieces:
			u.pending, u.end = next.data, next.err
		case <-clock.C:
			return &call.Failure{Code: codes.DeadlineExceeded, Text: fmt.Sprintf("the caller sent nothing of the request's body for %v (body_timeout); half-close where there is none", patience)}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	switch {
	case len(u.pending) > 0:
		return nil
	case u.end != io.EOF: //nolint:errorlint // from receive, bare
		return u.end
	}
	attach(request, nil)
	return nil
}

// Read returns what the caller has sent, and waits for it.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.pending) == 0 {
		switch {
		case u.end != nil:
			return 0, u.end
		case u.sent.Load() == u.length: // to wait for the half-close would hold the request back
			return 0, io.EOF
		}
		select {
		case next := <-u.pieces:
			u.pending, u.end = next.data, next.err
		case <-u.done:
			u.end = context.Canceled
		case <-u.closed:
			u.end = http.ErrBodyReadAfterClose
		}
	}
	n := copy(p, u.pending)
	u.pending = u.pending[n:]
	u.sent.Add(int64(n))
	return n, nil
}

// Close ends a Read that waits: nobody wants more. What the caller sends on is
// left to the end of the call.
func (u *upload) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}
