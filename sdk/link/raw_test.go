package link

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// pair is the two ends of a connection. Who calls closes them.
func pair(tb testing.TB) (a, b *net.UnixConn) {
	tb.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return socket(tb, fds[0]), socket(tb, fds[1])
}

func socket(tb testing.TB, fd int) *net.UnixConn {
	tb.Helper()
	file := os.NewFile(uintptr(fd), "pair")
	defer file.Close() // FileConn has one of its own
	conn, err := net.FileConn(file)
	if err != nil {
		tb.Fatal(err)
	}
	return conn.(*net.UnixConn)
}

// pieces writes b in pieces of n bytes; 0: at once. A peer that has hung up is
// not an error here.
func pieces(to net.Conn, b []byte, n int) {
	for len(b) > 0 {
		k := len(b)
		if n > 0 {
			k = min(n, k)
		}
		if _, err := to.Write(b[:k]); err != nil {
			return
		}
		b = b[k:]
	}
}

// join appends frames, or anything else, to each other.
func join(all ...[]byte) []byte { return bytes.Join(all, nil) }

// within fails the test, with all stacks, when something does not end.
func within(tb testing.TB, what string, done <-chan struct{}) {
	tb.Helper()
	timeout := time.NewTimer(proctest.Patience)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		tb.Fatalf("%s takes more than %v:\n%s", what, proctest.Patience, stacks())
	}
}

// ends returns a channel that is closed when f has returned.
func ends(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}

// A journal is the lines that a logger was given. Safe for concurrent use.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) logger() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Output: j}) }

// take returns the lines so far, and forgets them.
func (j *journal) take() (lines []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return strings.FieldsFunc(j.text.String(), func(r rune) bool { return r == '\n' })
}

// serving is a Server at one end of each pair.
type serving struct {
	*Server
	ctx    context.Context //nolint:containedctx // of the test
	cancel context.CancelFunc
	all    sync.WaitGroup
}

func serve(tb testing.TB, s *Server) *serving {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background()) // the test's ends before its cleanups run
	v := &serving{Server: s, ctx: ctx, cancel: cancel}
	tb.Cleanup(func() {
		cancel()
		within(tb, "the server's end", ends(v.all.Wait))
	})
	return v
}

// raw is the client's end of a new connection, without a greeting, and what is
// closed when the server has done with it.
func (v *serving) raw(tb testing.TB) (client *net.UnixConn, done <-chan struct{}) {
	tb.Helper()
	client, server := pair(tb)
	tb.Cleanup(func() { client.Close() })
	gone := make(chan struct{})
	v.all.Go(func() {
		defer close(gone)
		v.ServeConn(v.ctx, server)
	})
	return client, gone
}

// open is a client on a connection of its own.
func (v *serving) open(tb testing.TB) *Conn {
	tb.Helper()
	socket, _ := v.raw(tb)
	c, err := Open(v.ctx, socket)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// greeted is raw after both greetings.
func (v *serving) greeted(tb testing.TB) (client *net.UnixConn, done <-chan struct{}) {
	tb.Helper()
	client, done = v.raw(tb)
	if _, err := greet(client, greetTimeout); err != nil {
		tb.Fatal(err)
	}
	return client, done
}

// An owner keeps what it is told.
type owner struct {
	mu      sync.Mutex
	body    []byte
	parts   int
	lasts   []Answer // the last words; there has to be one
	ended   chan struct{}
	discord string // what no Conn may tell
	handle  Handle
	grants  bool // it gives credit for what has come
}

func newOwner() *owner { return &owner{ended: make(chan struct{}), grants: true} }

func (o *owner) Receive(a *Answer) {
	if !o.mu.TryLock() {
		panic("told of two things at once")
	}
	defer o.mu.Unlock()
	switch {
	case len(o.lasts) > 0:
		o.discord = "told again after the last answer"
	case a.Part && o.parts == 0 && a.Code == 0:
		o.discord = "told of a part before the answer"
	}
	if a.Code == 0 {
		if !a.Part {
			o.body = o.body[:0]
		}
		o.body = append(o.body, a.Payload...)
	}
	o.parts++
	if a.More {
		if o.grants {
			o.handle.Credit(len(a.Payload), a.Batch)
		}
		return
	}
	last := *a
	last.Payload, last.Batch = bytes.Clone(a.Payload), nil
	if o.lasts = append(o.lasts, last); len(o.lasts) == 1 {
		close(o.ended)
	}
}

// last waits for the end of the call.
func (o *owner) last(tb testing.TB) Answer {
	tb.Helper()
	within(tb, "a call", o.ended)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lasts) != 1 || o.discord != "" {
		tb.Fatalf("told of %d ends: %v %s", len(o.lasts), o.lasts, o.discord)
	}
	return o.lasts[0]
}

// ask makes a call and waits for its answer.
func ask(tb testing.TB, c *Conn, r *Request) Answer {
	tb.Helper()
	o := newOwner()
	for {
		err := c.Start(r, o, &o.handle, nil)
		if errors.Is(err, ErrFull) {
			if err := (&pending{conn: c, request: *r}).awaitRoom(tb.Context(), false); err != nil {
				tb.Fatal(err)
			}
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		return o.last(tb)
	}
}

func stacks() string {
	var b strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	return b.String()
}
