package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

const (
	pieceSize = 256 << 10
	// orderSize is that of the number of bytes that a source is asked for.
	orderSize = 8
)

// source is a server that sends as many bytes as it is asked for, again and
// again.
type source struct {
	listener net.Listener
	address  string
	ended    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // nil when closed
}

func newSource(ctx context.Context) (*source, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &source{listener: l, address: l.Addr().String(), conns: make(map[net.Conn]bool)}
	s.ended.Go(s.accept)
	return s, nil
}

func (s *source) accept() {
	piece := make([]byte, pieceSize)
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.keep(conn) {
			return
		}
		s.ended.Go(func() {
			defer s.drop(conn)
			_ = sendAll(conn, piece) // until the other end has enough
		})
	}
}

func (s *source) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *source) drop(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// sendAll sends pieces, as ordered. Nobody writes to piece.
func sendAll(conn net.Conn, piece []byte) error {
	var order [orderSize]byte
	for {
		if _, err := io.ReadFull(conn, order[:]); err != nil {
			return err
		}
		for left := binary.BigEndian.Uint64(order[:]); left > 0; {
			n, err := conn.Write(piece[:min(left, uint64(len(piece)))])
			if err != nil {
				return err
			}
			left -= uint64(n) //nolint:gosec // G115: what was written is not negative
		}
	}
}

func (s *source) close() error {
	err := s.listener.Close()
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for conn := range conns {
		_ = conn.Close()
	}
	s.ended.Wait()
	return err
}

// tunnel is a connection to a source.
type tunnel struct {
	conn net.Conn
	stop func() bool // ends the watch of the context
}

// open connects to target by CONNECT, or directly without a proxy.
func (p *throughProxy) open(ctx context.Context, target string) (t *tunnel, err error) {
	address := p.address
	if address == "" {
		address = target
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	t = &tunnel{conn: conn, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if p.address == "" {
		return t, nil
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", target); err != nil {
		return nil, err
	}
	reader := bufio.NewReaderSize(conn, 1<<10)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close() // there is none
	if response.StatusCode != http.StatusOK || reader.Buffered() > 0 {
		return nil, fmt.Errorf("the proxy answers %s", response.Status)
	}
	return t, nil
}

func (t *tunnel) close() {
	t.stop()
	_ = t.conn.Close()
}

// download has a source send n bytes by a tunnel of their own.
func (p *throughProxy) download(ctx context.Context, target string, n int64) error {
	t, err := p.open(ctx, target)
	if err != nil {
		return err
	}
	defer t.close()
	var order [orderSize]byte
	binary.BigEndian.PutUint64(order[:], uint64(n)) //nolint:gosec // G115: not negative
	if _, err := t.conn.Write(order[:]); err != nil {
		return err
	}
	buffer := make([]byte, min(n, pieceSize))
	for left := n; left > 0; {
		got, err := t.conn.Read(buffer[:min(left, int64(len(buffer)))])
		left -= int64(got)
		if err != nil && left > 0 {
			return errors.Join(err, fmt.Errorf("%d bytes are missing", left))
		}
	}
	return nil
}
