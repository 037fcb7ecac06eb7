package bench

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// fields are those of a request. The host knows no plugin's API: benchmarks
// know numbers of fields, which never change.
type fields []byte

// text sets a field that is a string, bytes or a message.
func (f fields) text(number protowire.Number, value string) fields {
	return protowire.AppendString(protowire.AppendTag(f, number, protowire.BytesType), value)
}

// number sets a field that is an unsigned integer, an enum or true.
func (f fields) number(number protowire.Number, value uint64) fields {
	return protowire.AppendVarint(protowire.AppendTag(f, number, protowire.VarintType), value)
}

// message is the request to be sent. Nobody may write to f any more.
func (f fields) message() proto.Message {
	m := new(emptypb.Empty)
	m.ProtoReflect().SetUnknown([]byte(f))
	return m
}

// field returns the value of a string, bytes or message in an answer, nil if it
// is not there.
func field(m proto.Message, number protowire.Number) []byte {
	return bytesIn(m.ProtoReflect().GetUnknown(), number)
}

// bytesIn is field for a message within an answer.
func bytesIn(message []byte, number protowire.Number) []byte {
	var found []byte
	each(message, func(n protowire.Number, t protowire.Type, value []byte) {
		if n == number && t == protowire.BytesType {
			found, _ = protowire.ConsumeBytes(value)
		}
	})
	return found
}

// varint returns the value of an integer in an answer, 0 if it is not there.
func varint(message []byte, number protowire.Number) uint64 {
	var found uint64
	each(message, func(n protowire.Number, t protowire.Type, value []byte) {
		if n == number && t == protowire.VarintType {
			found, _ = protowire.ConsumeVarint(value)
		}
	})
	return found
}

// each calls f with every field of a message that is whole.
func each(message []byte, f func(protowire.Number, protowire.Type, []byte)) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		length := protowire.ConsumeFieldValue(number, kind, message[n:])
		if length < 0 {
			return
		}
		f(number, kind, message[n:n+length])
		message = message[n+length:]
	}
}
