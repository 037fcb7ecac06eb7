package link

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// A trap is a Handler that panics.
type trap struct{}

func (trap) Serve(*Call, *Batch) { panic("a handler") }

func TestAHandlerThatPanicsLeavesNoWorkerBehind(t *testing.T) {
	proctest.LeavesNothing(t)
	j := new(journal)
	s := NewServer(ServerOptions{Logger: j.logger(), Handler: trap{}})
	s.RegisterService(registered(), nil)
	v := serve(t, s)
	client, done := v.raw(t)
	c, err := Open(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	blocked, idle, lost := newOwner(), newOwner(), newOwner()
	for _, call := range []struct {
		method string
		owner  *owner
	}{{untilTheEnd, blocked}, {onAWorker, idle}, {later, lost}} {
		if err := c.Start(&Request{Method: call.method, Payload: wanting(1)}, call.owner, nil, nil); err != nil {
			t.Fatal(err)
		}
		if call.owner == idle {
			idle.last(t)
		}
	}
	within(t, "the end of the connection", done)
	if lines := strings.Join(j.take(), " "); !strings.Contains(lines, "internal: panic on the reader of a connection: a handler") {
		t.Errorf("got the lines %q", lines)
	}
	for _, o := range []*owner{blocked, lost} {
		if a := o.last(t); a.Code != codes.Unavailable || a.Reach != Lost {
			t.Errorf("got %v, want Unavailable", a.Err())
		}
	}
}

// A panicking owner is a bug of who made it.
type panicking struct{}

func (panicking) Receive(*Answer) { panic("an owner") }

func TestAnOwnerWhoPanicsCostsNobodyAnAnswer(t *testing.T) {
	proctest.LeavesNothing(t)
	client, server := opened(t, ourGreeting())
	others := []*owner{newOwner(), newOwner(), newOwner()}
	for i, r := range []Receiver{others[0], panicking{}, others[1], panicking{}, others[2]} {
		if err := client.Start(&Request{Method: "/s.S/M"}, r, nil, nil); err != nil {
			t.Fatal(i, err)
		}
	}
	var b []byte
	for id := range uint32(4) {
		b = appendAnswer(b, id, &Answer{})
	}
	pieces(server, b, 0)
	within(t, "the end of the connection", client.Done())
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.Unavailable} {
		if a := others[i].last(t); a.Code != want {
			t.Errorf("owner %d: got %v, want %v", i, a.Err(), want)
		}
	}
	if err := client.Err(); !errors.Is(err, errPanicked) && !strings.Contains(err.Error(), "internal: panic") {
		t.Errorf("got %v", err)
	}
}
