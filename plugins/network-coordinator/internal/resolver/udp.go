package resolver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// udp asks by packets, and by TCP what does not fit into one.
type udp struct {
	address string
	tcp     *stream
	timeout time.Duration
}

func newUDP(e endpoint, s settings) *udp {
	return &udp{address: e.addr.String(), tcp: newStream(e, s), timeout: s.timeout}
}

func (u *udp) close() { u.tcp.close() }

func (u *udp) exchange(ctx context.Context, query []byte) ([]byte, error) {
	msg, err := u.ask(ctx, query)
	if errors.Is(err, errTruncated) {
		return u.tcp.exchange(ctx, query)
	}
	return msg, err
}

// ask sends query by a socket of its own: the system chooses a source port at
// random, and lets packets of the server only through.
func (u *udp) ask(ctx context.Context, query []byte) ([]byte, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "udp", u.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is buffered
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	disguised := bytes.Clone(query)
	disguise(disguised)
	w := &wait{conn: conn, query: disguised}
	// Packets get lost: it is sent up to three times in the time there is.
	for _, part := range []time.Duration{4, 4, 2} {
		if _, err := conn.Write(disguised); err != nil {
			return nil, w.fault(ctx, err)
		}
		msg, err := w.read(u.timeout / part)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return msg, w.fault(ctx, err)
		}
	}
	return nil, w.fault(ctx, context.DeadlineExceeded)
}

// wait is one question and what came back so far.
type wait struct {
	conn    net.Conn
	query   []byte
	ignored int // packets that are no answer
	buf     [4096]byte
}

// read returns the answer, or errTruncated if it has to be asked for by TCP. It
// ignores what anybody could have sent who does not see the question.
func (w *wait) read(limit time.Duration) ([]byte, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	for {
		n, err := w.conn.Read(w.buf[:])
		if err != nil {
			return nil, err
		}
		msg := w.buf[:n]
		switch fitOf(msg, w.query) {
		case fitsNot:
			w.ignored++
		case fitsName:
			// A server that changes letters, or a lucky guess.
			return nil, errTruncated
		case fitsAll:
			if msg[2]&2 != 0 || n == len(w.buf) {
				return nil, errTruncated
			}
			return msg, nil
		}
	}
}

// fault adds to err what was ignored, and whether it was time that ran out.
func (w *wait) fault(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, errTruncated) {
		return err
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if w.ignored > 0 {
		err = fmt.Errorf("%w; %d packets were no answer to the question", err, w.ignored)
	}
	return err
}
