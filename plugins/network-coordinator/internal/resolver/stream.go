package resolver

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// stream asks by TCP or TLS. One connection carries many questions at once and
// is kept, RFC 7766 section 6.2.
type stream struct {
	dial func(ctx context.Context) (net.Conn, error)
	idle time.Duration
	turn chan struct{} // held by who opens a connection
	wg   sync.WaitGroup

	mu     sync.Mutex
	pipe   *pipe // nil: none is open
	closed bool
}

// idleTimeout is how long an unused connection is kept. RFC 7766 asks for a few
// seconds, so that servers do not have to close them.
const idleTimeout = 10 * time.Second

func newStream(e endpoint, s settings) *stream {
	var dialer net.Dialer
	t := &stream{idle: max(idleTimeout, 2*s.timeout), turn: make(chan struct{}, 1)}
	t.dial = func(ctx context.Context) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", e.addr.String())
	}
	if e.scheme == "tls" {
		config := &tls.Config{
			ServerName: orElse(e.name, e.addr.Addr().String()),
			RootCAs:    s.roots,
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"dot"},
		}
		t.dial = func(ctx context.Context) (net.Conn, error) {
			return (&tls.Dialer{NetDialer: &dialer, Config: config}).DialContext(ctx, "tcp", e.addr.String())
		}
	}
	return t
}

func (s *stream) exchange(ctx context.Context, query []byte) ([]byte, error) {
	for {
		p, used, err := s.open(ctx)
		if err != nil {
			return nil, err
		}
		msg, err := p.ask(ctx, bytes.Clone(query))
		switch {
		case err == nil:
			return msg, nil
		case ctx.Err() != nil:
			s.leave(p) // it may hang for others, too
			return nil, ctx.Err()
		}
		s.leave(p)
		if !used {
			return nil, err // a kept one may have been closed by the server at any time
		}
	}
}

// open returns a connection, and whether it has been used before.
func (s *stream) open(ctx context.Context) (p *pipe, used bool, err error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	defer func() { <-s.turn }()
	if p := s.kept(); p != nil {
		return p, true, nil
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	p = &pipe{conn: conn, idle: s.idle, ended: make(chan struct{}), waiting: map[uint16]chan<- []byte{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, errors.Join(ErrClosed, conn.Close())
	}
	s.pipe = p
	s.wg.Go(func() {
		p.read()
		s.leave(p)
	})
	return p, false, nil
}

func (s *stream) kept() *pipe {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pipe
}

// leave makes the next question open another connection than p, which ends when
// nobody waits for it any more.
func (s *stream) leave(p *pipe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == p {
		s.pipe = nil
	}
	p.retire()
}

func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	p := s.pipe
	s.pipe = nil
	s.mu.Unlock()
	if p != nil {
		_ = p.conn.Close() // ends its reader
	}
	s.wg.Wait()
}

// pipe is one connection.
type pipe struct {
	conn  net.Conn
	idle  time.Duration
	ended chan struct{} // closed when nothing comes any more

	writing sync.Mutex // whole messages only

	mu      sync.Mutex
	waiting map[uint16]chan<- []byte
	retired bool
}

// ask sends query, which it writes an id to, and waits for the answer.
func (p *pipe) ask(ctx context.Context, query []byte) ([]byte, error) {
	answer := make(chan []byte, 1) // the reader waits for nobody
	id := p.enter(answer)
	defer p.exit(id)
	binary.BigEndian.PutUint16(query, id)
	if err := p.write(ctx, query); err != nil {
		return nil, err
	}
	select {
	case msg := <-answer:
		return check(msg, query)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.ended:
	}
	select { // it may have come just before the end
	case msg := <-answer:
		return check(msg, query)
	default:
		return nil, io.ErrUnexpectedEOF
	}
}

// check returns msg if it answers query. Over a connection anything else is a
// fault of the server.
func check(msg, query []byte) ([]byte, error) {
	if fitOf(msg, query) == fitsNot {
		return nil, errMalformed
	}
	return msg, nil
}

func (p *pipe) write(ctx context.Context, query []byte) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	deadline, _ := ctx.Deadline()
	if err := p.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if err := p.conn.SetReadDeadline(time.Now().Add(p.idle)); err != nil {
		return err
	}
	_, err := p.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)) //nolint:gosec // below 300
	return err
}

func (p *pipe) enter(answer chan<- []byte) uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		// Only the server sees it: it is to be free, not secret.
		id := uint16(rand.Uint32()) //nolint:gosec // see above
		if _, taken := p.waiting[id]; !taken {
			p.waiting[id] = answer
			return id
		}
	}
}

func (p *pipe) exit(id uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
	if p.retired && len(p.waiting) == 0 {
		_ = p.conn.Close() // its reader does not wait for the end of idle
	}
}

// retire closes the connection as soon as nobody waits for it.
func (p *pipe) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	if len(p.waiting) == 0 {
		_ = p.conn.Close()
	}
}

// read hands out answers until the connection ends, or nothing has come or gone
// for as long as idle.
func (p *pipe) read() {
	defer close(p.ended)
	defer p.conn.Close() //nolint:errcheck // nothing is buffered
	var size [2]byte
	for {
		if _, err := io.ReadFull(p.conn, size[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(p.conn, msg); err != nil || len(msg) < headerSize {
			return
		}
		if p.conn.SetReadDeadline(time.Now().Add(p.idle)) != nil {
			return
		}
		id := binary.BigEndian.Uint16(msg)
		p.mu.Lock()
		answer := p.waiting[id]
		delete(p.waiting, id)
		p.mu.Unlock()
		if answer != nil {
			answer <- msg
		}
	}
}
