package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// A soak is many calls by many callers over connections that are killed.
type soak struct {
	calls, callers, conns int
	kills                 bool
	leave                 int // of 100 callers leave, or set a deadline, within 2 ms

	server  *Server
	serving sync.WaitGroup
	lines   []*line
	next    atomic.Int64
	runs    []atomic.Uint32 // of each call's handler
	results []atomic.Uint32 // of each call: a result and, from bit 8 on, how often there was one
	dials   atomic.Int64
	mixups  atomic.Int64
}

// What became of a call.
const (
	wasAnswered = iota
	wasUnreached
	wasLost
	wasGivenUp
	wasEnded // by its handler or the server, with an error
	outcomes
)

// A request of a soak is its number, what its handler does, and how large the
// answer is.
const (
	runsAtOnce = iota
	runsLater
	runsUntilTheEnd
)

func (s *soak) handle(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // the order is grpc.MethodHandler's
	in := new(wrapperspb.BytesValue)
	if err := decode(in); err != nil {
		return nil, err
	}
	req := in.GetValue()
	number := binary.LittleEndian.Uint64(req)
	s.runs[number].Add(1)
	switch req[8] {
	case runsLater:
		late := time.NewTimer(time.Duration(number%1000) * time.Microsecond)
		defer late.Stop()
		<-late.C
	case runsUntilTheEnd:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return wrapperspb.Bytes(soakAnswer(req)), nil
}

func soakAnswer(req []byte) []byte {
	b := make([]byte, binary.LittleEndian.Uint32(req[9:]))
	for i := copy(b, req); i < len(b); i *= 2 {
		copy(b[i:], b[:i])
	}
	return b
}

// A line is a connection that is dialled again when it has broken.
type line struct {
	mu             sync.Mutex
	conn           *Conn
	client, server *net.UnixConn
}

func (s *soak) dial(tb testing.TB, l *line) *Conn {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.conn.Usable() {
		return l.conn
	}
	if l.conn != nil {
		_ = l.conn.Close()
	}
	for {
		s.dials.Add(1)
		l.client, l.server = pair(tb)
		server := l.server
		s.serving.Go(func() { s.server.ServeConn(context.Background(), server) })
		var err error
		if l.conn, err = Open(context.Background(), l.client); err == nil {
			return l.conn
		}
		tb.Errorf("open: %v", err)
	}
}

// kill ends a connection in one of the ways in which they end.
func (l *line) kill(way int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return
	}
	switch way % 6 {
	case 0:
		_ = l.client.Close()
	case 1:
		_ = l.server.Close()
	case 2:
		_ = l.client.CloseWrite()
	case 3:
		_ = l.server.CloseWrite()
	case 4:
		_ = l.server.CloseRead()
	case 5:
		_ = l.conn.Close()
	}
}

func (s *soak) run(t *testing.T) {
	t.Helper()
	s.server = NewServer(ServerOptions{Logger: new(journal).logger(), IsNonBlocking: func(m string) bool { return m == "/soak.S/Inline" }})
	s.server.RegisterService(&grpc.ServiceDesc{ServiceName: "soak.S", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		{MethodName: "Inline", Handler: s.handle}, {MethodName: "Worker", Handler: s.handle},
	}}, nil)
	s.runs, s.results = make([]atomic.Uint32, s.calls), make([]atomic.Uint32, s.calls)
	for range s.conns {
		s.lines = append(s.lines, new(line))
	}
	s.round(t, s.calls/20) // pools and the runtime settle
	before, goroutines := settled(), runtime.NumGoroutine()
	begun := time.Now()
	s.round(t, s.calls)
	took := time.Since(begun)
	if !proctest.Soon(func() bool { return runtime.NumGoroutine() <= goroutines }) {
		t.Errorf("%d goroutines before, %d after:\n%s", goroutines, runtime.NumGoroutine(), stacks())
	}
	after := settled()
	t.Logf("%d calls over %d connections in %v; heap in use: %d KiB before, %d KiB after", s.calls, s.dials.Load(), took, before>>10, after>>10)
	if after > before+4<<20 {
		t.Errorf("heap in use: %d KiB before, %d KiB after", before>>10, after>>10)
	}
	s.explain(t)
}

// settled is the heap in use when pools are empty.
func settled() (live uint64) {
	for range 3 {
		_, live = heap()
	}
	return live
}

// round goes on making calls until there are n, and ends all connections.
func (s *soak) round(t *testing.T, n int) {
	t.Helper()
	var callers, killer sync.WaitGroup
	quit := make(chan struct{})
	if s.kills {
		killer.Go(func() { s.killAtRandom(quit) })
	}
	for caller := range s.callers {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), uint64(n)))
			for number := s.next.Add(1) - 1; number < int64(n); number = s.next.Add(1) - 1 {
				s.call(t, random, s.lines[caller%s.conns], uint64(number))
			}
			s.next.Add(-1)
		})
	}
	callers.Wait()
	close(quit)
	killer.Wait()
	for _, l := range s.lines {
		l.kill(5)
		*l = line{}
	}
	within(t, "the server's end", ends(s.serving.Wait))
}

func (s *soak) killAtRandom(quit <-chan struct{}) {
	random := rand.New(rand.NewPCG(1, 1))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			s.lines[random.IntN(len(s.lines))].kill(random.IntN(6))
			timer.Reset(time.Duration(random.IntN(5000)) * time.Microsecond)
		case <-quit:
			return
		}
	}
}

// call makes a call, and notes what became of it.
func (s *soak) call(t *testing.T, random *rand.Rand, l *line, number uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	order, patience := byte(random.IntN(2)), time.Duration(random.IntN(2000))*time.Microsecond
	if random.IntN(100) < s.leave {
		order = byte(random.IntN(3))
		if random.IntN(2) == 0 {
			defer time.AfterFunc(patience, cancel).Stop()
		} else {
			ctx, cancel = context.WithTimeout(ctx, patience)
			defer cancel()
		}
	}
	size := random.IntN(200)
	if kind := random.IntN(100); kind == 0 {
		size = random.IntN(200_000)
	} else if kind < 10 {
		size = random.IntN(5_000)
	}
	method := "/soak.S/Worker"
	if order == runsAtOnce && random.IntN(2) == 0 {
		method = "/soak.S/Inline"
	}
	req := append(binary.LittleEndian.AppendUint64(nil, number), order)
	req = binary.LittleEndian.AppendUint32(req, uint32(size))
	req = append(req, zeros[:random.IntN(300)]...)
	out := new(wrapperspb.BytesValue)
	conn := s.dial(t, l)
	err := conn.Invoke(ctx, method, wrapperspb.Bytes(req), out)
	if err == nil && !bytes.Equal(out.GetValue(), soakAnswer(req)) {
		s.mixups.Add(1)
	}
	result := outcome(ctx, t, err)
	s.results[number].Add(1<<8 | result)
	if result == wasUnreached {
		<-conn.Done() // it has broken
	}
}

func outcome(ctx context.Context, t *testing.T, err error) uint32 {
	t.Helper()
	if err == nil {
		return wasAnswered
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return map[Reach]uint32{Unreached: wasUnreached, Lost: wasLost, GivenUp: wasGivenUp}[e.Reach]
	}
	switch code := status.Code(err); {
	case ctx.Err() == nil && code == codes.DeadlineExceeded: // a deadline may be seen to pass before ctx knows
	case ctx.Err() == nil || code != codes.Canceled && code != codes.DeadlineExceeded:
		t.Errorf("got %v", err)
	}
	return wasEnded
}

// explain compares the runs of handlers with what callers were told.
func (s *soak) explain(t *testing.T) {
	t.Helper()
	var calls, runs [outcomes]int
	wrong := 0
	for number := range s.results {
		result, ran := s.results[number].Load(), s.runs[number].Load()
		what := result & 0xFF
		calls[what]++
		runs[what] += int(ran)
		ok := result>>8 == 1 && (what == wasAnswered && ran == 1 || what == wasUnreached && ran == 0 || what > wasUnreached && ran <= 1)
		if !ok {
			wrong++
			if wrong < 10 {
				t.Errorf("call %d: %d results, the last is %d, and its handler ran %d times", number, result>>8, what, ran)
			}
		}
	}
	t.Logf("calls (runs of handlers): answered %d (%d), unreached %d (%d), lost %d (%d), given up %d (%d), ended %d (%d)",
		calls[0], runs[0], calls[1], runs[1], calls[2], runs[2], calls[3], runs[3], calls[4], runs[4])
	if wrong > 0 || s.mixups.Load() > 0 {
		t.Errorf("%d calls are not explained, %d got the answer of another", wrong, s.mixups.Load())
	}
}

func TestEachRunOfAHandlerIsExplainedByAResult(t *testing.T) {
	proctest.LeavesNothing(t)
	(&soak{calls: 20_000, callers: 64, conns: 8, kills: true, leave: 40}).run(t)
}

func TestSlowAMillionCallsLeaveNothingBehind(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes minutes; make test-slow runs it")
	}
	proctest.LeavesNothing(t)
	(&soak{calls: 1_000_000, callers: 64, conns: 8, kills: true, leave: 40}).run(t)
}

func TestFiftyThousandCallersWhoLeaveMixNoAnswers(t *testing.T) {
	proctest.LeavesNothing(t)
	(&soak{calls: 50_000, callers: 64, conns: 1, leave: 90}).run(t)
}
