// Package body reads the bodies of responses whole, within a limit.
package body

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"google.golang.org/grpc/codes"
)

// first is what is allocated for a body on the word of a Content-Length;
// beyond it the buffer grows with what has arrived. Most API answers fit.
const first = 64 << 10

// unknown is the first buffer for a body of unknown length.
const unknown = 4 << 10

// Read reads the body of response whole, at most limit and one byte, and does
// not close it. It allocates at most twice what has arrived, whatever
// Content-Length says. The bytes are the caller's to keep and to change; they
// are nil where there are none. A body over limit is a call.Failure.
func Read(response *http.Response, limit int64) ([]byte, error) {
	if m, ok := response.Body.(*memory); ok {
		return m.take(limit)
	}
	if response.ContentLength == 0 || response.Request.Method == http.MethodHead {
		return nil, nil
	}
	size := response.ContentLength // -1 if unknown
	if size > limit {
		return nil, tooLarge("response body of %d bytes, limit %d (max_response_body)", size, limit)
	}
	ceiling, start := limit, int64(unknown)
	if size >= 0 {
		ceiling, start = size, first
	}
	ceiling++ // the reader needs room to say that this was all, or that it was not
	buffer := make([]byte, 0, min(start, ceiling))
	for {
		n, err := response.Body.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		switch {
		case int64(len(buffer)) > limit:
			return nil, tooLarge("response body over %d bytes (max_response_body)", limit)
		case err == io.EOF: // bare: a wrapped one is not the end of a body
			return buffer, nil
		case err != nil:
			return nil, broken(err, len(buffer), size)
		case len(buffer) == cap(buffer):
			grown := make([]byte, len(buffer), min(2*int64(cap(buffer)), ceiling))
			copy(grown, buffer)
			buffer = grown
		}
	}
}

func tooLarge(format string, args ...any) error {
	return &call.Failure{Code: codes.ResourceExhausted, Text: fmt.Sprintf(format, args...)}
}

// broken says how much of a body there was when it broke off.
func broken(err error, got int, size int64) error {
	if size < 0 {
		return fmt.Errorf("after %d bytes: %w", got, err)
	}
	return fmt.Errorf("after %d of %d bytes: %w", got, size, err)
}

// memory is a body that has been read.
type memory struct {
	bytes.Reader

	data []byte
	own  bool // whether nobody else has data
}

// Of returns data as a body. With own it is handed over: Read returns data
// itself. Without, it is others', too, and Read returns a copy.
func Of(data []byte, own bool) io.ReadCloser {
	m := &memory{data: data, own: own}
	m.Reset(data)
	return m
}

// Close does nothing.
func (m *memory) Close() error { return nil }

// take returns what has not been read yet.
func (m *memory) take(limit int64) ([]byte, error) {
	if int64(m.Len()) > limit {
		return nil, tooLarge("response body of %d bytes, limit %d (max_response_body)", m.Len(), limit)
	}
	rest := m.data[len(m.data)-m.Len():]
	m.Reset(nil)
	if !m.own {
		rest = bytes.Clone(rest)
	}
	return rest, nil
}
