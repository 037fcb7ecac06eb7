// Package relay moves bytes from one TCP connection to another and holds neither
// buffers nor pipes while nothing moves. Little is copied, which is cheapest;
// much is spliced where the system can, two system calls for up to a MiB that
// no program sees.
package relay

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/shape"
	"golang.org/x/sys/unix"
)

// Direction is one way of a tunnel.
type Direction struct {
	From, To *net.TCPConn
	Count    *atomic.Uint64 // bytes that To has taken
	Meter    *shape.Meter
}

const (
	chunk      = 1 << 20  // most bytes of one move; Linux gives a pipe no more without privilege
	bufferSize = 16 << 10 // what a record of TLS takes, mostly
)

// Relay owns what moves share. Its zero value is ready for use; who has used it
// closes it.
type Relay struct {
	pipes   pipes
	buffers sync.Pool // of *[bufferSize]byte
}

// Close closes the idle pipes. No Move is under way any more.
func (r *Relay) Close() { r.pipes.close() }

// Move carries bytes until From has ended (nil), one of the connections fails or
// is closed, or ctx ends while the meter waits. It closes nothing.
func (r *Relay) Move(ctx context.Context, d Direction) error {
	from, err := d.From.SyscallConn()
	if err != nil {
		return err
	}
	to, err := d.To.SyscallConn()
	if err != nil {
		return err
	}
	m := mover{Direction: d, relay: r, from: from, to: to}
	m.bind()
	for {
		n, err := m.step(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
}

// mover is a Move under way.
type mover struct {
	Direction

	relay    *Relay
	from, to syscall.RawConn
	polled   [1]unix.PollFd
	ready    func(fd uintptr) bool // isReady, bound once
	read     func(fd uintptr) bool // intoBuffer, bound once
	buffer   *[bufferSize]byte     // lent while bytes are in it
	want     int                   // bytes of this move, at most
	in       int                   // bytes that have been read of it
	fault    error                 // of this move

	splicer
}

// step moves some bytes and says how many; 0 is the end of From.
func (m *mover) step(ctx context.Context) (int, error) {
	if m.Meter.Limited() {
		return m.measured(ctx)
	}
	n, err := m.move(chunk)
	m.Count.Add(uint64(n)) //nolint:gosec // a count of bytes is not negative
	if err == nil {
		err = m.Meter.Pay(ctx, n) // a limit may have been set while nothing moved
	}
	return n, err
}

// measured is step within a limit. What is granted is taken from others, so there
// has to be something to move before.
func (m *mover) measured(ctx context.Context) (int, error) {
	if err := m.await(); err != nil {
		return 0, err
	}
	granted, err := m.Meter.Take(ctx, chunk)
	if err != nil {
		return 0, err
	}
	n, err := m.move(granted)
	if n < granted {
		m.Meter.Return(granted - n)
	}
	m.Count.Add(uint64(n)) //nolint:gosec // a count of bytes is not negative
	return n, err
}

// copy moves up to want bytes through a buffer.
func (m *mover) copy(want int) (int, error) {
	m.want, m.in, m.fault = min(want, bufferSize), 0, nil
	if err := m.from.Read(m.read); err != nil {
		return 0, err
	}
	if m.fault != nil {
		return 0, os.NewSyscallError("read", m.fault)
	}
	defer m.putBuffer()
	if m.in == 0 {
		return 0, nil
	}
	return m.To.Write(m.buffer[:m.in])
}

// intoBuffer reports whether it is done: bytes are in the buffer, or From has
// ended or failed. While it waits it holds no buffer.
func (m *mover) intoBuffer(fd uintptr) bool {
	if m.buffer, _ = m.relay.buffers.Get().(*[bufferSize]byte); m.buffer == nil {
		m.buffer = new([bufferSize]byte)
	}
	n, err := unix.Read(int(fd), m.buffer[:m.want])
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(int(fd), m.buffer[:m.want])
	}
	if err == nil {
		m.in = n
		return true
	}
	m.putBuffer()
	if errors.Is(err, unix.EAGAIN) {
		return false
	}
	m.fault = err
	return true
}

func (m *mover) putBuffer() {
	m.relay.buffers.Put(m.buffer)
	m.buffer = nil
}

// await waits until From has something to read, be it its end.
func (m *mover) await() error { return m.from.Read(m.ready) }

func (m *mover) isReady(fd uintptr) bool {
	m.polled[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN} //nolint:gosec // the system's descriptors fit
	n, err := unix.Poll(m.polled[:], 0)
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

// Quiet reports whether there is nothing to read on c: no bytes, no end and no
// fault.
func Quiet(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // the system's descriptors fit
		n, err := unix.Poll(polled, 0)
		quiet = n == 0 && err == nil
	})
	return err == nil && quiet
}
