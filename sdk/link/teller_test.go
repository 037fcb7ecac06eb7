package link

import (
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
)

// teller is an owner who takes its time over the first part of its answer.
type teller struct {
	handle  Handle
	part    chan struct{} // the first part is here
	goOn    chan struct{}
	inside  atomic.Int32
	told    chan codes.Code // the last words
	clashed atomic.Bool
}

func (o *teller) Receive(a *Answer) {
	if o.inside.Add(1) > 1 {
		o.clashed.Store(true)
	}
	defer o.inside.Add(-1)
	if a.More {
		close(o.part)
		<-o.goOn
		return
	}
	o.told <- a.Code
}

// rawServer is the server's end of a connection whose client is returned.
func rawServer(t *testing.T) (client *Conn, server net.Conn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "l")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	lis, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := lis.Accept()
		if err == nil {
			_, err = greet(conn, greetTimeout)
		}
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
	}()
	socket, err := new(net.Dialer).DialContext(t.Context(), "unix", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err = Open(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	server = <-accepted
	t.Cleanup(func() {
		_ = server.Close()
		_ = client.Close()
	})
	return client, server
}

func TestWhoIsGivenUpDuringAPartIsToldAfterIt(t *testing.T) {
	client, server := rawServer(t)
	o := &teller{part: make(chan struct{}), goOn: make(chan struct{}), told: make(chan codes.Code, 2)}
	if err := client.Start(&Request{Method: "/s.S/M"}, o, &o.handle, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write(appendAnswer(nil, 0, &Answer{More: true, Payload: []byte("x")})); err != nil {
		t.Fatal(err)
	}
	<-o.part
	o.handle.Cancel(nil)
	o.handle.Cancel(nil)
	select {
	case code := <-o.told:
		t.Errorf("told of %v in the middle of a part", code)
	default:
	}
	close(o.goOn)
	if code := <-o.told; code != codes.Canceled || o.clashed.Load() {
		t.Errorf("told of %v, by two at once: %t", code, o.clashed.Load())
	}
	_ = server.Close()
	<-client.Done()
	if len(o.told) > 0 {
		t.Errorf("told of %v as well", <-o.told)
	}
}

func TestWhoIsGivenUpOnABrokenConnectionIsToldOnce(t *testing.T) {
	client, server := rawServer(t)
	o := &teller{told: make(chan codes.Code, 2)}
	if err := client.Start(&Request{Method: "/s.S/M"}, o, &o.handle, nil); err != nil {
		t.Fatal(err)
	}
	client.out.mu.Lock() // between the end of the way out and that of the way in
	client.out.err = errHungUp
	client.out.mu.Unlock()
	o.handle.Cancel(nil)
	_ = server.Close()
	<-client.Done()
	if code := <-o.told; code != codes.Canceled || len(o.told) > 0 {
		t.Errorf("told of %v, and %d times more", code, len(o.told))
	}
}

func TestCreditThatIsNotDueEndsTheConnection(t *testing.T) {
	e := &session{calls: []*Call{{unpaid: 10, inFlight: true}}}
	for n, want := range map[int]bool{10: true, 11: false} {
		e.calls[0].unpaid = 10
		f, _, err := parseFrame(appendCredit(nil, 0, n))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.credit(f); (err == nil) != want {
			t.Errorf("credit for %d bytes of 10: %v", n, err)
		}
	}
}
