package proxy

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// body is how the end of a body is told.
type body struct {
	chunked bool
	length  int64 // where not chunked; untilClose means up to the end of the connection
}

const untilClose = -1

func (b body) empty() bool { return !b.chunked && b.length == 0 }

// bodyOf reads what the fields say of a body. Two answers to that question are
// how requests are smuggled (RFC 9112, section 6.3), so there may be but one.
func bodyOf(f fields, minor int, none int64) (body, error) {
	encodings, lengths := f.values("Transfer-Encoding"), f.values("Content-Length")
	switch {
	case len(encodings) > 0 && len(lengths) > 0:
		return body{}, errors.New("both Content-Length and Transfer-Encoding")
	case len(encodings) > 0 && minor == 0:
		return body{}, errors.New("Transfer-Encoding in HTTP/1.0")
	case len(encodings) > 0:
		if len(encodings) > 1 || !strings.EqualFold(encodings[0], "chunked") {
			return body{}, fmt.Errorf("Transfer-Encoding %.50q, and only chunked is understood", strings.Join(encodings, ", "))
		}
		return body{chunked: true}, nil
	case len(lengths) == 0:
		return body{length: none}, nil
	}
	n, err := parseLength(lengths[0])
	if err != nil || len(lengths) > 1 {
		return body{}, fmt.Errorf("Content-Length %.50q, which is not one number", strings.Join(lengths, ", "))
	}
	return body{length: n}, nil
}

func parseLength(digits string) (int64, error) {
	if strings.Trim(digits, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(digits, 10, 63)
}

// fault is an error of the one who sends, not of the one who receives.
type fault struct{ error }

func (f fault) Unwrap() error { return f.error }

// copier copies bodies through pooled buffers.
type copier struct{ buffers sync.Pool }

// copy carries a body from one to the other, in the framing it has; decode takes
// the chunks off. The error is a fault if from is to blame.
func (c *copier) copy(to io.Writer, from *reader, b body, decode bool) error {
	buffer, _ := c.buffers.Get().(*[32 << 10]byte)
	if buffer == nil {
		buffer = new([32 << 10]byte)
	}
	defer c.buffers.Put(buffer)
	switch {
	case b.chunked:
		return copyChunks(to, from, buffer[:], decode)
	case b.length == untilClose:
		return copyAll(to, from, buffer[:])
	}
	return copyExactly(to, from, b.length, buffer[:])
}

func copyAll(to io.Writer, from *reader, buffer []byte) error {
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault{err}
		}
	}
}

func copyExactly(to io.Writer, from *reader, length int64, buffer []byte) error {
	for length > 0 {
		n, err := from.Read(buffer[:min(length, int64(len(buffer)))])
		length -= int64(n)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if err != nil && length > 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fault{err}
		}
	}
	return nil
}

// room is what a chunk's size takes at most, with its CRLF.
const room = 18

// copyChunks carries chunks and trailers, each written anew, so that the one
// behind reads what was read here. Extensions are dropped, as RFC 9112 allows.
func copyChunks(to io.Writer, from *reader, buffer []byte, decode bool) error {
	for {
		line, err := from.line(maxLine)
		if err != nil {
			return fault{err}
		}
		size, err := parseChunkSize(string(line))
		if err != nil {
			return fault{err}
		}
		if size == 0 {
			return copyTrailers(to, from, decode)
		}
		if err := copyChunk(to, from, size, buffer, decode); err != nil {
			return err
		}
		if line, err = from.line(2); err != nil || len(line) > 0 {
			return fault{errors.New("a chunk is longer than it says")}
		}
	}
}

// copyChunk carries the content of a chunk, each part that comes as a chunk of
// its own, in one write.
func copyChunk(to io.Writer, from *reader, size int64, buffer []byte, decode bool) error {
	content := buffer[room : len(buffer)-2]
	for size > 0 {
		n, err := from.Read(content[:min(size, int64(len(content)))])
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fault{err}
		}
		size -= int64(n)
		out := content[:n]
		if !decode {
			line := append(strconv.AppendInt(make([]byte, 0, room), int64(n), 16), "\r\n"...)
			copy(buffer[room-len(line):], line)
			out = append(buffer[room-len(line):room+n], "\r\n"...)
		}
		if _, err := to.Write(out); err != nil {
			return err
		}
	}
	return nil
}

// copyTrailers carries what follows the last chunk's size.
func copyTrailers(to io.Writer, from *reader, decode bool) error {
	var tail strings.Builder
	tail.WriteString("0\r\n")
	for {
		line, err := from.line(maxLine)
		if err != nil {
			return fault{err}
		}
		if len(line) == 0 {
			break
		}
		f, err := parseField(string(line))
		if err != nil {
			return fault{err}
		}
		if !isFraming(f.name) {
			tail.WriteString(f.name + ": " + f.value + "\r\n")
		}
		if tail.Len() > maxHead {
			return fault{errors.New("trailers that do not end")}
		}
	}
	if decode {
		return nil
	}
	tail.WriteString("\r\n")
	_, err := io.WriteString(to, tail.String())
	return err
}

// parseChunkSize reads hexadecimal digits, and extensions behind a semicolon.
func parseChunkSize(line string) (int64, error) {
	digits, _, _ := strings.Cut(line, ";")
	digits = strings.TrimRight(digits, " \t")
	size, err := strconv.ParseUint(digits, 16, 62)
	if err != nil || len(digits) > 15 || digits[0] == '+' || strings.Contains(digits, "_") || !isText(line) {
		return 0, fmt.Errorf("a chunk of size %.20q", digits)
	}
	return int64(size), nil
}
