package gateway

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/link"
)

// sender is a caller of all kinds of calls, some of which it gives up. Safe for
// concurrent use.
type sender struct {
	t        *testing.T
	conn     *link.Conn
	metadata []byte
	left     atomic.Int64
	ending   sync.WaitGroup // of the lines

	mu     sync.Mutex
	random *rand.Rand
	recent [64]link.Handle // of calls that may be under way
}

func newSender(t *testing.T, conn *link.Conn, subsystem string, seed uint64, calls int) *sender {
	t.Helper()
	s := &sender{t: t, conn: conn, metadata: link.AppendPair(nil, "gaia-subsystem", subsystem), random: rand.New(rand.NewPCG(seed, 3))}
	s.left.Store(int64(calls))
	return s
}

// run makes all calls, so many at once, or as many as there can be before the
// connection ends.
func (s *sender) run(atOnce int) {
	for range atOnce {
		s.ending.Add(1)
		s.next(nil)
	}
	s.ending.Wait()
}

// sent is a call.
type sent struct {
	sender *sender
	handle link.Handle
	ended  atomic.Bool
}

// next begins a call, or ends a line of them.
func (s *sender) next(b *link.Batch) {
	if s.left.Add(-1) < 0 {
		s.ending.Done()
		return
	}
	r, cancel := s.draw()
	c := &sent{sender: s}
	if err := s.conn.Start(r, c, &c.handle, b); err != nil {
		s.ending.Done() // the connection has ended
		return
	}
	s.mu.Lock()
	s.recent[s.random.IntN(len(s.recent))] = c.handle
	s.mu.Unlock()
	cancel.Cancel(b)
}

// draw makes up a call, and says which one to give up.
func (s *sender) draw() (*link.Request, link.Handle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kinds := []string{"", "", "", "x", "x", "x", "y", "y", "y", "y", "y", "y", "y", "y", "y", "wait", "fail", "large", "hang"}
	kind := kinds[s.random.IntN(len(kinds))]
	r := echoRequest(s.t, kind)
	r.Metadata = s.metadata
	if kind == "hang" || s.random.IntN(10) == 0 {
		r.Timeout = time.Duration(1 + s.random.IntN(20_000_000))
	}
	if s.random.IntN(10) == 0 {
		return r, s.recent[s.random.IntN(len(s.recent))]
	}
	return r, link.Handle{}
}

// Receive implements link.Receiver.
func (c *sent) Receive(a *link.Answer) {
	if a.More {
		c.handle.Credit(len(a.Payload), a.Batch)
		return
	}
	if c.ended.Swap(true) {
		c.sender.t.Error("a call ended twice")
		return
	}
	c.sender.next(a.Batch)
}
