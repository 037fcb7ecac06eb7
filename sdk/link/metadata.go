package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Metadata is encoded as its pairs one after the other, each as the length of
// the key, the key, the length of the value and the value; a length has 16
// bits. Values of a key keep their order; binary ones are not coded any further.

// errMetadata says that encoded metadata is broken.
var errMetadata = errors.New("metadata is cut off")

// AppendPair appends a pair to encoded metadata. Key and value have at most
// MaxMetadata bytes.
func AppendPair[Text ~string | ~[]byte](b []byte, key, value Text) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key))) //nolint:gosec // G115: see above
	b = append(b, key...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value))) //nolint:gosec // G115: see above
	return append(b, value...)
}

// Pairs reads encoded metadata. It ends early where that is broken. Keys and
// values are parts of b.
func Pairs(b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for len(b) > 0 {
			key, rest, ok := cut(b)
			value, rest, ok2 := cut(rest)
			if !ok || !ok2 || !yield(key, value) {
				return
			}
			b = rest
		}
	}
}

func cut(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, false
	}
	return b[2 : 2+n : 2+n], b[2+n:], true
}

// checkMetadata reports whether encoded metadata is whole, and no more than a
// client may send.
func checkMetadata(b []byte) error {
	read := 0
	for key, value := range Pairs(b) {
		read += 4 + len(key) + len(value)
		if len(key) == 0 || bytes.ContainsFunc(key, func(r rune) bool { return !isKeyRune(r) }) || isTransports(string(key)) {
			return fmt.Errorf("metadata with the key %q", key)
		}
	}
	if read != len(b) {
		return errMetadata
	}
	return nil
}

// isKeyRune reports whether a key may have r in it.
func isKeyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_'
}

// DecodeMetadata returns encoded metadata as gRPC knows it; nil for none.
func DecodeMetadata(b []byte) metadata.MD {
	if len(b) == 0 {
		return nil
	}
	md := make(metadata.MD)
	for key, value := range Pairs(b) {
		k := string(key)
		md[k] = append(md[k], string(value))
	}
	return md
}

// checkRequest is an error for metadata that gRPC refuses to send with a request:
// of an answer it takes other values, too.
func checkRequest(md metadata.MD) error {
	for key, values := range md {
		for _, value := range values {
			if err := checkValue(key, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// AppendMetadata encodes metadata, but for the keys that belong to gRPC's own
// transport. What HTTP could not carry, and more than MaxMetadata, is an error: a
// status.
func AppendMetadata(b []byte, md metadata.MD) ([]byte, error) {
	begin := len(b)
	for key, values := range md {
		if isTransports(key) {
			continue
		}
		if err := checkKey(key); err != nil {
			return b[:begin], err
		}
		for _, value := range values {
			if len(b)-begin+len(key)+len(value)+4 > MaxMetadata {
				return b[:begin], errTooMuch
			}
			if !strings.HasSuffix(key, "-bin") && strings.ContainsFunc(value, isControl) {
				return b[:begin], status.Errorf(codes.Internal, "header key %q contains a value with control characters", key)
			}
			b = AppendPair(b, key, value)
		}
	}
	return b, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }

// errTooMuch is the error of metadata that is too large to be sent.
var errTooMuch = status.Errorf(codes.ResourceExhausted, "link: metadata of more than %d bytes", MaxMetadata)

// isTransports reports whether gRPC sets a key itself and drops what callers
// say of it.
func isTransports(key string) bool {
	switch key {
	case "content-type", "user-agent", "te",
		"grpc-message-type", "grpc-encoding", "grpc-message", "grpc-status", "grpc-timeout", "grpc-status-details-bin":
		return true
	}
	return strings.HasPrefix(key, ":")
}

func checkKey(key string) error {
	if key == "" {
		return status.Error(codes.Internal, "there is an empty key in the header")
	}
	if strings.ContainsFunc(key, func(r rune) bool { return !isKeyRune(r) }) {
		return status.Errorf(codes.Internal, "header key %q contains illegal characters not in [0-9a-z-_.]", key)
	}
	return nil
}

func checkValue(key, value string) error {
	if strings.HasSuffix(key, "-bin") {
		return nil
	}
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c > 0x7E {
			return status.Errorf(codes.Internal, "header key %q contains value with non-printable ASCII characters", key)
		}
	}
	return nil
}
