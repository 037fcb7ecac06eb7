package link

import (
	"context"
	"encoding/binary"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The first byte of a fuzzed client says how it behaves.
const (
	ungreeted  = 1 << iota // its bytes are all that it sends
	literally              // its bytes are sent as they are, and are not a script
	neverReads             // it hangs up without having read anything
	grantless              // it gives no credit, but cancels its calls
)

// FuzzServerReads is a client that does anything it likes. Whatever it sends,
// the server answers each of its calls once, or cuts it off; when it has gone,
// nothing is left of it, and others never notice.
func FuzzServerReads(f *testing.F) {
	for _, b := range clientSeeds() {
		f.Add(b)
	}
	s, handler := newService(new(journal))
	s.options.Logger.SetLevel(hclog.Off) // there is a line for each
	v := serve(f, s)
	good := v.open(f)
	var left leaks
	f.Fuzz(func(t *testing.T, b []byte) {
		left.check(t)
		script := &script{b}
		how := script.byte()
		client, server := pair(t)
		defer client.Close()
		var served sync.WaitGroup
		served.Go(func() { s.ServeConn(context.Background(), server) })
		sent := clientStream(script, how)
		crowd := newCrowd(client, sent, how)
		if how&neverReads == 0 {
			_ = client.SetWriteDeadline(soon()) // of a socket that is open
			crowd.read.Go(func() { crowd.fault = crowd.count() })
		} else {
			_ = client.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // of a socket that is open
		}
		if how&ungreeted == 0 {
			client.Write(ourGreeting().append(nil))
		}
		if err := script.inPieces(client, sent); err != nil && how&neverReads == 0 {
			t.Fatalf("%v:\n%s", err, stacks())
		}
		if crowd.isWhole && how&(neverReads|ungreeted) == 0 {
			crowd.finish()
			within(t, "the answers", crowd.over)
		}
		a := ask(t, good, &Request{Method: onAWorker, Payload: wanting(len(b))})
		if a.Code != 0 {
			t.Errorf("a good client: %v", a.Err())
		}
		client.Close()
		within(t, "the end of the connection", ends(func() {
			served.Wait()
			crowd.read.Wait()
			handler.running.Wait()
		}))
		if crowd.fault != nil {
			t.Error(crowd.fault)
		}
	})
}

// clientStream is what a client sends after its greeting.
func clientStream(s *script, how byte) (b []byte) {
	if how&literally != 0 {
		return s.b
	}
	if how&ungreeted != 0 {
		g := greeting{s.byte(), s.uint32(), s.uint32(), s.uint32()}
		if s.byte()%4 != 0 {
			g = ourGreeting()
		}
		b = g.append(b)
	}
	names, methods := allMethods()
	if s.byte()%8 != 0 {
		b = append(b, methods...)
	}
	next := len(names)
	for range 48 {
		if !s.more() || len(b) > 400_000 {
			break
		}
		switch op := s.byte() % 16; op {
		case 0, 1, 2, 3, 4, 5, 6, 7:
			b = s.call(b, len(names))
		case 8, 9:
			b = appendHeader(b, kindCancel, 0, 0, s.id(), 0)
		case 10, 11:
			b = appendCredit(b, s.id(), s.size())
		case 12:
			b = append(b, methodFrame(next, string(s.take(int(s.byte()))))...)
			next++
		default:
			b = s.oddity(b)
		}
	}
	return b
}

// call is a call, mostly a valid one.
func (s *script) call(b []byte, methods int) []byte {
	timeouts := [...]time.Duration{0, 0, 0, 1, time.Millisecond, time.Hour, math.MaxInt64}
	id, method, n := s.id(), int(s.byte())%(methods+1), s.size()
	r := &Request{Timeout: timeouts[int(s.byte())%len(timeouts)], Payload: wanting(n)}
	if method >= 3 {
		r.Payload = binary.LittleEndian.AppendUint32(nil, uint32(n))
	}
	switch s.byte() % 16 {
	case 0:
		r.Metadata = s.take(int(s.byte()))
	case 1:
		r.Metadata = AppendPair(nil, string(s.take(3)), string(s.take(9)))
	case 2:
		r.Payload = s.take(int(s.byte()))
	case 3:
		r.Payload = zeros[:min(s.size(), MaxPayload+1)]
	}
	return appendCall(b, id, uint16(method), r)
}

// clientSeeds are clients of each kind.
func clientSeeds() (all [][]byte) {
	_, methods := allMethods()
	all = append(all, nil, []byte{ungreeted}, append([]byte{ungreeted | literally}, ourGreeting().append(nil)...))
	for _, sent := range [][]byte{
		appendCall(nil, 0, 0, &Request{Payload: wanting(10)}),
		appendCall(nil, 1, 1, &Request{Payload: wanting(MaxPayload + 1), Timeout: time.Second}),
		appendCall(nil, 2, 4, &Request{Payload: binary.LittleEndian.AppendUint32(nil, largest)}),
		join(appendCall(nil, 3, 5, &Request{Payload: binary.LittleEndian.AppendUint32(nil, largest)}), appendCredit(nil, 3, 10)),
		join(appendCall(nil, 4, 6, &Request{}), appendHeader(nil, kindCancel, 0, 0, 4, 0)),
		appendCall(nil, 5, 2, &Request{Metadata: AppendPair(nil, "key", "value")}),
		appendCall(nil, 0, 0, &Request{Metadata: []byte{1}}),
	} {
		for _, how := range []byte{literally, literally | neverReads, literally | grantless} {
			all = append(all, join([]byte{how}, methods, sent))
		}
	}
	// Scripts: calls of all methods, with small and large answers, and the rest.
	for _, how := range []byte{0, neverReads, grantless} {
		for method := range byte(10) {
			for _, size := range []byte{3, 13, 15} {
				script := []byte{how, 1}
				for id := range byte(4) {
					script = append(script, 0, id, method, size, 0, 9)
				}
				all = append(all, append(script, 8, 1, 10, 2, 3, 12, 1, 'm', 13, 1, 2, 0, 0))
			}
		}
	}
	return all
}
