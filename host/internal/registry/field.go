package registry

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

// maxFieldDepth bounds the path of a field. Google's public APIs nest some six
// messages.
const maxFieldDepth = 16

// errUnresolved means that the descriptors lack what a path leads through, so
// that nothing can be said about it. A plugin without it still works.
var errUnresolved = errors.New("the path leads through a type that the descriptors lack")

// field is the path of a field, compiled so that its value is read from the
// bytes of a message as a decoder would find it, without decoding the rest.
// Immutable.
type field struct {
	steps    []step // into one message each; the last is the field itself
	kind     protoreflect.Kind
	enum     protoreflect.EnumDescriptor // nil for any other kind
	presence bool                        // a zero is not absent
	secret   bool                        // it, or a message that it is in, is sensitive
}

// step is one field as its tags are on the wire. No tag is 0.
type step struct {
	tag    uint64
	packed uint64   // of a packed run of values; 0 where there are none
	rivals []uint64 // each other member of its oneof: one that follows unsets the field
}

// newField compiles a path such as "target.url". An error names the part of
// the path that is wrong; errUnresolved is returned as it is.
func newField(message protoreflect.MessageDescriptor, path string) (field, error) {
	if path == "" {
		return field{}, errors.New("no field given")
	}
	parts := strings.Split(path, ".")
	if len(parts) > maxFieldDepth {
		return field{}, fmt.Errorf("a path of %d fields, limit %d", len(parts), maxFieldDepth)
	}
	var f field
	for i, part := range parts {
		if message.IsPlaceholder() {
			return field{}, errUnresolved
		}
		fd := message.Fields().ByName(protoreflect.Name(part))
		if fd == nil {
			return field{}, fmt.Errorf("message %s has no field %q%s", message.FullName(), part, suggest(part, fieldNames(message)))
		}
		f.steps = append(f.steps, newStep(fd))
		f.secret = f.secret || isSensitive(fd)
		if i == len(parts)-1 {
			return f, f.endAt(fd)
		}
		if message = fd.Message(); message == nil || fd.IsMap() {
			return field{}, fmt.Errorf("%q is %s, which has no fields", part, kindOf(fd))
		}
		if fd.IsList() {
			return field{}, fmt.Errorf("%q is repeated, so %q is not one value", part, path)
		}
	}
	return f, nil
}

// isSensitive reports what (gaia.options.v1.field).sensitive says, in whatever
// form a plugin's descriptors hold the option. What cannot be read is taken for
// sensitive.
func isSensitive(fd protoreflect.FieldDescriptor) bool {
	wire, err := proto.Marshal(fd.Options())
	if err != nil {
		return true
	}
	options := new(descriptorpb.FieldOptions)
	if proto.Unmarshal(wire, options) != nil {
		return true
	}
	ours, _ := proto.GetExtension(options, optionsv1.E_Field).(*optionsv1.Field)
	return ours.GetSensitive()
}

// endAt takes the type of the path's last field.
func (f *field) endAt(fd protoreflect.FieldDescriptor) error {
	if isUnresolved(fd) {
		return errUnresolved
	}
	switch fd.Kind() {
	case protoreflect.FloatKind, protoreflect.DoubleKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return fmt.Errorf("%q is %s; only text, bytes, integers, enums and bools are read", fd.Name(), kindOf(fd))
	default:
		f.kind, f.enum = fd.Kind(), fd.Enum()
		f.presence = fd.HasPresence() || fd.IsList()
		return nil
	}
}

func isUnresolved(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().IsPlaceholder() || fd.Enum() != nil && fd.Enum().IsPlaceholder()
}

func newStep(fd protoreflect.FieldDescriptor) step {
	s := step{tag: tagOf(fd)}
	if fd.IsList() && wireType(fd.Kind()) != protowire.BytesType {
		// A decoder takes both forms, whichever the field declares.
		s.packed = protowire.EncodeTag(fd.Number(), protowire.BytesType)
	}
	if oneof := fd.ContainingOneof(); oneof != nil {
		for i := range oneof.Fields().Len() {
			if rival := oneof.Fields().Get(i); rival.Number() != fd.Number() {
				s.rivals = append(s.rivals, tagOf(rival))
			}
		}
	}
	return s
}

func tagOf(fd protoreflect.FieldDescriptor) uint64 {
	return protowire.EncodeTag(fd.Number(), wireType(fd.Kind()))
}

// wireType is how one value of a kind is encoded.
func wireType(kind protoreflect.Kind) protowire.Type {
	switch kind {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	default:
		return protowire.VarintType
	}
}

// kindOf says in words what cannot be read, or cannot be passed.
func kindOf(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.IsMap():
		return "a map"
	case fd.Message() != nil:
		return "a message"
	default:
		return "of type " + fd.Kind().String()
	}
}

func fieldNames(message protoreflect.MessageDescriptor) []string {
	names := make([]string, message.Fields().Len())
	for i := range names {
		names[i] = string(message.Fields().Get(i).Name())
	}
	return names
}

// text returns the field's value in words: text and bytes as they are, integers
// in decimal, enum values by name where it is known, bools as "true" and
// "false"; "" where a decoder would find the field absent. Of a repeated field
// it is the last element. The result aliases message or scratch.
//
// It reports false for bytes that are no message. Messages that the path does
// not enter are not looked into.
func (f *field) text(message, scratch []byte) ([]byte, bool) {
	var v value
	if !scan(message, f.steps, &v) {
		return nil, false
	}
	if !v.present {
		return nil, true
	}
	switch f.kind {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return v.content, true
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return f.unsigned(v.number, scratch), true
	case protoreflect.BoolKind:
		return f.bool(v.number, scratch), true
	default:
		return f.signed(v.number, scratch), true
	}
}

func (f *field) unsigned(n uint64, scratch []byte) []byte {
	if f.kind == protoreflect.Uint32Kind {
		n &= 1<<32 - 1 // as decoders do with a longer varint
	}
	if n == 0 && !f.presence {
		return nil
	}
	return strconv.AppendUint(scratch[:0], n, 10)
}

func (f *field) bool(n uint64, scratch []byte) []byte {
	if n == 0 && !f.presence {
		return nil
	}
	return strconv.AppendBool(scratch[:0], n != 0)
}

func (f *field) signed(wire uint64, scratch []byte) []byte {
	n := signedNumber(f.kind, wire)
	if n == 0 && !f.presence {
		return nil
	}
	if f.enum != nil {
		if known := f.enum.Values().ByNumber(protoreflect.EnumNumber(n)); known != nil { //nolint:gosec // 32 bits, see signedNumber
			return append(scratch[:0], known.Name()...)
		}
	}
	return strconv.AppendInt(scratch[:0], n, 10)
}

// signedNumber decodes a number; of the 32-bit kinds, the low 32 bits of a
// longer varint count, as decoders have it.
func signedNumber(kind protoreflect.Kind, wire uint64) int64 {
	switch kind {
	case protoreflect.Sint32Kind:
		return protowire.DecodeZigZag(wire & (1<<32 - 1))
	case protoreflect.Sint64Kind:
		return protowire.DecodeZigZag(wire)
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		return int64(wire) //nolint:gosec // two's complement is the encoding
	default:
		return int64(int32(wire)) //nolint:gosec // two's complement is the encoding
	}
}

// value is a field's value as it is on the wire.
type value struct {
	content []byte // of text, bytes and messages
	number  uint64 // of everything else
	present bool
}

// scan looks for the field behind steps and sets last to its last value. Where
// the message has none it leaves last as it is: the occurrences of an embedded
// message merge. It reports false for bytes that are no message.
func scan(message []byte, steps []step, last *value) bool {
	s := &steps[0]
	for len(message) > 0 {
		tag, n := consumeTag(message)
		if n < 0 {
			return false
		}
		v, m := consumeValue(tag, message[n:])
		if m < 0 {
			return false
		}
		message = message[n+m:]
		ok := true
		switch {
		case tag == s.tag && len(steps) > 1:
			ok = scan(v.content, steps[1:], last)
		case tag == s.tag:
			*last = v
		case tag == s.packed:
			ok = scanPacked(v.content, s.tag, last)
		case slices.Contains(s.rivals, tag):
			*last = value{}
		}
		if !ok {
			return false
		}
	}
	return true
}

// wholeFields returns a message without the field at its end that is cut off.
func wholeFields(message []byte) []byte {
	whole := 0
	for rest := message; len(rest) > 0; rest = message[whole:] {
		tag, n := consumeTag(rest)
		if n < 0 {
			break
		}
		_, m := consumeValue(tag, rest[n:])
		if m < 0 {
			break
		}
		whole += n + m
	}
	return message[:whole]
}

// scanPacked sets last to the last of a run of values, each encoded as it would
// be behind a tag of its own; an empty run changes nothing.
func scanPacked(run []byte, tag uint64, last *value) bool {
	for len(run) > 0 {
		n := 0
		if *last, n = consumeValue(tag, run); n < 0 {
			return false
		}
		run = run[n:]
	}
	return true
}

// consumeTag returns the tag that b, not empty, begins with and its length,
// negative where that is none. Its number is one that a field can have.
func consumeTag(b []byte) (tag uint64, n int) {
	if b[0] < 0x80 { // of the fields up to 15, which most are
		tag, n = uint64(b[0]), 1
	} else {
		tag, n = protowire.ConsumeVarint(b)
	}
	if number := tag >> 3; number < 1 || number > uint64(protowire.MaxValidNumber) {
		return 0, -1
	}
	return tag, n
}

// consumeValue returns the value behind a tag and its length, which is negative
// where there is none.
func consumeValue(tag uint64, b []byte) (v value, n int) {
	v.present = true
	switch number, wire := protowire.DecodeTag(tag); wire {
	case protowire.VarintType:
		v.number, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		v.content, n = protowire.ConsumeBytes(b)
	case protowire.Fixed32Type:
		var bits uint32
		bits, n = protowire.ConsumeFixed32(b)
		v.number = uint64(bits)
	case protowire.Fixed64Type:
		v.number, n = protowire.ConsumeFixed64(b)
	case protowire.StartGroupType:
		v.content, n = protowire.ConsumeGroup(number, b)
	default:
		n = -1
	}
	return v, n
}
