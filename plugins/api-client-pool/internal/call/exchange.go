package call

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"
)

// Phase is how far an exchange has come.
type Phase uint8

// The phases, in their order.
const (
	Waiting Phase = iota // for a free connection, or for a dial to begin
	Resolving
	Connecting
	Handshaking
	Sending
	Awaiting // the response's headers
	Reading  // its body
	Phases   // is how many there are
)

// String is the name that errors and metrics give the phase.
func (p Phase) String() string {
	return [Phases]string{"connect", "resolve", "connect", "tls", "send", "headers", "body"}[p]
}

// Exchange follows one request to its response. Its hooks may still run after
// it has ended, because a dial outlives the request that asked for it when
// another connection became free first. It is safe for concurrent use, and all
// methods of a nil one do nothing.
type Exchange struct {
	connected  func(reused bool)
	replayable bool      // net/http may repeat it after it was written
	begun      time.Time // when it began to wait for a connection

	mu        sync.Mutex
	phase     Phase
	target    string // address of the server, "host:port"
	waitsFor  string // in words; "" for nothing
	sent      bool   // whether something may have left
	dns       span
	connect   span
	tls       span
	firstByte time.Time
	reused    bool
}

// span is a stretch of time; a zero end means that it has not ended.
type span struct{ begin, end time.Time }

// length is 0 for a span that did not happen or end.
func (s span) length() time.Duration {
	if s.begin.IsZero() || s.end.IsZero() {
		return 0
	}
	return s.end.Sub(s.begin)
}

// Times are the lengths of the phases that happened, 0 for those that did not.
type Times struct {
	DNS, Connect, TLS, FirstByte time.Duration
	Reused                       bool // the connection was warm
}

// exchangeKey is of the exchange in a context.
type exchangeKey struct{}

// Follow returns a context in which e follows the request.
func (e *Exchange) Follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(context.WithValue(ctx, exchangeKey{}, e), e.hooks())
}

// ExchangeFrom returns the exchange that follows the request of ctx, or nil.
func ExchangeFrom(ctx context.Context) *Exchange {
	e, _ := ctx.Value(exchangeKey{}).(*Exchange)
	return e
}

// Dialing returns the context of a dial for the request of ctx: as Bare, but the
// exchange follows it.
func Dialing(ctx context.Context) context.Context {
	return context.WithValue(Bare(ctx), exchangeKey{}, ExchangeFrom(ctx))
}

// hooks are for each request; those for its dial, which is rare, are methods.
func (e *Exchange) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:              e.restart,
		TLSHandshakeStart:    func() { e.open(&e.tls, Handshaking) },
		TLSHandshakeDone:     func(_ tls.ConnectionState, err error) { e.shut(&e.tls, err) },
		GotConn:              e.got,
		WroteRequest:         e.wrote,
		GotFirstResponseByte: e.answered,
	}
}

// Await notes for what the request waits before it can have a connection, in
// words such as "one of 64 connections (connections_per_host)"; "" is the end of
// the wait.
func (e *Exchange) Await(what string) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waitsFor = what
}

// Ready notes that the exchange begins now, after a wait that is none of its
// server's doing.
func (e *Exchange) Ready() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waitsFor = ""
	e.begun = time.Now()
}

// WaitsFor returns for what the request waits, and "" if it does not.
func (e *Exchange) WaitsFor() string {
	if e == nil {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.waitsFor
}

// restart begins the exchange again on another connection when net/http finds
// that the server has closed the warm one. It repeats what may have been written
// only if the method allows that, so that else nothing has left.
//
// net/http's target is not looked at: of a request through a proxy it is the
// proxy's.
func (e *Exchange) restart(string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == Waiting {
		return // for the first time, and the wait until now counts
	}
	e.sent = e.sent && e.replayable
	e.begun = time.Now()
	e.phase = Waiting
	e.dns, e.connect, e.tls, e.firstByte, e.reused = span{}, span{}, span{}, time.Time{}, false
}

// Resolve notes that the host's name is looked up.
func (e *Exchange) Resolve() {
	if e != nil {
		e.open(&e.dns, Resolving)
	}
}

// Resolved notes how the look-up ended.
func (e *Exchange) Resolved(err error) {
	if e != nil {
		e.shut(&e.dns, err)
	}
}

// Connect notes that a connection is being opened.
func (e *Exchange) Connect() {
	if e != nil {
		e.open(&e.connect, Connecting)
	}
}

// Connected notes how that ended.
func (e *Exchange) Connected(err error) {
	if e != nil {
		e.shut(&e.connect, err)
	}
}

// open begins a span, once: of the addresses that are tried in parallel the
// first one counts.
func (e *Exchange) open(s *span, p Phase) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.begin.IsZero() {
		s.begin = time.Now()
	}
	e.phase = max(e.phase, p)
}

func (e *Exchange) shut(s *span, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil && !s.begin.IsZero() && s.end.IsZero() {
		s.end = time.Now()
	}
}

func (e *Exchange) got(info httptrace.GotConnInfo) {
	e.mu.Lock()
	e.reused = info.Reused
	e.sent = true
	e.phase = max(e.phase, Sending)
	e.mu.Unlock()
	if e.connected != nil {
		e.connected(info.Reused)
	}
}

func (e *Exchange) wrote(info httptrace.WroteRequestInfo) {
	if info.Err == nil {
		e.Reach(Awaiting)
	}
}

func (e *Exchange) answered() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.firstByte = time.Now()
}

// Reach notes that the exchange has come to p, if it was not beyond it already.
func (e *Exchange) Reach(p Phase) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.phase = max(e.phase, p)
}

// Where returns the phase and the server's address.
func (e *Exchange) Where() (Phase, string) {
	if e == nil {
		return Waiting, ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.phase, e.target
}

// Sent reports whether something of the request may have reached the server.
func (e *Exchange) Sent() bool {
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sent
}

// Times returns where the time went so far.
func (e *Exchange) Times() Times {
	if e == nil {
		return Times{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	times := Times{FirstByte: span{e.begun, e.firstByte}.length(), Reused: e.reused}
	if !e.reused { // a dial that another connection overtook is not ours to report
		times.DNS, times.Connect, times.TLS = e.dns.length(), e.connect.length(), e.tls.length()
	}
	return times
}
