// Package proxy is the door for programs that speak no gRPC: HTTP CONNECT, plain
// HTTP and SOCKS5 on one address, told apart by the first byte.
//
// A connection is a session: it reads a head or a greeting within bounds of size
// and time, asks who that is (gate), opens a connection to the host by way of
// conn.Table, where the rules and limits are, and then carries bytes.
package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
)

const (
	headTime  = 10 * time.Second // for a head or a greeting
	awaitTime = 60 * time.Second // for the next request on a connection
	firstTime = time.Second      // for the first request of those who connected before Drain

	// MaxWaiting is how many connections there may be beyond those that carry
	// something: such that have said nothing yet, or wait for their next request.
	MaxWaiting = 1000
)

// Server answers the programs that connect to its listeners. It is safe for
// concurrent use.
type Server struct {
	table *conn.Table
	gate  atomic.Pointer[Gate]
	me    string // in Via: a request that comes back is known by it

	headTime, awaitTime, firstTime time.Duration

	readers sync.Pool // of *reader
	copier  copier

	mu       sync.Mutex
	sessions map[*session]struct{}
	draining chan struct{} // by Drain, which it ends: closed when there is no session; nil before
	closed   bool
	running  sync.WaitGroup
}

// New returns a server that lets nobody in before SetGate. The caller closes it.
func New(table *conn.Table) *Server {
	id := make([]byte, 8)
	_, _ = rand.Read(id) // it never fails
	s := &Server{
		table: table, me: "gaia-" + hex.EncodeToString(id),
		headTime: headTime, awaitTime: awaitTime, firstTime: firstTime,
		sessions: map[*session]struct{}{},
	}
	s.gate.Store(&Gate{})
	return s
}

// SetGate says who may use the server from now on.
func (s *Server) SetGate(gate *Gate) { s.gate.Store(gate) }

// Serve answers the connections of a listener until it is closed (nil) or fails
// for good. Sessions go on after it; Close ends them.
func (s *Server) Serve(ctx context.Context, listener *net.TCPListener) error {
	var pause time.Duration
	for {
		accepted, err := listener.AcceptTCP()
		switch {
		case err == nil:
			pause = 0
			s.begin(ctx, accepted)
		case errors.Is(err, net.ErrClosed):
			return nil
		case !passes(err):
			return err
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if !wait(ctx, pause) {
				return nil
			}
		}
	}
}

// begin starts a session, or says that there are too many.
func (s *Server) begin(ctx context.Context, accepted *net.TCPConn) {
	sess := &session{server: s, client: accepted}
	s.mu.Lock()
	full := len(s.sessions) >= s.gate.Load().MaxConnections+MaxWaiting
	if s.closed || full {
		s.mu.Unlock()
		if full {
			_ = accepted.SetWriteDeadline(time.Now().Add(time.Millisecond)) // it is empty: one write does not block
			_, _ = accepted.Write(tooMany().bytes(true))
		}
		_ = accepted.Close()
		return
	}
	s.sessions[sess] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		sess.serve(ctx)
		s.mu.Lock()
		delete(s.sessions, sess)
		s.tellDrain()
		s.mu.Unlock()
	}()
}

// Drain returns when all sessions have ended, or ctx has. Those that wait for
// their next request end at once, the others with what they do. Who has just
// connected is answered: a client does not ask again where nothing came back. No
// Serve is under way any more.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	drained := s.draining
	if drained == nil {
		drained = make(chan struct{})
		s.draining = drained
		s.tellDrain()
	}
	s.mu.Unlock()
	s.end(func(sess *session) bool { return sess.phase.Load() == waiting })
	first := time.NewTimer(s.firstTime)
	defer first.Stop()
	for {
		select {
		case <-drained:
			return nil
		case <-first.C:
			s.end(func(sess *session) bool { return sess.phase.Load() != busy })
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tellDrain ends a Drain if there is no session. The lock is held.
func (s *Server) tellDrain() {
	if s.draining != nil && len(s.sessions) == 0 {
		select {
		case <-s.draining:
		default:
			close(s.draining)
		}
	}
}

// Close ends all sessions and waits for them. The table is closed before.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(func(*session) bool { return true })
	s.running.Wait()
}

func (s *Server) end(which func(*session) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sess := range s.sessions {
		if which(sess) {
			_ = sess.client.Close()
		}
	}
}

func (s *Server) quitting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed || s.draining != nil
}

// reader lends a reader on a connection, until giveBack.
func (s *Server) reader(from io.Reader) *reader {
	b, _ := s.readers.Get().(*reader)
	if b == nil {
		b = &reader{}
	}
	b.reset(from)
	return b
}

func (s *Server) giveBack(b *reader) {
	b.from = nil
	s.readers.Put(b)
}

// wait waits, and reports false if ctx ends before.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
