package conformance

import (
	"math"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// shallow and deep say how many messages are put into one another.
const (
	shallow = 2
	deep    = 4
)

// noMessages are bytes that no decoder takes for a message, whatever its fields.
func noMessages() [][]byte {
	return [][]byte{
		{0xff},                               // half a tag
		{0x0f, 1, 2, 3},                      // a wire type that does not exist
		{0x0a, 0xff, 0xff, 0xff, 0xff, 0x07}, // 2 GiB that are not there
		append([]byte{0x0a, 0x7f}, make([]byte, 9)...),                           // 127 bytes, of which 9 are
		{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, // a number of 11 bytes
	}
}

// setExtreme puts a value into a field that is likely to be wrong: very long, very
// large, or very small where sign is -1. Messages are filled to a depth.
func setExtreme(m protoreflect.Message, fd protoreflect.FieldDescriptor, sign int, depth int) {
	switch {
	case fd.IsMap():
		if depth > 0 {
			key := extremeScalar(fd.MapKey(), sign).MapKey()
			m.Mutable(fd).Map().Set(key, extremeValue(m.Mutable(fd).Map().NewValue(), fd.MapValue(), sign, depth-1))
		}
	case fd.IsList():
		if depth > 0 {
			list := m.Mutable(fd).List()
			for range 2 {
				list.Append(extremeValue(list.NewElement(), fd, sign, depth-1))
			}
		}
	case fd.Message() != nil:
		if depth > 0 {
			m.Set(fd, extremeValue(m.NewField(fd), fd, sign, depth-1))
		}
	default:
		m.Set(fd, extremeScalar(fd, sign))
	}
}

// extremeValue fills an empty value of a field's kind.
func extremeValue(empty protoreflect.Value, fd protoreflect.FieldDescriptor, sign, depth int) protoreflect.Value {
	if fd.Message() == nil {
		return extremeScalar(fd, sign)
	}
	fillExtreme(empty.Message(), sign, depth)
	return empty
}

// fillExtreme sets all fields of a message.
func fillExtreme(m protoreflect.Message, sign, depth int) {
	for i := range m.Descriptor().Fields().Len() {
		setExtreme(m, m.Descriptor().Fields().Get(i), sign, depth)
	}
}

func extremeScalar(fd protoreflect.FieldDescriptor, sign int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(sign > 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(pick[protoreflect.EnumNumber](sign, 98765, -98765))
	case protoreflect.StringKind:
		// Of the zero byte no file name and no argument can be made.
		return protoreflect.ValueOfString(strings.Repeat("\x00é%\"\n\\../", 1+500*(1+sign)))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(strings.Repeat("\xff\x00", 1+500*(1+sign))))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(pick(sign, int32(math.MaxInt32), math.MinInt32))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(pick(sign, int64(math.MaxInt64), math.MinInt64))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(math.MaxUint32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(math.MaxUint64)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(math.Inf(sign)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(math.Inf(sign))
	default: // a group, which is a message
		return fd.Default()
	}
}

func pick[T any](sign int, positive, negative T) T {
	if sign > 0 {
		return positive
	}
	return negative
}
