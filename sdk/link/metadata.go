package link

import (
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
func AppendPair(b []byte, key, value string) []byte {
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

// checkMetadata reports whether encoded metadata is whole.
func checkMetadata(b []byte) error {
	read := 0
	for key, value := range Pairs(b) {
		read += 4 + len(key) + len(value)
	}
	if read != len(b) {
		return errMetadata
	}
	return nil
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

// AppendMetadata encodes metadata, but for the keys that belong to gRPC's own
// transport. What gRPC refuses to send is an error.
func AppendMetadata(b []byte, md metadata.MD) ([]byte, error) {
	begin := len(b)
	for key, values := range md {
		key = strings.ToLower(key)
		if isTransports(key) {
			continue
		}
		for _, value := range values {
			if err := checkPair(key, value); err != nil {
				return b[:begin], err
			}
			b = AppendPair(b, key, value)
			if len(b)-begin > MaxMetadata {
				return b[:begin], status.Errorf(codes.ResourceExhausted, "link: metadata of more than %d bytes", MaxMetadata)
			}
		}
	}
	return b, nil
}

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

func checkPair(key, value string) error {
	if key == "" {
		return status.Error(codes.Internal, "there is an empty key in the header")
	}
	if len(key)+len(value) > MaxMetadata {
		return status.Errorf(codes.ResourceExhausted, "link: metadata of more than %d bytes", MaxMetadata)
	}
	for i := range len(key) {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return status.Errorf(codes.Internal, "header key %q contains illegal characters not in [0-9a-z-_.]", key)
		}
	}
	if strings.HasSuffix(key, "-bin") {
		return nil
	}
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c > 0x7E {
			return status.Errorf(codes.Internal, "%s", fmt.Sprintf("header key %q contains value with non-printable ASCII characters", key))
		}
	}
	return nil
}
