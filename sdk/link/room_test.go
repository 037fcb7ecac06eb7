package link

import (
	"context"
	"math"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// opened is a client whose server is the test, and bears what it says.
func opened(tb testing.TB, bears greeting) (client *Conn, server *net.UnixConn) {
	tb.Helper()
	socket, server := pair(tb)
	if _, err := server.Write(bears.append(nil)); err != nil {
		tb.Fatal(err)
	}
	client, err := Open(context.Background(), socket) // the test's context ends before its cleanups run
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		server.Close()
		within(tb, "Close", ends(func() { client.Close() }))
	})
	frames(tb, server, greetingSize)
	return client, server
}

// frames reads so many bytes, and returns the frames that are in them.
func frames(tb testing.TB, from net.Conn, n int) (all []frame) {
	tb.Helper()
	b := make([]byte, n)
	if err := from.SetReadDeadline(time.Now().Add(proctest.Patience)); err != nil {
		tb.Fatal(err)
	}
	for read := 0; read < n; {
		k, err := from.Read(b[read:])
		if err != nil {
			tb.Fatalf("after %d of %d bytes: %v", read, n, err)
		}
		read += k
	}
	for len(b) >= headerSize && string(b[:len(magic)]) != magic {
		f, k, err := parseFrame(b)
		if err != nil || k == 0 {
			tb.Fatalf("%d bytes that are no frame: %v", len(b), err)
		}
		all, b = append(all, f), b[k:]
	}
	return all
}

func TestAMethodThatFoundNoRoomIsNamedWhenItDoes(t *testing.T) {
	proctest.LeavesNothing(t)
	client, server := opened(t, greeting{version: version, frame: maxFrame, calls: 10, window: maxFrame})
	first, second := newOwner(), newOwner()
	big := make([]byte, MaxPayload)
	if err := client.Start(&Request{Method: "/s.S/A", Payload: big}, first, &first.handle, nil); err != nil {
		t.Fatal(err)
	}
	frames(t, server, headerSize+len("/s.S/A")+headerSize+callSize+len(big))
	again := &Request{Method: "/s.S/B", Payload: big}
	if err := client.Start(again, second, &second.handle, nil); err != ErrFull { //nolint:errorlint // as it is documented
		t.Fatalf("got %v, want ErrFull", err)
	}
	pieces(server, appendAnswer(nil, 0, &Answer{}), 0)
	first.last(t)
	if err := client.Start(again, second, &second.handle, nil); err != nil {
		t.Fatal(err)
	}
	if f := frames(t, server, headerSize+len("/s.S/B"))[0]; f.kind != kindMethod || f.number != 1 || string(f.body) != "/s.S/B" {
		t.Errorf("got a frame of kind %d, number %d and %d bytes; want the name of method 1", f.kind, f.number, len(f.body))
	}
}

func TestWhoIsGivenRoomAndHasNoUseForItPassesItOn(t *testing.T) {
	proctest.LeavesNothing(t)
	client, server := opened(t, greeting{version: version, frame: maxFrame, calls: 1, window: maxFrame})
	o := newOwner()
	if err := client.Start(&Request{Method: "/s.S/M"}, o, &o.handle, nil); err != nil {
		t.Fatal(err)
	}
	// The first who waits finds that its time is over when it gets the room.
	over, enough := make(chan error, 1), make(chan error, 1)
	go func() {
		over <- client.Invoke(late{t.Context(), time.Now().Add(50 * time.Millisecond)}, "/s.S/M", nil, new(emptypb.Empty))
	}()
	waiting := func(n int) {
		if !proctest.Soon(func() bool {
			client.out.mu.Lock()
			defer client.out.mu.Unlock()
			return len(client.flights.waiters) == n
		}) {
			t.Fatalf("there are not %d who wait", n)
		}
	}
	waiting(1)
	go func() { enough <- client.Invoke(t.Context(), "/s.S/M", nil, new(emptypb.Empty)) }()
	waiting(2)
	<-time.After(60 * time.Millisecond)
	pieces(server, appendAnswer(nil, 0, &Answer{}), 0)
	if err := <-over; status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the first: got %v, want DeadlineExceeded", err)
	}
	frames(t, server, headerSize+len("/s.S/M")+2*(headerSize+callSize)) // it has come
	pieces(server, appendAnswer(nil, 0, &Answer{}), 0)
	if err := <-enough; err != nil {
		t.Errorf("the second: %v", err)
	}
}

// late is a context whose deadline passes before it ends, as it does when
// timers are behind.
type late struct {
	context.Context //nolint:containedctx // of a test

	deadline time.Time
}

func (c late) Deadline() (time.Time, bool) { return c.deadline, true }

func TestADeadlineMayBeCenturiesAway(t *testing.T) {
	proctest.LeavesNothing(t)
	client, server := opened(t, ourGreeting())
	o := newOwner()
	if err := client.Start(&Request{Method: "/s.S/M", Timeout: math.MaxInt64}, o, &o.handle, nil); err != nil {
		t.Fatal(err)
	}
	if client.expire(time.Now(), new(Batch)); len(o.lasts) > 0 {
		t.Fatalf("told of %v at once", o.lasts)
	}
	pieces(server, appendAnswer(nil, 0, &Answer{}), 0)
	if a := o.last(t); a.Code != codes.OK {
		t.Errorf("got %v", a.Err())
	}
}
