package link

import (
	"encoding/binary"
	"fmt"
)

// The bounds of the protocol, in bytes. A peer that goes beyond is cut off.
const (
	// MaxPayload is how large the message of a request may be. Larger ones gain
	// nothing by batching and delay others. Answers may be larger: they are sent
	// in parts of this size.
	MaxPayload = 64 << 10
	// MaxAnswer is how large the message of an answer may be.
	MaxAnswer = 64 << 20
	// MaxMetadata is how large the metadata of a call may be, its headers, and
	// its trailers, each. It fits in the 16 bits of its length.
	MaxMetadata = 16 << 10
	// maxMethodName bounds "/package.Service/Method".
	maxMethodName = 1 << 10
	// maxMethods is how many methods a peer may call on one connection.
	maxMethods = 1 << 12

	maxFrame = headerSize + max(callSize+MaxMetadata, answerSize+2*MaxMetadata) + MaxPayload
)

// The fixed parts of frames, in bytes.
const (
	headerSize = 12 // length 4, kind 1, flags 1, number 2, id 4; the length counts all of the frame
	callSize   = 10 // timeout 8, length of the metadata 2
	answerSize = 8  // length of the header 2, of the trailer 2, of the message in all its parts 4
	creditSize = 4
)

// kind says what a frame is.
type kind uint8

const (
	// kindCall begins a call. number is the method; the body is the time until
	// its deadline in nanoseconds (0: none), metadata and the message.
	kindCall kind = iota + 1
	// kindAnswer ends a call, unless flagMore is set. number is the code; the body
	// is header, trailer, the length of the whole message if it comes in parts,
	// and the message or, if the code is not OK, the encoded google.rpc.Status.
	kindAnswer
	// kindPart is more of an answer's message. number is the code: if it is not
	// OK, the answer broke off, and the body is the status.
	kindPart
	// kindCancel asks for the end of a call, which is still answered.
	kindCancel
	// kindMethod gives the number of a method its name, once.
	kindMethod
	// kindCredit lets the server send so many more bytes of an answer in parts.
	kindCredit
	// kindGoodbye says that the sender takes no more calls.
	kindGoodbye
)

const (
	// flagMore says that parts of the answer follow.
	flagMore uint8 = 1 << iota
	// flagRefused says that the call was not begun.
	flagRefused
)

// frame is one frame as it was read. body is a part of the reader's buffer.
type frame struct {
	kind   kind
	flags  uint8
	number uint16
	id     uint32
	body   []byte
}

// appendHeader begins a frame whose body has size bytes.
func appendHeader(b []byte, k kind, flags uint8, number uint16, id uint32, size int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(headerSize+size)) //nolint:gosec // G115: at most maxFrame
	b = append(b, byte(k), flags)
	b = binary.LittleEndian.AppendUint16(b, number)
	return binary.LittleEndian.AppendUint32(b, id)
}

// parseFrame reads the frame at the beginning of b. It returns a length of 0 when b
// does not have all of it.
func parseFrame(b []byte) (f frame, length int, err error) {
	if len(b) < headerSize {
		return frame{}, 0, nil
	}
	size := binary.LittleEndian.Uint32(b)
	if size < headerSize || size > maxFrame {
		return frame{}, 0, fmt.Errorf("a frame of %d bytes, allowed are %d to %d", size, headerSize, maxFrame)
	}
	if uint32(len(b)) < size { //nolint:gosec // G115: a buffer is far below 4 GiB
		return frame{}, 0, nil
	}
	return frame{
		kind:   kind(b[4]),
		flags:  b[5],
		number: binary.LittleEndian.Uint16(b[6:]),
		id:     binary.LittleEndian.Uint32(b[8:]),
		body:   b[headerSize:size:size],
	}, int(size), nil
}

// appendCall appends a kindCall frame.
func appendCall(b []byte, id uint32, number uint16, r *Request) []byte {
	b = appendHeader(b, kindCall, 0, number, id, callSize+len(r.Metadata)+len(r.Payload))
	b = binary.LittleEndian.AppendUint64(b, uint64(max(r.Timeout, 0)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Metadata))) //nolint:gosec // G115: checked by Start
	b = append(b, r.Metadata...)
	return append(b, r.Payload...)
}

// parseCall splits the body of a kindCall frame.
func parseCall(body []byte) (timeout uint64, metadata, payload []byte, err error) {
	if len(body) < callSize {
		return 0, nil, nil, fmt.Errorf("a call of %d bytes, at least %d are needed", len(body), callSize)
	}
	timeout = binary.LittleEndian.Uint64(body)
	n := int(binary.LittleEndian.Uint16(body[8:]))
	body = body[callSize:]
	if n > min(len(body), MaxMetadata) {
		return 0, nil, nil, fmt.Errorf("%d bytes of metadata in a call with %d, at most %d are allowed", n, len(body), MaxMetadata)
	}
	if len(body)-n > MaxPayload {
		return 0, nil, nil, fmt.Errorf("a message of %d bytes, at most %d are allowed", len(body)-n, MaxPayload)
	}
	return timeout, body[:n:n], body[n:], nil
}

// appendAnswer appends a kindAnswer frame with all or the first part of the
// payload.
func appendAnswer(b []byte, id uint32, a *Answer) []byte {
	b = appendHeader(b, kindAnswer, a.flags(), number(a.Code), id, answerSize+len(a.Header)+len(a.Trailer)+len(a.Payload))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(a.Header)))  //nolint:gosec // G115: at most MaxMetadata
	b = binary.LittleEndian.AppendUint16(b, uint16(len(a.Trailer))) //nolint:gosec // G115: at most MaxMetadata
	b = binary.LittleEndian.AppendUint32(b, uint32(a.Total))        //nolint:gosec // G115: at most MaxAnswer
	b = append(b, a.Header...)
	b = append(b, a.Trailer...)
	return append(b, a.Payload...)
}

// appendPart appends a kindPart frame.
func appendPart(b []byte, id uint32, a *Answer) []byte {
	b = appendHeader(b, kindPart, a.flags(), number(a.Code), id, len(a.Payload))
	return append(b, a.Payload...)
}

// parseAnswer reads a kindAnswer or kindPart frame.
func parseAnswer(f frame, a *Answer) error {
	*a = Answer{
		Code:    code(f.number),
		Refused: f.flags&flagRefused != 0,
		More:    f.flags&flagMore != 0,
		Part:    f.kind == kindPart,
		Payload: f.body,
		Batch:   a.Batch,
	}
	if a.Refused {
		a.Reach = Unreached
	}
	if f.kind == kindAnswer {
		if len(f.body) < answerSize {
			return fmt.Errorf("an answer of %d bytes, at least %d are needed", len(f.body), answerSize)
		}
		h, t := int(binary.LittleEndian.Uint16(f.body)), int(binary.LittleEndian.Uint16(f.body[2:]))
		a.Total = int(binary.LittleEndian.Uint32(f.body[4:]))
		body := f.body[answerSize:]
		if h > MaxMetadata || t > MaxMetadata || h+t > len(body) {
			return fmt.Errorf("%d and %d bytes of metadata in an answer with %d, at most %d are allowed", h, t, len(body), MaxMetadata)
		}
		a.Header, a.Trailer, a.Payload = body[:h:h], body[h:h+t:h+t], body[h+t:]
	}
	if len(a.Payload) > MaxPayload {
		return fmt.Errorf("%d bytes of an answer at once, at most %d are allowed", len(a.Payload), MaxPayload)
	}
	if a.More && a.Code != 0 {
		return fmt.Errorf("an answer that goes on after code %d", a.Code)
	}
	if a.Total > MaxAnswer {
		return fmt.Errorf("an answer of %d bytes, at most %d are allowed", a.Total, MaxAnswer)
	}
	return nil
}

// appendCredit appends a kindCredit frame.
func appendCredit(b []byte, id uint32, n int) []byte {
	b = appendHeader(b, kindCredit, 0, 0, id, creditSize)
	return binary.LittleEndian.AppendUint32(b, uint32(n)) //nolint:gosec // G115: at most MaxPayload
}

func parseCredit(body []byte) (n int, err error) {
	if len(body) != creditSize {
		return 0, fmt.Errorf("a credit of %d bytes, %d are needed", len(body), creditSize)
	}
	if u := binary.LittleEndian.Uint32(body); u <= answerWindow {
		return int(u), nil
	}
	return 0, fmt.Errorf("a credit for %d bytes, at most %d are allowed", binary.LittleEndian.Uint32(body), answerWindow)
}
