package link

import (
	"errors"
	"fmt"
	"time"
)

// ErrFull is returned when the other end bears no more calls, or bytes of them,
// for the moment.
var ErrFull = errors.New("link: as many calls in flight as the other end bears")

// ErrUnsuitable is matched by errors of calls that cannot go over a link. They
// were not begun, and can go over gRPC.
var ErrUnsuitable = errors.New("link: not for this transport")

// Request is a call as bytes.
type Request struct {
	Method   string        // "/package.Service/Method"
	Timeout  time.Duration // 0: none
	Metadata []byte        // encoded; at most MaxMetadata
	Payload  []byte        // the encoded message; at most MaxPayload
}

// size is how many bytes of the other end's window a call takes.
func (r *Request) size() int { return headerSize + callSize + len(r.Metadata) + len(r.Payload) }

func (r *Request) check() error {
	switch {
	case len(r.Payload) > MaxPayload:
		return fmt.Errorf("%w: a message of %d bytes, at most %d are allowed", ErrUnsuitable, len(r.Payload), MaxPayload)
	case len(r.Metadata) > MaxMetadata:
		return fmt.Errorf("%w: metadata of %d bytes, at most %d are allowed", ErrUnsuitable, len(r.Metadata), MaxMetadata)
	case len(r.Method) > maxMethodName:
		return fmt.Errorf("%w: a method's name of %d bytes, at most %d are allowed", ErrUnsuitable, len(r.Method), maxMethodName)
	}
	return nil
}

// Receiver is told what became of a call that was begun with Start: once, or
// until an answer without More. Receive is mostly called by the connection's
// reader, for which all other answers wait: it does not block.
type Receiver interface{ Receive(a *Answer) }
