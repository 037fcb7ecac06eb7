package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// magic is how a connection begins. Its first byte tells it from HTTP/2,
	// which begins with "PRI".
	magic = "gaia"
	// version of the protocol. Ends of different versions use gRPC.
	version = 1

	greetingSize = 20
	// greetTimeout is how long the other end may take to greet. An end that
	// speaks the protocol greets at once.
	greetTimeout = 5 * time.Second
)

// The bounds that a server announces.
const (
	// maxCalls is how many calls may be in flight on a connection. More wait
	// with the client.
	maxCalls = 1 << 14
	// window is how many bytes of requests may be in flight on a connection: as
	// much as a server's handlers that block hold in memory.
	window = 64 << 20
	// answerWindow is how many bytes of one answer may be on their way before
	// the client has asked for more.
	answerWindow = 4 * MaxPayload
)

// ErrNoLink is matched by the errors of Open when the other end does not speak
// the protocol, or not this version of it.
var ErrNoLink = errors.New("the other end does not speak link")

// greeting is what each end sends first: who it is and what it bears.
type greeting struct {
	version uint8
	frame   uint32 // bytes that a frame may have
	calls   uint32 // calls that may be in flight
	window  uint32 // bytes of requests that may be in flight
}

func ourGreeting() greeting {
	return greeting{version: version, frame: maxFrame, calls: maxCalls, window: window}
}

func (g greeting) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, g.version, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, g.frame)
	b = binary.LittleEndian.AppendUint32(b, g.calls)
	return binary.LittleEndian.AppendUint32(b, g.window)
}

func parseGreeting(b []byte) (greeting, error) {
	if string(b[:len(magic)]) != magic {
		return greeting{}, fmt.Errorf("%w: it began with %q", ErrNoLink, b[:len(magic)])
	}
	g := greeting{
		version: b[4],
		frame:   binary.LittleEndian.Uint32(b[8:]),
		calls:   binary.LittleEndian.Uint32(b[12:]),
		window:  binary.LittleEndian.Uint32(b[16:]),
	}
	switch {
	case b[5]|b[6]|b[7] != 0:
		return greeting{}, fmt.Errorf("%w: its greeting has %x where zeros belong", ErrNoLink, b[5:8])
	case g.version != version:
		return greeting{}, fmt.Errorf("%w of version %d but of version %d", ErrNoLink, version, g.version)
	case g.frame < maxFrame || g.calls == 0 || g.window < maxFrame:
		return greeting{}, fmt.Errorf("%w: it bears frames of %d bytes, %d calls and %d bytes of requests", ErrNoLink, g.frame, g.calls, g.window)
	}
	return g, nil
}

// greet exchanges greetings. The other end may take so long for its own.
func greet(conn net.Conn, patience time.Duration) (greeting, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return greeting{}, err
	}
	// A greeting fits in the buffer of any socket: both ends may write first.
	if _, err := conn.Write(ourGreeting().append(nil)); err != nil {
		return greeting{}, fmt.Errorf("%w: %w", ErrNoLink, err)
	}
	var b [greetingSize]byte
	if _, err := io.ReadFull(conn, b[:len(magic)]); err != nil {
		return greeting{}, fmt.Errorf("%w: %w", ErrNoLink, err)
	}
	if string(b[:len(magic)]) != magic { // there may never be more of it
		return greeting{}, fmt.Errorf("%w: it began with %q", ErrNoLink, b[:len(magic)])
	}
	if _, err := io.ReadFull(conn, b[len(magic):]); err != nil {
		return greeting{}, fmt.Errorf("%w: %w", ErrNoLink, err)
	}
	g, err := parseGreeting(b[:])
	if err != nil {
		return greeting{}, err
	}
	return g, conn.SetDeadline(time.Time{})
}
