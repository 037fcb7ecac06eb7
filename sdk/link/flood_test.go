package link

import (
	"encoding/binary"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// heap is how many bytes of memory are in use, now and without garbage.
func heap() (now, live uint64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	now = m.HeapInuse
	runtime.GC()
	runtime.ReadMemStats(&m)
	return now, m.HeapInuse
}

// watchHeap returns the most that was in use until stop is called.
func watchHeap() (stop func() (most uint64)) {
	quit, most := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var m runtime.MemStats
		var top uint64
		for {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&m)
				top = max(top, m.HeapInuse)
			case <-quit:
				most <- top
				return
			}
		}
	}()
	return func() uint64 {
		close(quit)
		return <-most
	}
}

// flood is calls, each for an answer of 64 KiB.
func flood(method, calls int) (b []byte) {
	low := binary.LittleEndian.AppendUint32(nil, MaxPayload)
	payload := wanting(MaxPayload - 16)
	if method >= 3 {
		payload = low
	}
	for id := range uint32(calls) {
		b = appendCall(b, id, uint16(method), &Request{Payload: payload})
	}
	return b
}

func TestAClientThatNeverReadsCostsLittleMemory(t *testing.T) {
	const bound = 200 << 20 // what waits to be written, buffers, contexts and stacks
	methods, encoded := allMethods()
	for method, name := range methods[:4] {
		if name == untilTheEnd {
			continue
		}
		t.Run(name, func(t *testing.T) {
			proctest.LeavesNothing(t)
			j := new(journal)
			s, _ := newService(j)
			v := serve(t, s)
			good := v.open(t)
			client, done := v.greeted(t)
			stop := watchHeap()
			_, before := heap()
			if err := client.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			pieces(client, join(encoded, flood(method, maxCalls)), 0) // until the server takes no more
			ask(t, good, &Request{Method: onAWorker, Payload: wanting(largest)})
			<-time.After(300 * time.Millisecond) // whatever can be made is made meanwhile
			most := stop()
			t.Logf("%d MiB before, %d MiB at most", before>>20, most>>20)
			if most > before+bound {
				t.Errorf("%d MiB are in use for a client that does not read", (most-before)>>20)
			}
			client.Close()
			within(t, "the end of the connection", done)
			if lines := j.take(); len(lines) > 0 {
				t.Errorf("got the lines %q", lines)
			}
		})
	}
}

func TestAClientThatReadsLateGetsAllAnswers(t *testing.T) {
	const calls = 2000
	proctest.LeavesNothing(t)
	j := new(journal)
	s, _ := newService(j)
	v := serve(t, s)
	_, encoded := allMethods()
	for _, method := range []int{0, 1, 3} {
		client, _ := v.greeted(t)
		go pieces(client, join(encoded, flood(method, calls)), 0)
		<-time.After(100 * time.Millisecond)
		if n := countAnswers(t, client, calls); n != calls {
			t.Errorf("method %d: got %d answers, want %d; %q", method, n, calls, j.take())
		}
		client.Close()
	}
}

// countAnswers reads until so many calls are answered, or nothing comes any
// more.
func countAnswers(tb testing.TB, from net.Conn, want int) (n int) {
	tb.Helper()
	var start, end int
	b := make([]byte, 1<<20)
	for n < want {
		if start > 0 {
			start, end = 0, copy(b, b[start:end])
		}
		if err := from.SetReadDeadline(time.Now().Add(proctest.Patience)); err != nil {
			tb.Fatal(err)
		}
		k, err := from.Read(b[end:])
		if err != nil {
			tb.Log(err)
			return n
		}
		end += k
		for {
			f, k, err := parseFrame(b[start:end])
			if err != nil {
				tb.Fatal(err)
			}
			if k == 0 {
				break
			}
			start += k
			if f.flags&flagMore == 0 {
				n++
			}
		}
	}
	return n
}

// A relay forwards calls to another connection, as a host does.
type relay struct {
	proxy
	to *Conn
}

func (r *relay) Serve(c *Call, b *Batch) {
	if c.Method() == atOnce {
		r.proxy.Serve(c, b)
		return
	}
	o := &relayed{caller: c}
	c.Tie(&o.handle)
	if err := r.to.Start(&Request{Method: onTheReader, Payload: c.Payload()}, o, &o.handle, b); err != nil {
		c.Answer(ended(Answered, err, b))
	}
}

type relayed struct {
	caller *Call
	handle Handle
}

func (o *relayed) Receive(a *Answer) { o.caller.Answer(a) }

func TestWhatAClientThatDoesNotReadHasForwardedHoldsNobodyUp(t *testing.T) {
	proctest.LeavesNothing(t)
	s, _ := newService(new(journal))
	backend := serve(t, s).open(t)
	front := serve(t, NewServer(ServerOptions{Logger: new(journal).logger(), Handler: &relay{to: backend}}))
	good := front.open(t)
	ask(t, good, &Request{Method: onTheReader, Payload: wanting(10)})
	mute, _ := front.greeted(t)
	// What is read at once: more answers than are taken, and a call to the backend.
	b := join(methodFrame(0, atOnce), methodFrame(1, onTheReader))
	for id := range uint32(60) {
		b = appendCall(b, id, 0, &Request{Payload: binary.LittleEndian.AppendUint32(nil, MaxPayload)})
	}
	pieces(mute, appendCall(b, 60, 1, &Request{Payload: wanting(10)}), 0)
	<-time.After(50 * time.Millisecond)
	ask(t, good, &Request{Method: onTheReader, Payload: wanting(10)})
}
