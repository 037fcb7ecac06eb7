package link

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The calls that are in flight when a fuzzed server begins to answer. Their ids
// are 0, 1, 2 …
const (
	fuzzedStarts  = 6
	fuzzedInvokes = 4
)

// FuzzClientReads is a server that answers anything it likes to calls that are
// in flight. Whatever it sends, each owner is told once, and each Invoke returns;
// when it has gone, nothing is left of the connection.
func FuzzClientReads(f *testing.F) {
	for _, b := range serverSeeds() {
		f.Add(b)
	}
	var left leaks
	f.Fuzz(func(t *testing.T, b []byte) {
		left.check(t)
		script := &script{b}
		how := script.byte()
		socket, server := pair(t)
		defer server.Close()
		if how&ungreeted != 0 {
			opensOnRubbish(t, socket, server, script)
			return
		}
		_ = server.SetDeadline(soon()) // of a socket that is open
		server.Write(ourGreeting().append(nil))
		conn, err := Open(context.Background(), socket)
		if err != nil {
			t.Fatal(err)
		}
		p := party{conn: conn, server: server, all: make(chan struct{})}
		p.begin(t)
		p.reads.Go(p.read)
		within(t, "the calls' way", p.all)
		if how&literally != 0 {
			err = script.inPieces(server, script.b)
		} else {
			err = p.play(script)
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, stacks())
		}
		server.Close()
		within(t, "the end of the connection", ends(func() {
			<-conn.Done()
			p.invokes.Wait()
			p.reads.Wait()
			_ = conn.Close()
		}))
		p.check(t)
	})
}

// opensOnRubbish opens a connection on bytes that are hardly a greeting.
func opensOnRubbish(t *testing.T, socket, server net.Conn, s *script) {
	t.Helper()
	sent := s.b
	server.Write(sent)
	server.Close()
	within(t, "Open", ends(func() {
		if conn, err := Open(context.Background(), socket); err == nil {
			o := newOwner()
			if conn.Start(&Request{Method: "/s.S/M"}, o, nil, nil) == nil {
				<-o.ended
			}
			_ = conn.Close()
		}
	}))
}

// A party is a client with calls in flight, and its server.
type party struct {
	conn    *Conn
	server  net.Conn
	owners  []*owner
	started []bool
	cancels []context.CancelFunc
	invokes sync.WaitGroup
	reads   sync.WaitGroup
	all     chan struct{} // closed when the first calls have come
	fault   error         // in what the client has sent

	mu   sync.Mutex
	errs []error // of Invoke
}

// begin begins calls, and waits for none.
func (p *party) begin(t *testing.T) {
	t.Helper()
	for i := range fuzzedStarts {
		if err := p.start(time.Duration(i%3) * time.Millisecond * 1000); err != nil {
			t.Fatal(err)
		}
	}
	for i := range fuzzedInvokes {
		ctx, cancel := context.WithCancel(context.Background())
		if i == 1 {
			ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		}
		var opts []grpc.CallOption
		if i == 2 {
			opts = append(opts, grpc.MaxCallRecvMsgSize(MaxPayload))
		}
		p.cancels = append(p.cancels, cancel)
		p.invokes.Go(func() {
			defer cancel()
			err := p.conn.Invoke(ctx, "/s.S/M", nil, new(wrapperspb.BytesValue), opts...)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.errs = append(p.errs, err)
		})
	}
}

func (p *party) start(timeout time.Duration) error {
	o := newOwner()
	err := p.conn.Start(&Request{Method: "/s.S/M", Timeout: timeout}, o, &o.handle, nil)
	p.owners, p.started = append(p.owners, o), append(p.started, err == nil)
	return err
}

// read takes what the client sends, which has to be frames of a client.
func (p *party) read() {
	arrived := sync.OnceFunc(func() { close(p.all) })
	defer arrived()
	if _, err := io.CopyN(io.Discard, p.server, greetingSize); err != nil {
		p.fault = err
		return
	}
	var b [4096]byte
	calls := 0
	for rest := 0; ; {
		n, err := p.server.Read(b[rest:])
		if err != nil {
			p.fault = hung(err)
			return
		}
		got := b[:rest+n]
		f, n, err := parseFrame(got)
		for ; n > 0; f, n, err = parseFrame(got) {
			switch f.kind {
			case kindCall:
				calls++
			case kindMethod, kindCancel, kindCredit:
			default:
				p.fault = fmt.Errorf("a frame of kind %d from the client", f.kind)
			}
			got = got[n:]
		}
		if err != nil {
			p.fault = err
			return
		}
		rest = copy(b[:], got)
		if calls == fuzzedStarts+fuzzedInvokes {
			arrived()
		}
	}
}

// play does what a script says: answers of all kinds, and callers that leave.
func (p *party) play(s *script) error {
	var b []byte
	for range 64 {
		if !s.more() || len(b) > 400_000 {
			break
		}
		switch op := s.byte() % 16; op {
		case 0, 1, 2, 3, 4, 5:
			b = appendAnswer(b, s.id(), s.answer(true))
		case 6, 7, 8, 9:
			b = appendPart(b, s.id(), s.answer(false))
		case 10:
			b = appendHeader(b, kindGoodbye, 0, 0, 0, 0)
		case 11:
			p.owners[int(s.byte())%len(p.owners)].handle.Cancel(nil)
		case 12:
			p.cancels[int(s.byte())%len(p.cancels)]()
		case 13:
			_ = p.start(time.Duration(s.byte()) * time.Millisecond)
		case 14:
			if err := s.inPieces(p.server, b); err != nil {
				return err
			}
			b = b[:0]
		default:
			b = s.oddity(b)
		}
	}
	return s.inPieces(p.server, b)
}

// answer is an answer or a part of one, mostly a valid one.
func (s *script) answer(begins bool) *Answer {
	how := s.byte()
	a := &Answer{More: how&1 != 0, Refused: how&14 == 2}
	if how&0x70 == 0x10 {
		a.Code = codes.Code(s.byte())
	}
	a.Payload = zeros[:min(s.size(), MaxPayload+1)]
	if how&0x80 != 0 {
		a.Payload = s.take(int(s.byte()))
	}
	if begins && a.More {
		a.Total = s.size()
	}
	if begins && how&14 == 4 {
		a.Header, a.Trailer = s.take(int(s.byte())), AppendPair(nil, "key", "value")
	}
	return a
}

// check says who was not told, or told wrongly.
func (p *party) check(t *testing.T) {
	t.Helper()
	for i, o := range p.owners {
		if p.started[i] {
			o.last(t)
		} else if len(o.lasts) > 0 {
			t.Errorf("owner %d was told of %v, though its call was not begun", i, o.lasts)
		}
	}
	if len(p.errs) != fuzzedInvokes {
		t.Errorf("got %d results of Invoke, want %d", len(p.errs), fuzzedInvokes)
	}
	if p.conn.Err() == nil || p.conn.Usable() {
		t.Errorf("the connection has ended, and says %v", p.conn.Err())
	}
	for _, err := range p.errs {
		if _, ok := status.FromError(err); !ok {
			t.Errorf("got %v, which is no status", err)
		}
	}
	if p.fault != nil {
		t.Error(p.fault)
	}
}

// serverSeeds are servers of each kind.
func serverSeeds() (all [][]byte) {
	all = append(all, nil, []byte{ungreeted}, append([]byte{ungreeted}, ourGreeting().append(nil)...))
	for _, sent := range [][]byte{
		appendAnswer(nil, 6, &Answer{Payload: []byte("\x0a\x02ok")}),
		appendAnswer(nil, 7, ended(Answered, status.Error(codes.Aborted, "no"), nil)),
		join(appendAnswer(nil, 0, &Answer{More: true, Total: 3, Payload: []byte("a")}), appendPart(nil, 0, &Answer{Payload: []byte("bc")})),
		join(appendAnswer(nil, 9, &Answer{More: true, Payload: []byte("\x0a\x02o")}), appendPart(nil, 9, &Answer{Payload: []byte("k")})),
		appendPart(nil, 1, &Answer{Payload: []byte("bc")}),
		appendAnswer(nil, 2, &Answer{Refused: true, Code: codes.Unavailable}),
		appendHeader(nil, kindGoodbye, 0, 0, 0, 0),
	} {
		all = append(all, append([]byte{literally}, sent...))
	}
	for id := range byte(12) {
		for _, size := range []byte{3, 10, 12, 15} {
			// An answer in parts, with callers who leave in between, and another one.
			all = append(all, []byte{0, 0, id, 1, size, size, 6, id, 1, size, 14, 1, 11, id, 12, id, 13, 1, 6, id, 1, size, 14, 0, 6, id, 0, 3, 0, id + 1, 0, 3})
		}
	}
	return all
}
