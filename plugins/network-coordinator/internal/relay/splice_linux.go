package relay

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxPipes of a MiB are what Linux gives an unprivileged user in all
// (pipe-user-pages-soft); beyond that every pipe is slow, those of other programs
// too. Who finds none copies.
const maxPipes = 64

// pipe is empty whenever nobody holds it.
type pipe struct{ r, w int }

// pipes lends pipes to those who move bytes at the moment.
type pipes struct {
	mu   sync.Mutex
	idle []pipe
	made int // idle or lent
}

// get lends a pipe, and reports false if there is none.
func (p *pipes) get() (pipe, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.idle) - 1; last >= 0 {
		found := p.idle[last]
		p.idle = p.idle[:last]
		return found, true
	}
	var fds [2]int
	if p.made == maxPipes || unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return pipe{}, false
	}
	p.made++
	// Refused, the pipe is smaller, and no less right.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, chunk)
	return pipe{r: fds[0], w: fds[1]}, true
}

func (p *pipes) put(empty pipe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, empty)
}

// drop closes a pipe with bytes in it.
func (p *pipes) drop(full pipe) {
	p.mu.Lock()
	p.made--
	p.mu.Unlock()
	full.close()
}

func (p *pipes) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, idle := range p.idle {
		idle.close()
	}
	p.made -= len(p.idle)
	p.idle = nil
}

func (p pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// splicer is the part of a mover that knows pipes.
type splicer struct {
	fill, drain func(fd uintptr) bool // intoPipe and outOfPipe, bound once
	pipe        pipe
	lent        bool
	out         int  // bytes of this move that came out of the pipe
	much        bool // the last move had as much as a buffer takes
	copies      bool // this pair of connections cannot be spliced
}

func (m *mover) bind() {
	m.ready, m.read, m.fill, m.drain = m.isReady, m.intoBuffer, m.intoPipe, m.outOfPipe
}

// move copies up to want bytes, or splices them once there are many.
func (m *mover) move(want int) (int, error) {
	if m.copies || !m.much {
		n, err := m.copy(want)
		m.much = n == bufferSize
		return n, err
	}
	n, err := m.splice(want)
	m.much = n >= littleSplice
	return n, err
}

// littleSplice bytes are better copied the next time.
const littleSplice = 4 << 10

// splice moves up to want bytes through a pipe, or copies where there is none.
func (m *mover) splice(want int) (int, error) {
	m.want, m.in, m.out, m.fault = want, 0, 0, nil
	if err := m.from.Read(m.fill); err != nil {
		return 0, err
	}
	switch {
	case errors.Is(m.fault, unix.EINVAL):
		m.copies = true
		return m.copy(want)
	case m.fault != nil:
		return 0, os.NewSyscallError("splice", m.fault)
	case !m.lent:
		return m.copy(want)
	}
	var err error
	if m.in > 0 {
		if err = m.to.Write(m.drain); err == nil && m.fault != nil {
			err = os.NewSyscallError("splice", m.fault)
		}
	}
	m.giveBack()
	return m.out, err
}

func (m *mover) giveBack() {
	m.lent = false
	if m.in == m.out {
		m.relay.pipes.put(m.pipe)
	} else {
		m.relay.pipes.drop(m.pipe)
	}
}

// intoPipe reports whether it is done: bytes are in the pipe, From has ended or
// failed, or no pipe is free. While it waits it holds none.
func (m *mover) intoPipe(fd uintptr) bool {
	if m.pipe, m.lent = m.relay.pipes.get(); !m.lent {
		return true
	}
	n, err := splice(int(fd), m.pipe.w, m.want)
	if err == nil {
		m.in = n
		return true
	}
	m.giveBack()
	if errors.Is(err, unix.EAGAIN) {
		return false
	}
	m.fault = err
	return true
}

// outOfPipe reports whether it is done: the pipe is empty, or To has failed.
func (m *mover) outOfPipe(fd uintptr) bool {
	for m.out < m.in {
		n, err := splice(m.pipe.r, int(fd), m.in-m.out)
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		if err != nil {
			m.fault = err
			return true
		}
		m.out += n
	}
	return true
}

func splice(from, to, most int) (int, error) {
	for {
		n, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if !errors.Is(err, unix.EINTR) {
			return int(n), err
		}
	}
}
