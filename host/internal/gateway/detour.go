package gateway

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/access"
	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/sdk/link"
)

// lostTry is a first try on the straight way that came to nothing.
type lostTry struct {
	reach  link.Reach
	err    error
	answer answer
}

// detour finishes a call in a goroutine, where it may wait. first is nil for a
// call that was not tried yet.
func (c *linkCall) detour(first *lostTry) {
	ctx := c.incoming.Context()
	if len(c.outgoing.Metadata) > 0 {
		ctx = metadata.NewOutgoingContext(ctx, link.DecodeMetadata(c.outgoing.Metadata))
	}
	c.server.running.Go(func() { c.finish(ctx, first) })
}

// finish takes the call through what is left of its way. It answers when all
// that counts calls has counted it.
func (c *linkCall) finish(ctx context.Context, first *lostTry) {
	kept := &keptAnswer{}
	c.reply(kept, c.serve(ctx, kept, first))
}

// serve takes the call through what is left of its way, and counts it.
func (c *linkCall) serve(ctx context.Context, kept *keptAnswer, first *lostTry) error {
	forwarded, err := c.pass(ctx, kept, first)
	err = named(c.route.Subsystem, err)
	if forwarded {
		c.metrics.Observe(status.Code(err), time.Since(c.call.Start))
	} else {
		c.metrics.ObserveRejected(status.Code(err))
	}
	return err
}

// reply sends the answer and ends the call. Another one may use c from then on.
func (c *linkCall) reply(kept *keptAnswer, err error) {
	incoming := c.incoming
	c.outgoing.Payload = nil // gRPC may be writing it still, though the call was given up
	c.recycle()
	incoming.Reply(kept.message(err))
}

// asClient finishes a call of who shows credentials in a goroutine, given that it
// leads nowhere if err is not nil.
func (c *linkCall) asClient(err error) {
	ctx, method := c.incoming.Context(), c.incoming.Method()
	md := link.DecodeMetadata(c.incoming.Metadata())
	c.server.running.Go(func() {
		kept := &keptAnswer{}
		caller, unknown := c.server.identifyLink(md, method)
		switch {
		case unknown != nil:
			err = unknown
		case err != nil:
			caller.Refused(method, err)
		default:
			err = c.serveClient(ctx, caller, kept)
		}
		c.reply(kept, err)
	})
}

// serveClient takes a call of a client through its own gate first.
func (c *linkCall) serveClient(ctx context.Context, caller *access.Caller, kept *keptAnswer) (err error) {
	defer c.server.recovered(c.route.Method.Name, &err)
	md := link.DecodeMetadata(c.outgoing.Metadata)
	if md == nil {
		md = metadata.MD{}
	}
	md.Set(clientKey, caller.Client.Name)
	call := &access.Call{
		Subsystem: c.route.Subsystem, Method: c.route.Method.Name, Key: auditKey(c.route.Method, c.outgoing.Payload),
	}
	return caller.Do(ctx, call, func(ctx context.Context, deadline time.Time) error {
		c.call.Start = time.Now()
		if !deadline.IsZero() {
			c.call.Deadline = deadline
		}
		return c.serve(metadata.NewOutgoingContext(ctx, md), kept, nil)
	})
}

// pass takes the call through what is left of the gate, and to an instance as
// often as it may be tried. It reports whether the call got through the gate.
func (c *linkCall) pass(ctx context.Context, kept *keptAnswer, first *lostTry) (forwarded bool, err error) {
	defer c.server.recovered(c.route.Method.Name, &err)
	u := unaryCall{
		server: c.server, caller: kept, method: c.route.Method, instances: c.route.Value.Instances,
		request: &frame{data: mem.BufferSlice{mem.SliceBuffer(c.outgoing.Payload)}},
	}
	err = c.route.Value.Gate.Do(ctx, &c.call, func(ctx context.Context, call *gate.Call) gate.Result {
		forwarded = true
		if lost := first; lost != nil {
			first = nil
			return u.resume(ctx, c.instance, lost)
		}
		return u.try(ctx, call)
	})
	if err != nil {
		kept.refuse(&u.answer)
	}
	return forwarded, err
}

// resume judges a try that was made on the straight way.
func (u *unaryCall) resume(ctx context.Context, instance Instance, first *lostTry) gate.Result {
	defer instance.Release()
	u.answer = first.answer
	reach, err := linkReach(ctx, instance, first.reach, first.err)
	if reach != gate.Answered {
		u.lost = instance.Generation()
	}
	return gate.Result{Err: err, Reach: reach}
}

// keptAnswer is the answer for a caller who came by the link, kept until the call
// is over for the host.
type keptAnswer struct {
	header, trailer metadata.MD
	response        []byte
}

func (k *keptAnswer) send(a *answer, response *frame) error {
	k.header, k.trailer = a.header, a.trailer
	k.response = append(k.response, response.bytes()...)
	return nil
}

func (k *keptAnswer) refuse(a *answer) { k.header, k.trailer = a.header, a.trailer }

// message is the answer of a call that ended with err.
func (k *keptAnswer) message(err error) *link.Answer {
	a := &link.Answer{Payload: k.response}
	header, invalid := link.AppendMetadata(nil, crossing(k.header))
	trailer, invalidToo := link.AppendMetadata(nil, crossing(k.trailer))
	if err == nil {
		err = cmp.Or(invalid, invalidToo)
	}
	if invalid == nil && invalidToo == nil {
		a.Header, a.Trailer = header, trailer
	}
	if err != nil {
		a.SetErr(err)
	}
	return a
}
