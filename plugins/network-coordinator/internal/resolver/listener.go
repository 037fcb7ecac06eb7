package resolver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gaia-go/gaia/sdk"
	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxPending   = 4096 // questions by UDP that wait for upstream; each takes some 4 KB
	maxTCP       = 256  // connections of programs
	tcpTimeout   = 10 * time.Second
	maxTCPQuery  = 4096 // bytes, ten times of what a long one has
	maxTCPAnswer = 1<<16 - 1

	shortOfMemory = 20 * time.Millisecond // that the system gets to find some
)

// listener answers programs by UDP and TCP.
type listener struct {
	resolver *Resolver
	udp      *net.UDPConn
	tcp      net.Listener
	pending  chan struct{} // a place for each question that waits
	conns    chan struct{} // a place for each connection
	wg       sync.WaitGroup
}

// listen starts a listener that ends with life, when close is called.
func listen(life context.Context, r *Resolver, at netip.AddrPort) (*listener, error) {
	open := r.reader.options.Sockets
	if open == nil {
		open = OpenSockets
	}
	tcp, udp, err := open(life, at)
	if err != nil {
		return nil, sdk.Invalid("resolver.listen", "nobody can listen at %v: %v; write another port, or end the program that has it", at, err)
	}
	_ = udp.SetReadBuffer(1 << 20) // a burst of some 1,400 packets; the system may give less
	l := &listener{
		resolver: r,
		udp:      udp,
		tcp:      tcp,
		pending:  make(chan struct{}, maxPending),
		conns:    make(chan struct{}, maxTCP),
	}
	batch, err := newBatch(udp)
	if err != nil {
		return nil, errors.Join(err, tcp.Close(), udp.Close())
	}
	l.wg.Go(func() { l.serveUDP(life, batch) })
	l.wg.Go(func() { l.serveTCP(life) })
	return l, nil
}

// OpenSockets opens both sockets at one address. With port 0 UDP takes what TCP
// was given.
func OpenSockets(ctx context.Context, at netip.AddrPort) (*net.TCPListener, *net.UDPConn, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, nil, err
	}
	packets, err := config.ListenPacket(ctx, "udp", listener.Addr().String())
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	tcp, _ := listener.(*net.TCPListener) // they are these
	udp, _ := packets.(*net.UDPConn)
	return tcp, udp, nil
}

// Addr is where programs are answered; not valid without `listen`.
func (r *Resolver) Addr() netip.AddrPort {
	if r.door == nil {
		return netip.AddrPort{}
	}
	at, _ := r.door.udp.LocalAddr().(*net.UDPAddr)
	return at.AddrPort()
}

func (l *listener) close() {
	_ = l.udp.Close()
	_ = l.tcp.Close()
	l.wg.Wait()
}

// serveUDP answers packets until the socket is closed. A packet at a time is
// slow: as many are read as are there, and answered together.
func (l *listener) serveUDP(life context.Context, b *batch) {
	var q asked
	for {
		n, err := b.read()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause(life, shortOfMemory)
		}
		for i := range n {
			msg := b.packet(i)
			answer, wait := l.handle(life, &q, msg, b.room(i), false)
			if wait {
				l.later(life, &q, b.from(i))
				continue
			}
			b.answer(i, answer)
		}
		b.send()
	}
}

// handle answers what can be answered at once, in the room that it is given. It
// returns nothing for what gets no answer, and wait for what upstream has to be
// asked.
func (l *listener) handle(life context.Context, q *asked, msg, room []byte, tcp bool) (answer []byte, wait bool) {
	r := l.resolver
	code, ok := q.read(msg)
	switch {
	case !ok:
		return nil, false
	case code != 0:
		return q.appendError(room, code), false
	}
	now := r.now()
	e := r.local(q.key, now)
	if e == nil {
		f := r.cache.get(q.key, now)
		if f.refresh {
			r.refresh(life, q.key)
		}
		e = f.entry
	}
	switch allow := r.reader.options.Allow; {
	case e != nil:
		return l.reply(q, room, e, tcp), false
	case allow == nil || allow(text(q.key)):
		return nil, true
	}
	r.counts.refused.Add(1)
	return q.appendError(room, dnsmessage.RCodeRefused), false
}

// reply appends e as the answer to q, and counts it.
func (l *listener) reply(q *asked, room []byte, e *entry, tcp bool) []byte {
	r := l.resolver
	if e.refused() {
		r.counts.refused.Add(1)
		return q.appendError(room, dnsmessage.RCodeRefused)
	}
	r.counts.answered.Add(1)
	return q.appendAnswer(room, e, r.now(), q.limit(tcp))
}

// limit is how long an answer may be.
func (q *asked) limit(tcp bool) int {
	if tcp {
		return maxTCPAnswer
	}
	return min(q.size, bufferSize)
}

// later answers q when upstream has.
func (l *listener) later(life context.Context, q *asked, from netip.AddrPort) {
	select {
	case l.pending <- struct{}{}:
	default:
		_, _ = l.udp.WriteToUDPAddrPort(q.appendError(nil, dnsmessage.RCodeServerFailure), from)
		return
	}
	own := q.clone()
	l.wg.Go(func() {
		defer func() { <-l.pending }()
		_, _ = l.udp.WriteToUDPAddrPort(l.wait(life, own, false), from)
	})
}

// clone returns a copy that is independent of the query.
func (q *asked) clone() *asked {
	own := *q
	own.question = bytes.Clone(q.question)
	own.key = own.buf[:len(q.key)]
	return &own
}

// wait answers q from upstream.
func (l *listener) wait(life context.Context, q *asked, tcp bool) []byte {
	r := l.resolver
	r.counts.misses.Add(1)
	f, e, err := r.start(life, q.key, false)
	if f != nil {
		<-f.done // it ends with life, too
		e = f.entry
	}
	if err != nil {
		return q.appendError(nil, dnsmessage.RCodeServerFailure)
	}
	return l.reply(q, nil, e, tcp)
}

// serveTCP accepts connections until the listener is closed.
func (l *listener) serveTCP(life context.Context) {
	for {
		conn, err := l.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause(life, shortOfMemory) // or of descriptors
			continue
		}
		select {
		case l.conns <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		l.wg.Go(func() {
			defer func() { <-l.conns }()
			defer conn.Close() //nolint:errcheck // all is written
			defer context.AfterFunc(life, func() { _ = conn.Close() })()
			l.converse(life, conn)
		})
	}
}

func pause(life context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-life.Done():
	}
}

// converse answers the questions of one connection, one after the other, until
// it ends or nothing whole has come in time.
func (l *listener) converse(life context.Context, conn net.Conn) {
	var q asked
	var size [2]byte
	for {
		if conn.SetDeadline(time.Now().Add(tcpTimeout)) != nil {
			return
		}
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint16(size[:])
		if n > maxTCPQuery {
			return
		}
		msg := make([]byte, n)
		if _, err := io.ReadFull(conn, msg); err != nil {
			return
		}
		answer, wait := l.handle(life, &q, msg, nil, true)
		if wait {
			answer = l.wait(life, &q, true)
		}
		if len(answer) == 0 || conn.SetDeadline(time.Now().Add(tcpTimeout)) != nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil { //nolint:gosec // maxTCPAnswer
			return
		}
	}
}
