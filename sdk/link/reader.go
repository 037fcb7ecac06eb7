package link

import (
	"net"
)

// minRead and maxRead bound the buffer of a reader, in bytes. It grows with
// what comes at once: most connections are quiet.
const (
	minRead = 8 << 10
	maxRead = 256 << 10
)

// reader takes frames from a connection, many with one read.
type reader struct {
	conn       net.Conn
	buf        []byte
	start, end int // of what is not taken yet, in buf
}

// next returns the next frame that was read already. It reports false when
// there is none; then fill reads more. The frame is valid until fill.
func (r *reader) next() (f frame, ok bool, err error) {
	f, n, err := parseFrame(r.buf[r.start:r.end])
	r.start += n
	return f, n > 0, err
}

// fill waits for more bytes.
func (r *reader) fill() error {
	r.makeRoom()
	n, err := r.conn.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}

// makeRoom moves the beginning of a frame to the front, and takes a larger buffer if
// the last read has filled the one there is.
func (r *reader) makeRoom() {
	rest := r.buf[r.start:r.end]
	into := r.buf
	if full := r.end == len(r.buf); full && len(r.buf) < maxRead {
		into = make([]byte, min(max(minRead, 2*len(r.buf)), maxRead))
	}
	r.start, r.end = 0, copy(into, rest)
	r.buf = into
}
