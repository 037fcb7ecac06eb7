package devtools

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// maxMessage bounds one message. The longest that are meant are pictures and
// documents, a third longer than they are themselves.
const maxMessage = 256 << 20

// headLength and tailLength are what is kept of a message that is too long: the
// one has its id, the other its session.
const (
	headLength = 64
	tailLength = 128
)

var errTooLong = fmt.Errorf("the browser's answer is longer than %d MiB", maxMessage>>20)

// reader cuts the browser's stream into messages, each of which ends with a zero
// byte.
type reader struct {
	buffered *bufio.Reader
	limit    int
}

func newReader(r io.Reader) *reader {
	return &reader{buffered: bufio.NewReaderSize(r, 64<<10), limit: maxMessage}
}

// next returns the next message, which the caller owns. Of one that is too long
// it returns the beginning and the end with an errTooLong, and has read it whole.
func (r *reader) next() ([]byte, error) {
	var message []byte
	tooLong := false
	for {
		part, err := r.buffered.ReadSlice(0)
		if !tooLong && len(message)+len(part) > r.limit {
			tooLong = true
			message = message[:min(len(message), headLength)]
		}
		message = append(message, part...)
		if tooLong && len(message) > headLength+tailLength {
			message = slices.Delete(message, headLength, len(message)-tailLength)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return nil, err
		case tooLong:
			return message[:len(message)-1], errTooLong
		}
		return message[:len(message)-1], nil
	}
}

// headID is the id at the beginning of a message, where the browser writes it; 0
// if there is none.
func headID(head []byte) int64 {
	rest, ok := bytes.CutPrefix(head, []byte(`{"id":`))
	if !ok {
		return 0
	}
	digits, _, _ := bytes.Cut(rest, []byte(","))
	id, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0
	}
	return id
}
