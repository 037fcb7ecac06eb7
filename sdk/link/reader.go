package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"syscall"
)

const (
	// minRead and maxRead bound the buffer of a reader, in bytes. It grows with
	// what comes at once: most connections are quiet.
	minRead = 8 << 10
	maxRead = 256 << 10
	// maxReads is how often is read, as long as something is there, before what
	// came of it is sent.
	maxReads = 4
)

// reader takes frames from a connection, many with one read.
type reader struct {
	conn       net.Conn
	raw        syscall.RawConn
	now        attempt
	buf        []byte
	start, end int // of what is not taken yet, in buf
	reads      int // since the batch was flushed
}

// attach makes conn what is read from.
func (r *reader) attach(conn net.Conn, raw syscall.RawConn) {
	r.conn, r.raw = conn, raw
	r.now.run = func(fd uintptr) bool {
		r.now.n, r.now.err = tryRead(fd, r.now.data)
		return true // if nothing is there we have something else to do
	}
}

// next returns the next frame that was read already. It reports false when
// there is none; then fill reads more. The frame is valid until fill.
func (r *reader) next() (f frame, ok bool, err error) {
	f, n, err := parseFrame(r.buf[r.start:r.end])
	r.start += n
	return f, n > 0, err
}

// fill reads more. Only when it has to wait for it, or when much has been read
// already, is the batch flushed: so what a busy peer sends in pieces goes on in
// one.
func (r *reader) fill(b *Batch) error {
	r.makeRoom()
	if r.reads++; r.reads < maxReads {
		switch n, err := r.try(); {
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			return err
		case n == 0:
			return io.EOF
		default:
			r.end += n
			return nil
		}
	}
	b.flush()
	r.reads = 0
	n, err := r.conn.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}

// try reads what is there.
func (r *reader) try() (n int, err error) {
	r.now.data = r.buf[r.end:]
	if err := r.raw.Read(r.now.run); err != nil {
		return 0, err
	}
	r.now.data = nil
	return r.now.n, r.now.err
}

// reason is why no more could be read: rather why we have closed the connection
// than that it is closed.
func (r *reader) reason(err error, o *outbox) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if r.end > r.start && errors.Is(err, io.EOF) {
		return errors.New("the connection ended in the middle of a frame")
	}
	return err
}

var errPanicked = errors.New("internal: panic on the reader of a connection")

// endOnPanic turns a panic of who is called by a reader into the end of its
// connection: others do not have to pay for it. It is deferred.
func endOnPanic(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v\n%s", errPanicked, p, debug.Stack())
	}
}

// makeRoom moves the beginning of a frame to the front, and takes a larger
// buffer if the last read has filled the one there is.
func (r *reader) makeRoom() {
	rest := r.buf[r.start:r.end]
	into := r.buf
	if full := r.end == len(r.buf); full && len(r.buf) < maxRead {
		into = make([]byte, min(max(minRead, 2*len(r.buf)), maxRead))
	}
	r.start, r.end = 0, copy(into, rest)
	r.buf = into
}
