package request

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/nearest"
)

// scalar parses value as one element of fd, which is not a message.
func (b *builder) scalar(fd protoreflect.FieldDescriptor, at place, value string) (protoreflect.Value, error) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return b.text(at, value)
	case protoreflect.BytesKind:
		content, err := b.content(at, value)
		return protoreflect.ValueOfBytes(content), err
	case protoreflect.BoolKind:
		return boolean(at, value)
	case protoreflect.EnumKind:
		return enum(fd.Enum(), at, value)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return float(fd, at, value)
	default:
		return integer(fd, at, value)
	}
}

func (b *builder) text(at place, value string) (protoreflect.Value, error) {
	content, err := b.content(at, value)
	if err != nil {
		return protoreflect.Value{}, err
	}
	if !utf8.Valid(content) {
		return protoreflect.Value{}, at.errorf("is text and takes UTF-8 only")
	}
	return protoreflect.ValueOfString(string(content)), nil
}

func boolean(at place, value string) (protoreflect.Value, error) {
	switch value {
	case "true":
		return protoreflect.ValueOfBool(true), nil
	case "false":
		return protoreflect.ValueOfBool(false), nil
	default:
		return protoreflect.Value{}, at.refuse(value, "true or false")
	}
}

// enum accepts the name of a value in any case, or its number.
func enum(ed protoreflect.EnumDescriptor, at place, value string) (protoreflect.Value, error) {
	names := make([]string, 0, ed.Values().Len())
	for i := range ed.Values().Len() {
		v := ed.Values().Get(i)
		if strings.EqualFold(string(v.Name()), value) || strconv.Itoa(int(v.Number())) == value {
			return protoreflect.ValueOfEnum(v.Number()), nil
		}
		names = append(names, string(v.Name()))
	}
	err := at.refuse(value, "one of "+strings.Join(names, ", "))
	if best, ok := nearest.Name(strings.ToUpper(value), names); ok && !at.sensitive {
		err.Hint = fmt.Sprintf("did you mean %s?", best)
	}
	return protoreflect.Value{}, err
}

func float(fd protoreflect.FieldDescriptor, at place, value string) (protoreflect.Value, error) {
	if fd.Kind() == protoreflect.FloatKind {
		f, err := strconv.ParseFloat(value, 32)
		if err != nil {
			return protoreflect.Value{}, at.refuse(value, "a number within the range of a 32-bit float")
		}
		return protoreflect.ValueOfFloat32(float32(f)), nil
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return protoreflect.Value{}, at.refuse(value, "a number within the range of a 64-bit float")
	}
	return protoreflect.ValueOfFloat64(f), nil
}

func integer(fd protoreflect.FieldDescriptor, at place, value string) (protoreflect.Value, error) {
	digits := value
	if IsSize(fd) && strings.Trim(value, "-0123456789") != "" {
		size, err := config.ParseBytes(value)
		if err != nil {
			return protoreflect.Value{}, at.refuse(value, "a size: write bytes or a unit, like 4096, 64KiB, 10MB or 2GiB")
		}
		digits = strconv.FormatUint(uint64(size), 10)
	}
	switch fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := signed(at, value, digits, 32)
		return protoreflect.ValueOfInt32(int32(n)), err //nolint:gosec // signed checked the range
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := unsigned(at, value, digits, 32)
		return protoreflect.ValueOfUint32(uint32(n)), err //nolint:gosec // unsigned checked the range
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, err := unsigned(at, value, digits, 64)
		return protoreflect.ValueOfUint64(n), err
	default:
		n, err := signed(at, value, digits, 64)
		return protoreflect.ValueOfInt64(n), err
	}
}

func signed(at place, value, digits string, bits int) (int64, error) {
	n, err := strconv.ParseInt(digits, 10, bits)
	if err != nil {
		limit := int64(math.MaxInt64) >> (64 - bits)
		return 0, at.refuse(value, fmt.Sprintf("a whole number from %d to %d", -limit-1, limit))
	}
	return n, nil
}

func unsigned(at place, value, digits string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(digits, 10, bits)
	if err != nil {
		return 0, at.refuse(value, fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-bits)))
	}
	return n, nil
}
