package proxy

import (
	"bytes"
	"errors"
	"io"
)

const (
	smallBuffer = 4 << 10
	maxHead     = 64 << 10 // of a head of HTTP with all its fields
	maxConnect  = 8 << 10  // of the head of a CONNECT
	maxLine     = 4 << 10  // of a chunk's size with its extensions
)

var (
	errBareLF  = errors.New("a line ends in LF without CR")
	errTooLong = errors.New("too long")
)

// reader reads heads, lines and bodies from a connection. Its buffer grows with
// what has to be seen as a whole, up to maxHead.
type reader struct {
	from io.Reader
	buf  []byte
	r, w int // what is in buf and not yet read
}

// reset gives the reader another source and forgets what it has.
func (b *reader) reset(from io.Reader) {
	if cap(b.buf) == 0 || cap(b.buf) > 4*smallBuffer {
		b.buf = make([]byte, smallBuffer)
	}
	b.from, b.r, b.w = from, 0, 0
}

// buffered returns what was received and not yet read.
func (b *reader) buffered() []byte { return b.buf[b.r:b.w] }

// fill receives more, at least a byte unless it returns an error.
func (b *reader) fill() error {
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
	if b.w == len(b.buf) {
		switch {
		case b.r > 0:
			b.w = copy(b.buf, b.buf[b.r:b.w])
			b.r = 0
		case len(b.buf) >= maxHead+smallBuffer:
			return errTooLong
		default:
			b.buf = append(b.buf, make([]byte, min(len(b.buf), maxHead+smallBuffer-len(b.buf)))...)
		}
	}
	n, err := b.from.Read(b.buf[b.w:])
	b.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// peek returns the next byte without reading it.
func (b *reader) peek() (byte, error) {
	for b.r == b.w {
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	return b.buf[b.r], nil
}

// full reads exactly len(p) bytes.
func (b *reader) full(p []byte) error {
	_, err := io.ReadFull(b, p)
	return err
}

// Read reads what is there, from the connection if there is nothing.
func (b *reader) Read(p []byte) (int, error) {
	if b.r == b.w {
		return b.from.Read(p)
	}
	n := copy(p, b.buf[b.r:b.w])
	b.r += n
	return n, nil
}

// head reads up to and including an empty line, at most limit bytes; empty lines
// before it are skipped (RFC 9112, section 2.2). The end of the connection before
// the first byte is io.EOF.
func (b *reader) head(limit int) (string, error) {
	begin, seen := true, 0 // of b.buffered(), how much has no end of the head
	for {
		rest := b.buffered()[seen:]
		lf := bytes.IndexByte(rest, '\n')
		if lf < 0 {
			if len(b.buffered()) > limit {
				return "", errTooLong
			}
			if err := b.fill(); err != nil {
				return "", b.cut(err)
			}
			continue
		}
		at := seen + lf
		line := b.buffered()[seen : at+1]
		if len(line) < 2 || line[len(line)-2] != '\r' {
			return "", errBareLF
		}
		switch {
		case len(line) > 2:
			begin, seen = false, at+1
		case begin:
			b.r += 2
		default:
			head := string(b.buffered()[:at+1])
			b.r += at + 1
			if len(head) > limit {
				return "", errTooLong
			}
			return head, nil
		}
		if seen > limit {
			return "", errTooLong
		}
	}
}

// line reads a line without its CRLF. It is valid until the next call.
func (b *reader) line(limit int) ([]byte, error) {
	for {
		lf := bytes.IndexByte(b.buffered(), '\n')
		switch {
		case lf > limit || lf < 0 && len(b.buffered()) > limit:
			return nil, errTooLong
		case lf == 0 || lf > 0 && b.buffered()[lf-1] != '\r':
			return nil, errBareLF
		case lf > 0:
			line := b.buffered()[:lf-1]
			b.r += lf + 1
			return line, nil
		}
		if err := b.fill(); err != nil {
			return nil, b.cut(err)
		}
	}
}

// cut makes the end of a connection in the middle of something an error of its
// own.
func (b *reader) cut(err error) error {
	if errors.Is(err, io.EOF) && len(b.buffered()) > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}
