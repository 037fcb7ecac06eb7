package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// firstByteTimeout is how long a new connection may say nothing. Clients
	// speak first, at once.
	firstByteTimeout = 10 * time.Second
	// linkByte is the first one that a client of the link sends; one of gRPC
	// begins with "PRI".
	linkByte = 'g'
	// acceptPause is how long to wait when no connection can be accepted, for
	// want of descriptors say.
	acceptPause = 10 * time.Millisecond
	// complainEvery is how often that is logged.
	complainEvery = time.Second
)

// door sees to those who have come to a listener before the gRPC server, whose
// listener it is, gets to know of them.
type door struct {
	net.Listener

	// admit either hands a connection on, or serves or closes it.
	admit    func(ctx context.Context, conn net.Conn)
	logger   hclog.Logger
	grpc     chan net.Conn
	close    sync.Once
	reason   error          // why it is closed
	closed   chan struct{}  // after reason is set
	visitors sync.WaitGroup // and who admits them
}

// newDoor returns a door whose admit is to be set.
func newDoor(lis net.Listener, logger hclog.Logger) *door {
	return &door{Listener: lis, logger: logger, grpc: make(chan net.Conn), closed: make(chan struct{})}
}

// socketDoor tells apart who comes to the host's socket, by the first byte:
// those who do not speak gRPC are handed to link.
type socketDoor struct {
	*door

	link     func(net.Conn) // serves a connection
	patience time.Duration  // with who says nothing
}

func newSocketDoor(lis net.Listener, link func(net.Conn), logger hclog.Logger) *socketDoor {
	d := &socketDoor{door: newDoor(lis, logger), link: link, patience: firstByteTimeout}
	d.admit = d.sort
	return d
}

// open lets visitors in until the listener is closed. Those who have not said
// anything when ctx ends are sent away.
func (d *door) open(ctx context.Context) {
	d.visitors.Go(func() {
		var complained time.Time
		for {
			conn, err := d.Listener.Accept()
			switch {
			case err == nil:
				d.visitors.Go(func() { d.admit(ctx, conn) })
				continue
			case !isPassing(err):
				_ = d.shut(fmt.Errorf("accept: %w", err)) // which is worse than what Close may say
				return
			}
			if time.Since(complained) >= complainEvery {
				complained = time.Now()
				d.logger.Warn("connections have to wait", "err", err)
			}
			select {
			case <-time.After(acceptPause):
			case <-d.closed:
			}
		}
	})
}

// isPassing reports whether an error of accept(2) says nothing about the
// listener: there are too many descriptors or too little memory at the moment,
// or the caller has left.
func isPassing(err error) bool {
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// sort hands a connection to the server of its protocol.
func (d *socketDoor) sort(ctx context.Context, conn net.Conn) {
	first, err := d.first(ctx, conn)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		d.logger.Debug("connection closed: it said nothing", "after", d.patience.String())
		fallthrough
	case err != nil:
		_ = conn.Close()
		return
	case first == linkByte:
		d.link(conn)
		return
	}
	d.hand(conn)
}

// hand gives a connection to the gRPC server.
func (d *door) hand(conn net.Conn) {
	select {
	case d.grpc <- conn:
	case <-d.closed:
		_ = conn.Close()
	}
}

// first waits for the first byte that a connection says, which is not taken
// away, for as long as it may take.
func (d *socketDoor) first(ctx context.Context, conn net.Conn) (byte, error) {
	if err := conn.SetReadDeadline(time.Now().Add(d.patience)); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	b, err := peek(conn)
	if !stop() {
		return 0, ctx.Err()
	}
	return b, errors.Join(err, conn.SetReadDeadline(time.Time{}))
}

// peek waits for the first byte and leaves it where it is.
func peek(conn net.Conn) (first byte, err error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return 0, errors.New("not a socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var b [1]byte
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failed = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		return !errors.Is(failed, syscall.EAGAIN)
	})
	if err == nil && failed == nil && n == 0 {
		err = errors.New("closed before it said anything")
	}
	return b[0], errors.Join(err, failed)
}

// Accept returns the next connection that speaks gRPC.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.grpc:
		return conn, nil
	case <-d.closed:
		return nil, d.reason
	}
}

// Close lets nobody in any more.
func (d *door) Close() error { return d.shut(net.ErrClosed) }

func (d *door) shut(reason error) (err error) {
	d.close.Do(func() {
		d.reason = reason
		close(d.closed)
		err = d.Listener.Close()
	})
	return err
}
