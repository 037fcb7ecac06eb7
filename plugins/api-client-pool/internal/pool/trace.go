package pool

import (
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// phase is how far an exchange has come.
type phase uint8

const (
	waiting phase = iota // for a free connection, or for a dial to begin
	resolving
	connecting
	handshaking
	sending
	awaiting // the response's headers
	reading  // its body
	phases
)

// String is the name that errors and metrics give the phase.
func (p phase) String() string {
	return [phases]string{"connect", "resolve", "connect", "tls", "send", "headers", "body"}[p]
}

// trace follows one call through its exchanges: one, and one more a redirect.
// Its hooks may still run after the call has ended, because a dial outlives the
// request that asked for it when another connection became free first.
type trace struct {
	metrics *metrics
	method  string
	begun   time.Time // of the call

	mu        sync.Mutex
	phase     phase
	target    string    // address of the server, "host:port"
	exchange  time.Time // begin of the last exchange
	dns       span
	connect   span
	tls       span
	firstByte time.Time
	reused    bool
}

// span is a stretch of time; a zero end means that it has not ended.
type span struct{ begin, end time.Time }

func newTrace(m *metrics) *trace {
	now := time.Now()
	return &trace{metrics: m, begun: now, exchange: now}
}

// begin notes what is about to be sent, for errors before the first hook.
func (t *trace) begin(request *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.method = request.Method
	t.target = request.URL.Host
}

func (t *trace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:              t.restart,
		DNSStart:             func(httptrace.DNSStartInfo) { t.open(&t.dns, resolving) },
		DNSDone:              func(info httptrace.DNSDoneInfo) { t.shut(&t.dns, info.Err) },
		ConnectStart:         func(_, _ string) { t.open(&t.connect, connecting) },
		ConnectDone:          func(_, _ string, err error) { t.shut(&t.connect, err) },
		TLSHandshakeStart:    func() { t.open(&t.tls, handshaking) },
		TLSHandshakeDone:     func(_ tls.ConnectionState, err error) { t.shut(&t.tls, err) },
		GotConn:              t.connected,
		WroteRequest:         t.wrote,
		GotFirstResponseByte: t.answered,
	}
}

// restart begins an exchange, or begins it again on another connection when
// net/http finds that the server has closed the warm one.
func (t *trace) restart(target string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.target = target
	if t.phase == waiting {
		return // the bulkhead said so before, and the wait for a permit counts
	}
	t.exchange = time.Now()
	t.phase = waiting
	t.dns, t.connect, t.tls, t.firstByte, t.reused = span{}, span{}, span{}, time.Time{}, false
}

// open begins a span, once: of the addresses that are tried in parallel the
// first one counts.
func (t *trace) open(s *span, p phase) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.begin.IsZero() {
		s.begin = time.Now()
	}
	t.phase = max(t.phase, p)
}

func (t *trace) shut(s *span, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil && !s.begin.IsZero() && s.end.IsZero() {
		s.end = time.Now()
	}
}

func (t *trace) connected(info httptrace.GotConnInfo) {
	t.mu.Lock()
	t.reused = info.Reused
	t.phase = max(t.phase, sending)
	t.mu.Unlock()
	if info.Reused {
		t.metrics.warm.Inc()
	} else {
		t.metrics.cold.Inc()
	}
}

func (t *trace) wrote(info httptrace.WroteRequestInfo) {
	if info.Err == nil {
		t.reach(awaiting)
	}
}

func (t *trace) answered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.firstByte = time.Now()
}

func (t *trace) reach(p phase) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = max(t.phase, p)
}

// where returns the phase and the server's address of the last exchange.
func (t *trace) where() (phase, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.phase, t.target
}

// write puts the times, and whether the connection was warm, into answer. The
// response has been read by now.
func (t *trace) write(answer *apiv1.DoResponse) {
	total := time.Since(t.begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	answer.ReusedConnection = t.reused
	answer.Timing = &apiv1.Timing{
		FirstByte: span{t.exchange, t.firstByte}.proto(),
		Total:     durationpb.New(total),
	}
	if !t.reused { // a dial that another connection overtook is not ours to report
		answer.Timing.Dns = t.dns.proto()
		answer.Timing.Connect = t.connect.proto()
		answer.Timing.Tls = t.tls.proto()
	}
}

// proto is nil for a span that did not happen or end.
func (s span) proto() *durationpb.Duration {
	if s.begin.IsZero() || s.end.IsZero() {
		return nil
	}
	return durationpb.New(s.end.Sub(s.begin))
}
