package config

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"strings"

	"github.com/hashicorp/hcl/v2"
	ctyjson "github.com/zclconf/go-cty/cty/json"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"

	"github.com/gaia-go/gaia/host/internal/nearest"
)

// The messages that are written as a single value.
const (
	durationMessage = "google.protobuf.Duration"
	rateMessage     = "gaia.options.v1.Rate"
	structMessage   = "google.protobuf.Struct"
	valueMessage    = "google.protobuf.Value"
	listMessage     = "google.protobuf.ListValue"
)

// scalar reads v as one value of fd: the field itself, or an element of it.
// empty is a new value of that kind, which a message is decoded into.
func scalar(fd protoreflect.FieldDescriptor, v value, empty protoreflect.Value) (protoreflect.Value, *hcl.Diagnostic) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		s, diag := v.text()
		return protoreflect.ValueOfString(s), diag
	case protoreflect.BytesKind:
		b, diag := v.base64()
		return protoreflect.ValueOfBytes(b), diag
	case protoreflect.BoolKind:
		b, diag := v.boolean()
		return protoreflect.ValueOfBool(b), diag
	case protoreflect.EnumKind:
		return enum(fd.Enum(), v)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return float(fd.Kind(), v)
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return empty, scalarMessage(empty.Message(), v)
	default:
		return integer(fd, v)
	}
}

// base64 reads v as bytes.
func (v value) base64() ([]byte, *hcl.Diagnostic) {
	text, diag := v.text()
	if diag != nil {
		return nil, diag
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, v.fault("Invalid base64", fmt.Sprintf("%s holds bytes, written in base64 (with + and /, padded by =).", v.name), "")
	}
	return b, nil
}

// enum reads v as the name of a value of ed, in either case.
func enum(ed protoreflect.EnumDescriptor, v value) (protoreflect.Value, *hcl.Diagnostic) {
	given := v.raw()
	values := ed.Values()
	for i := range values.Len() {
		if strings.EqualFold(string(values.Get(i).Name()), given) {
			return protoreflect.ValueOfEnum(values.Get(i).Number()), nil
		}
	}
	names := enumNames(ed)
	hint, _ := nearest.Name(given, names)
	return protoreflect.Value{}, v.fault("Unknown value", fmt.Sprintf("%s is one of %s.", v.name, inWords(quoted(names))), hint)
}

// enumNames returns what may be written for an enum. A zero that only stands
// for "not set" is left out, unless it is all there is.
func enumNames(ed protoreflect.EnumDescriptor) []string {
	var names []string
	for i := range ed.Values().Len() {
		name := strings.ToLower(string(ed.Values().Get(i).Name()))
		if ed.Values().Len() == 1 || !strings.HasSuffix(name, "unspecified") {
			names = append(names, name)
		}
	}
	return names
}

func float(kind protoreflect.Kind, v value) (protoreflect.Value, *hcl.Diagnostic) {
	n, diag := v.number()
	if diag != nil {
		return protoreflect.Value{}, diag
	}
	if kind == protoreflect.FloatKind {
		f, _ := n.Float32()
		if math.IsInf(float64(f), 0) {
			return protoreflect.Value{}, v.fault("Number out of range", fmt.Sprintf("%s is at most %g.", v.name, math.MaxFloat32), "")
		}
		return protoreflect.ValueOfFloat32(f), nil
	}
	f, _ := n.Float64()
	if math.IsInf(f, 0) {
		return protoreflect.Value{}, v.fault("Number out of range", fmt.Sprintf("%s is at most %g.", v.name, math.MaxFloat64), "")
	}
	return protoreflect.ValueOfFloat64(f), nil
}

// integer reads v as an integer, or as a size where the field's unit is bytes.
func integer(fd protoreflect.FieldDescriptor, v value) (protoreflect.Value, *hcl.Diagnostic) {
	low, high := integerBounds(fd.Kind())
	if fieldOptions(fd).GetUnit() != optionsv1.Unit_BYTES {
		n, diag := v.integer(low, high)
		if diag != nil {
			return protoreflect.Value{}, diag
		}
		return integerValue(fd.Kind(), n), nil
	}
	size, diag := v.bytes()
	if diag != nil {
		return protoreflect.Value{}, diag
	}
	n := new(big.Int).SetUint64(uint64(size))
	if n.Cmp(high) > 0 {
		return protoreflect.Value{}, v.fault("Size out of range", fmt.Sprintf("%s is at most %v.", v.name, Bytes(high.Uint64())), "")
	}
	return integerValue(fd.Kind(), n), nil
}

// integerBounds returns the least and the greatest integer of a kind.
func integerBounds(kind protoreflect.Kind) (low, high *big.Int) {
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return big.NewInt(math.MinInt32), big.NewInt(math.MaxInt32)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return new(big.Int), big.NewInt(math.MaxUint32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return new(big.Int), new(big.Int).SetUint64(math.MaxUint64)
	default:
		return big.NewInt(math.MinInt64), big.NewInt(math.MaxInt64)
	}
}

// integerValue returns n, which is within the bounds of kind.
func integerValue(kind protoreflect.Kind, n *big.Int) protoreflect.Value {
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n.Int64())) //nolint:gosec // within integerBounds
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n.Uint64())) //nolint:gosec // within integerBounds
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(n.Uint64())
	default:
		return protoreflect.ValueOfInt64(n.Int64())
	}
}

// scalarMessage reads v into a message that is written as one value.
func scalarMessage(msg protoreflect.Message, v value) *hcl.Diagnostic {
	switch msg.Descriptor().FullName() {
	case durationMessage:
		d, diag := v.duration()
		if diag != nil {
			return diag
		}
		return assign(msg, v, durationpb.New(d))
	case rateMessage:
		r, diag := v.rate()
		if diag != nil {
			return diag
		}
		return assign(msg, v, &optionsv1.Rate{Events: r.Events, Per: durationpb.New(r.Per)})
	case structMessage:
		return assignJSON(msg, v, &structpb.Struct{}, "an object, written in braces")
	case listMessage:
		return assignJSON(msg, v, &structpb.ListValue{}, "a list, written in brackets")
	default:
		return assignJSON(msg, v, &structpb.Value{}, "a value")
	}
}

// assign copies src into dst, which is of the same type by name but may come
// from other descriptors.
func assign(dst protoreflect.Message, v value, src proto.Message) *hcl.Diagnostic {
	wire, err := proto.Marshal(src)
	if err == nil {
		err = proto.Unmarshal(wire, dst.Interface())
	}
	if err != nil {
		return v.fault("Unusable descriptor", fmt.Sprintf("The plugin redefines %s. That is a fault of the plugin.", dst.Descriptor().FullName()), "")
	}
	return nil
}

// assignJSON reads v into a message that stands for JSON.
func assignJSON(dst protoreflect.Message, v value, src proto.Message, what string) *hcl.Diagnostic {
	text, err := ctyjson.Marshal(v.val, v.val.Type())
	if err == nil {
		err = protojson.Unmarshal(text, src)
	}
	if err != nil {
		return v.fault("Unsuitable value", fmt.Sprintf("%s is %s.", v.name, what), "")
	}
	return assign(dst, v, src)
}
