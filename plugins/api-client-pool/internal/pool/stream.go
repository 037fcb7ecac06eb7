package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

type apiStream = grpc.BidiStreamingServer[apiv1.StreamRequest, apiv1.StreamResponse]

const (
	// What is read of a response's body at once grows from the first to the
	// second, when that much comes at once. api.proto promises the second.
	firstPiece = 16 << 10
	maxPiece   = 256 << 10
)

// Stream sends one request and returns its response, both bodies in pieces. Its
// errors are those of Do. A stream holds at most a piece of the request's body
// as the caller made it, another that has just come, and maxPiece of the
// response's.
func (p *Pool) Stream(stream apiStream) error {
	trace := newTrace()
	client, err := p.enter()
	if err != nil {
		p.metrics.count(trace, 0, err)
		return err
	}
	defer client.leave()
	status, err := client.stream(stream, trace)
	p.metrics.count(trace, status, err)
	return err
}

// stream returns the status of a response that was returned whole.
func (c *client) stream(stream apiStream, t *trace) (uint32, error) {
	message, up, err := c.open(stream)
	if err != nil {
		return 0, err
	}
	request, err := newRequest(message, &c.settings)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil) // also ends up, whose Recv ends with the call
	if timeout := c.settings.timeout(message); timeout > 0 {
		timed, stop := context.WithTimeout(ctx, timeout)
		defer stop()
		ctx = timed
	}
	up.begin(ctx, cancel)
	asked := newCall(message, request, c.settings)
	asked.MaxBody, asked.Hedge = 0, false
	t.begin(request, asked)
	if err := up.attach(ctx, request, c.settings.bodyTimeout); err != nil {
		return 0, c.explain(ctx, t, err)
	}
	response, err := c.send(request.WithContext(call.With(ctx, asked)), asked, redirectLimit(message)) //nolint:bodyclose // relay does
	if err != nil {
		return 0, c.explain(ctx, t, err)
	}
	down := &download{client: c, stream: stream, trace: t, up: up, response: response}
	if err := down.run(); err != nil {
		return 0, c.explain(ctx, t, err)
	}
	return uint32(response.StatusCode), nil //nolint:gosec // G115: 200 to 599
}

// open reads the first message, which has the request.
func (c *client) open(stream apiStream) (*apiv1.DoRequest, *upload, error) {
	first, err := stream.Recv()
	var faults faults
	switch {
	case errors.Is(err, io.EOF) || err == nil && first.GetRequest() == nil:
		faults.add("request", "missing; the first message has it")
		return nil, nil, faults.err()
	case err != nil:
		return nil, nil, err
	}
	up := &upload{
		stream: stream, limit: c.settings.maxStreamBody, pieces: make(chan piece), closed: make(chan struct{}),
		length: takeLength(first.GetRequest(), &faults),
	}
	if err := faults.err(); err != nil {
		return nil, nil, err
	}
	up.first = [][]byte{first.GetRequest().GetBody(), first.GetBody()}
	first.Request.Body = nil
	return first.GetRequest(), up, nil
}

// takeLength takes Content-Length out of a request's headers, where newRequest
// does not allow it. It is -1 if there is none.
func takeLength(message *apiv1.DoRequest, faults *faults) int64 {
	for name, value := range message.GetHeaders() {
		if !strings.EqualFold(name, "Content-Length") {
			continue
		}
		delete(message.Headers, name)
		length, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			faults.add("headers["+strconv.Quote(name)+"]", "is not a number of bytes")
		}
		return int64(length)
	}
	return -1
}

// download returns a response to the caller.
type download struct {
	client   *client
	stream   apiStream
	trace    *trace
	up       *upload
	response *http.Response
	received int64
}

// run returns when the response has been sent whole, or cannot be. A caller who
// takes nothing for body_timeout is not waited for: what is left of relay ends
// with the call, as nothing else ends its Send.
func (d *download) run() error {
	limit := d.client.settings.bodyTimeout
	stuck := make(chan struct{}, 1)
	clock := time.AfterFunc(limit, func() { stuck <- struct{}{} })
	clock.Stop()
	defer clock.Stop()
	done := make(chan error, 1)
	go func() {
		done <- d.relay(func(message *apiv1.StreamResponse) error {
			clock.Reset(limit)
			defer clock.Stop()
			return d.stream.Send(message)
		})
	}()
	select {
	case err := <-done:
		return err
	case <-stuck:
		return &call.Failure{Code: codes.DeadlineExceeded, Text: fmt.Sprintf("the caller took nothing of the body for %v (body_timeout)", limit)}
	}
}

// relay sends the head, the body and the end, each as soon as it is there.
func (d *download) relay(send func(*apiv1.StreamResponse) error) error {
	defer d.response.Body.Close() //nolint:errcheck // what has been read is complete or an error already
	head := d.client.head(d.response, d.trace)
	head.Timing.Total = nil
	if err := send(&apiv1.StreamResponse{Response: head}); err != nil {
		return err
	}
	d.trace.call.Exchange().Reach(call.Reading)
	if err := d.body(send); err != nil {
		return err
	}
	return send(&apiv1.StreamResponse{End: &apiv1.StreamEnd{
		Trailers: lines(d.response.Trailer),
		Timing:   d.trace.timing(d.trace.call.Exchange().Times()),
		Sent:     uint64(d.up.sent.Load()), //nolint:gosec // G115: a count
		Received: uint64(d.received),       //nolint:gosec // G115: a count
	}})
}

func (d *download) body(send func(*apiv1.StreamResponse) error) error {
	if d.response.Request.Method == http.MethodHead {
		return nil
	}
	limit := d.client.settings.maxStreamBody
	if size := d.response.ContentLength; size > limit {
		return tooLong("response body of %d bytes, limit %d (max_stream_body)", size, limit)
	}
	buffer := make([]byte, firstPiece)
	for {
		n, err := d.response.Body.Read(buffer)
		if d.received += int64(n); d.received > limit {
			return tooLong("response body over %d bytes (max_stream_body)", limit)
		}
		if n > 0 {
			if err := send(&apiv1.StreamResponse{Body: buffer[:n]}); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF: // bare: a wrapped one is not the end of a body
			return nil
		case err != nil:
			return fmt.Errorf("after %d bytes: %w", d.received, err)
		case n == len(buffer) && n < maxPiece:
			buffer = make([]byte, 2*n)
		}
	}
}

func tooLong(format string, args ...any) error {
	return &call.Failure{Code: codes.ResourceExhausted, Text: fmt.Sprintf(format, args...)}
}
