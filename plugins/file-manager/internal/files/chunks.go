package files

import (
	"errors"
	"io"
	"sync"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc"
)

// chunks are the buffers of streams, kept for reuse.
type chunks struct{ pool sync.Pool }

func (c *chunks) get() *[]byte {
	if buf, ok := c.pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, chunk)
	return &buf
}

// sender sends content in messages of a chunk. The first has the entry. It belongs
// to one goroutine.
type sender struct {
	stream  grpc.ServerStreamingServer[filev1.ReadResponse]
	message filev1.ReadResponse // used again: a message is encoded when Send returns
	buf     *[]byte
	n       int // bytes that wait in buf
	begun   bool
}

// sender returns a sender with a buffer, which the caller gives back.
func (c *chunks) sender(stream grpc.ServerStreamingServer[filev1.ReadResponse], entry *filev1.Entry) *sender {
	return &sender{stream: stream, buf: c.get(), message: filev1.ReadResponse{Entry: entry}}
}

func (c *chunks) giveBack(s *sender) { c.pool.Put(s.buf) }

// Write sends p as soon as it fills chunks.
func (s *sender) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := copy((*s.buf)[s.n:], p)
		s.n += n
		p = p[n:]
		if s.n == len(*s.buf) {
			if err := s.flush(false); err != nil {
				return 0, err
			}
		}
	}
	return written, nil
}

// ReadFrom sends all of r, which is read straight into the chunks.
func (s *sender) ReadFrom(r io.Reader) (int64, error) {
	total := int64(0)
	for {
		n, err := r.Read((*s.buf)[s.n:])
		s.n += n
		total += int64(n)
		if err == nil && s.n == len(*s.buf) {
			err = s.flush(false)
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// flush sends what waits. The last flush of a stream sends a message even if the
// file is empty: it has the entry.
func (s *sender) flush(last bool) error {
	if s.n == 0 && (s.begun || !last) {
		return nil
	}
	if err := s.stream.Context().Err(); err != nil {
		return err
	}
	s.message.Content = (*s.buf)[:s.n]
	err := s.stream.Send(&s.message)
	s.message.Entry, s.n, s.begun = nil, 0, true
	return err
}
