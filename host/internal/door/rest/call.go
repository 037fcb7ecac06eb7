package rest

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/gaia-go/gaia/host/internal/gateway"
)

// patience is how long the only message of a request, or of an answer, may
// take on its way. Messages of streams may take any time: who sends or reads
// them slowly may mean to.
const patience = 2 * time.Minute

// lastWords is how long it may take to tell a caller that the time is over.
const lastWords = 2 * time.Second

// call is the side of the caller of one call. It implements gateway.Caller.
type call struct {
	ctx context.Context //nolint:containedctx // of the call, which this is
	in  *input
	out output
}

// call makes a call and answers.
func (h *handler) call(w http.ResponseWriter, r *http.Request, s *subsystem, m *method) {
	in, out, fault := negotiate(w, r, s, m)
	if fault != nil {
		refuse(w, fault.status, fault.code, "%s", fault.text)
		return
	}
	ctx, cancel, err := callContext(r, s.name)
	if err != nil {
		writeError(w, err, nil)
		return
	}
	defer cancel()
	in.body.share = h.Bodies.Share()
	defer in.body.share.Close()
	control := http.NewResponseController(w)
	// A server that cannot do that has one direction at a time: then so be it.
	if m.ClientStreams {
		_ = control.EnableFullDuplex()
		_ = control.SetReadDeadline(time.Time{})
	} else {
		in.body.expect(patience)
	}
	defer unblock(ctx, control, in.body)()
	err = h.Calls.Call(m.Name, &call{ctx: ctx, in: in, out: out})
	out.end(err)
}

// unblock lets nothing wait for the caller any more when ctx ends, but for a
// moment in which they may read how the call ended. It has no effect on the
// connection after release.
func unblock(ctx context.Context, control *http.ResponseController, b *body) (release func()) {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		b.stop()
		_ = control.SetWriteDeadline(time.Now().Add(lastWords))
	})
	return func() {
		if !stop() {
			<-ended
			_ = control.SetWriteDeadline(time.Time{})
		}
	}
}

// callContext is the context of a call: with the deadline that the caller asks
// for, the subsystem, and of the headers those that trace it. No others cross.
func callContext(r *http.Request, subsystem string) (context.Context, context.CancelFunc, error) {
	timeout, err := callTimeout(r.Header)
	if err != nil {
		return nil, nil, err
	}
	md := metadata.MD{gateway.SubsystemKey: {subsystem}}
	for _, key := range [...]string{"Traceparent", "Tracestate", "Baggage"} {
		if values := r.Header[key]; len(values) > 0 {
			md.Append(key, values...)
		}
	}
	ctx := metadata.NewIncomingContext(r.Context(), md)
	if timeout > 0 {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		return ctx, cancel, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	return ctx, cancel, nil
}

// Context implements gateway.Caller.
func (c *call) Context() context.Context { return c.ctx }

// Receive implements gateway.Caller.
func (c *call) Receive() ([]byte, error) { return c.in.next(c.ctx) }

// Stop implements gateway.Caller.
func (c *call) Stop() { c.in.body.stop() }

// Header implements gateway.Caller. What a plugin says in metadata stays there.
func (c *call) Header(metadata.MD) error { return c.out.begin() }

// Send implements gateway.Caller.
func (c *call) Send(message []byte) error { return c.out.send(message) }

// Trailer implements gateway.Caller.
func (c *call) Trailer(metadata.MD) {}
