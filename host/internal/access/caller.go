// Package access says who may call what, and how often: it knows callers by
// their token or certificate, holds them to what config.hcl allows them, counts
// their calls and writes them down.
package access

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/gate"
)

// The doors by which calls come, as metrics and the audit log call them.
const (
	DoorGRPC = "grpc" // gRPC at the host's socket
	DoorLink = "link" // the link at the host's socket
	DoorTCP  = "tcp"  // gRPC on host.grpc
	DoorHTTP = "http"
)

// Host is the name of who has the host's own token, and stands for the host's
// own methods where a subsystem is named.
const Host = config.HostClient

// Doors are all of them.
func Doors() []string { return []string{DoorGRPC, DoorLink, DoorTCP, DoorHTTP} }

// Caller is on whose behalf a call is made. Who comes to the host's socket
// without a token is none: that is the operator, who may do everything.
type Caller struct {
	Client *Client
	Door   string
	Peer   string // the address that the call came from
}

type callerKey struct{}

// With returns a context of calls that a caller makes.
func With(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From returns on whose behalf a call is made; nil for the operator.
func From(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}

// Call is one call of a client.
type Call struct {
	Subsystem string // Host for a method of the host's own; "" for what every client may call
	Method    string // "/pkg.Service/Method"
	Stream    bool

	// Key is the value by which the call is found again in the audit log. It is
	// set before forward returns; nil: there is none.
	Key []byte
}

// Do makes a call, if the client may make it and when its own rate and limits
// let it pass: then forward makes it, with the deadline that it has by then; zero
// means none. Do returns a gRPC status, and sees to it that the call is counted
// and written down. The client's place is held until forward returns, whose
// context ends when a reload takes away what the call needs.
func (c *Caller) Do(ctx context.Context, call *Call, forward func(ctx context.Context, deadline time.Time) error) (err error) {
	start := time.Now()
	defer func() { c.ended(call, start, err) }()
	ctx, revoke := context.WithCancelCause(ctx)
	defer revoke(nil)
	f := c.Client.flights.add(c.Client, call, revoke)
	defer c.Client.flights.remove(f)
	// Only now: a reload that this does not see finds the call among the flights.
	if err := c.Client.clients.permit(c.Client, call); err != nil {
		c.Client.metrics.Rejected(policyAllow)
		return err
	}
	var answer error
	forwarded := false
	err = c.Client.passes(call).Do(ctx, &gate.Call{Method: call.Method, Stream: call.Stream, Start: start},
		func(ctx context.Context, g *gate.Call) gate.Result {
			forwarded = true
			c.Client.metrics.Entered()
			defer c.Client.metrics.Left()
			answer = forward(ctx, g.Deadline)
			return gate.Result{Err: answer, Final: true}
		})
	var revoked *revocation
	switch cause := context.Cause(ctx); {
	case err == nil:
		return nil
	case asRevocation(cause, &revoked):
		return revoked.err
	case !forwarded, status.Convert(err).Message() != status.Convert(answer).Message(): // the gate has said something
		return c.Client.named(err)
	}
	return err
}

// Refused writes down and counts a call that comes to nothing, because there is
// no such method, say.
func (c *Caller) Refused(method string, err error) {
	c.ended(&Call{Method: method}, time.Now(), err)
}

func (c *Caller) ended(call *Call, start time.Time, err error) {
	code := codes.OK
	if err != nil {
		code = status.Code(err)
	}
	c.Client.metrics.Ended(code)
	c.Client.clients.audit.add(line{
		Time: start, Client: c.Client.Name, Door: c.Door, Peer: c.Peer,
		Subsystem: call.Subsystem, Method: call.Method, Key: call.Key, Code: code, Took: time.Since(start),
	})
}
