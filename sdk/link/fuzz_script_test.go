package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// A script is the bytes of a fuzzer, read as choices. It is 0 where they end.
type script struct{ b []byte }

func (s *script) more() bool { return len(s.b) > 0 }

func (s *script) byte() byte {
	if len(s.b) == 0 {
		return 0
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c
}

func (s *script) uint16() uint16 { return uint16(s.byte()) | uint16(s.byte())<<8 }

func (s *script) uint32() uint32 { return uint32(s.uint16()) | uint32(s.uint16())<<16 }

// take is the next n bytes, or those that there are.
func (s *script) take(n int) (b []byte) {
	n = min(n, len(s.b))
	b, s.b = s.b[:n:n], s.b[n:]
	return b
}

// size is a number of bytes around which something changes.
func (s *script) size() int {
	sizes := [...]int{0, 1, 2, 10, 30, 100, 200, 1000, keptBuffer - 20, keptBuffer, MaxPayload - 20, MaxPayload, MaxPayload + 1, 2 * MaxPayload, answerWindow, largest}
	return sizes[int(s.byte())%len(sizes)]
}

// id is one of those that are mostly in use, or any.
func (s *script) id() uint32 {
	ids := [...]uint32{maxCalls - 1, maxCalls, math.MaxUint32}
	if c := int(s.byte()); c < 256-len(ids) {
		return uint32(c % 12)
	} else {
		return ids[c-(256-len(ids))]
	}
}

// zeros is filling.
var zeros = make([]byte, maxFrame+1)

// oddity is what neither end sends: a frame with any header, a cut one, or no
// frame at all.
func (s *script) oddity(b []byte) []byte {
	switch s.byte() % 3 {
	case 0:
		return append(appendHeader(b, kind(s.byte()), s.byte(), s.uint16(), s.id(), 0), s.take(int(s.byte()))...)
	case 1:
		before := len(b)
		b = appendHeader(b, kind(s.byte()%9), s.byte(), s.uint16(), s.id(), 0)
		n := s.uint32() % (maxFrame + 2)
		binary.LittleEndian.PutUint32(b[before:], n)
		return append(b, zeros[:max(n, headerSize)-headerSize]...)
	default:
		return append(b, s.take(1+int(s.byte()))...)
	}
}

// inPieces writes b as s chooses: at once, or in pieces. It is no error that the
// peer has cut it off, but that it takes nothing.
func (s *script) inPieces(to net.Conn, b []byte) error {
	n := [...]int{len(b), 1, 7, 100, 5000}[int(s.byte())%5]
	n = max(n, len(b)/300, 1) // it would take too long
	for len(b) > 0 {
		k := min(n, len(b))
		if _, err := to.Write(b[:k]); err != nil {
			return hung(err)
		}
		b = b[k:]
	}
	return nil
}

// hung is the error of who has waited for a peer in vain; nil if err is that the
// connection has ended.
func hung(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the peer hangs: %w", err)
	}
	return nil
}

// leaks looks from time to time whether one execution after the other leaves
// something behind.
type leaks struct{ executions, goroutines int }

func (l *leaks) check(tb testing.TB) {
	tb.Helper()
	if l.executions == 0 {
		l.goroutines = runtime.NumGoroutine()
	}
	if l.executions++; l.executions%64 != 0 {
		return
	}
	if bound := l.goroutines + 16; runtime.NumGoroutine() > bound && !proctest.Soon(func() bool { return runtime.NumGoroutine() <= bound }) {
		tb.Fatalf("%d goroutines at first, %d after %d executions:\n%s", l.goroutines, runtime.NumGoroutine(), l.executions, stacks())
	}
	if l.executions%512 != 0 {
		return
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapInuse > 512<<20 {
		if _, live := heap(); live > 512<<20 {
			tb.Fatalf("%d MiB are in use after %d executions", live>>20, l.executions)
		}
	}
}

// soon bounds what is read from a connection, and written to it.
func soon() time.Time { return time.Now().Add(proctest.Patience) }
