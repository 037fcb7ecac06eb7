package link

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// A gatekeeper keeps the reader of its connection until it is let go.
type gatekeeper struct{ inside, goOn chan struct{} }

func (o gatekeeper) Receive(*Answer) {
	close(o.inside)
	<-o.goOn
}

func TestWhatAServerAnsweredBeforeItLeftIsRead(t *testing.T) {
	proctest.LeavesNothing(t)
	client, server := opened(t, ourGreeting())
	busy := gatekeeper{make(chan struct{}), make(chan struct{})}
	if err := client.Start(&Request{Method: "/s.S/M"}, busy, nil, nil); err != nil {
		t.Fatal(err)
	}
	answered, late := newOwner(), newOwner()
	if err := client.Start(&Request{Method: "/s.S/M"}, answered, nil, nil); err != nil {
		t.Fatal(err)
	}
	frames(t, server, headerSize+len("/s.S/M")+2*(headerSize+callSize))
	pieces(server, appendAnswer(nil, 0, &Answer{}), 0)
	<-busy.inside
	pieces(server, appendAnswer(nil, 1, &Answer{Payload: []byte("in time")}), 0)
	server.Close()
	if err := client.Start(&Request{Method: "/s.S/M"}, late, nil, nil); err != nil { // is not taken any more
		t.Fatal(err)
	}
	close(busy.goOn)
	if a := answered.last(t); a.Code != codes.OK || string(answered.body) != "in time" {
		t.Errorf("got %q and %v, want the answer that was sent", answered.body, a.Err())
	}
	if a := late.last(t); a.Code != codes.Unavailable {
		t.Errorf("a call that came too late: got %v, want Unavailable", a.Err())
	}
}
