package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// kinds are all that a key can be of, by the names that .proto files use.
var kinds = map[string]descriptorpb.FieldDescriptorProto_Type{
	"string":   descriptorpb.FieldDescriptorProto_TYPE_STRING,
	"bytes":    descriptorpb.FieldDescriptorProto_TYPE_BYTES,
	"int32":    descriptorpb.FieldDescriptorProto_TYPE_INT32,
	"sint32":   descriptorpb.FieldDescriptorProto_TYPE_SINT32,
	"uint32":   descriptorpb.FieldDescriptorProto_TYPE_UINT32,
	"fixed32":  descriptorpb.FieldDescriptorProto_TYPE_FIXED32,
	"sfixed32": descriptorpb.FieldDescriptorProto_TYPE_SFIXED32,
	"int64":    descriptorpb.FieldDescriptorProto_TYPE_INT64,
	"sint64":   descriptorpb.FieldDescriptorProto_TYPE_SINT64,
	"uint64":   descriptorpb.FieldDescriptorProto_TYPE_UINT64,
	"fixed64":  descriptorpb.FieldDescriptorProto_TYPE_FIXED64,
	"sfixed64": descriptorpb.FieldDescriptorProto_TYPE_SFIXED64,
	"bool":     descriptorpb.FieldDescriptorProto_TYPE_BOOL,
	"enum":     descriptorpb.FieldDescriptorProto_TYPE_ENUM,
}

// kindNames are the keys of kinds, sorted: the order of the fields' numbers.
func kindNames() []string {
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fields adds fields to a message, numbered on.
type fields struct{ message *descriptorpb.DescriptorProto }

func (f fields) add(name string, t descriptorpb.FieldDescriptorProto_Type, label descriptorpb.FieldDescriptorProto_Label, typeName string) *descriptorpb.FieldDescriptorProto {
	fd := &descriptorpb.FieldDescriptorProto{
		Name:   new(name),
		Number: new(int32(len(f.message.GetField()) + 1)),
		Type:   t.Enum(),
		Label:  label.Enum(),
	}
	if t == descriptorpb.FieldDescriptorProto_TYPE_ENUM {
		typeName = ".keys.v1.Colour"
	}
	if typeName != "" {
		fd.TypeName = new(typeName)
	}
	f.message.Field = append(f.message.Field, fd)
	return fd
}

const (
	optional = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
	repeated = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	message  = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
)

// keysFile is a .proto whose message All has a field of each kind in each
// form, such as "uint32", "opt_uint32", "one_uint32" (in a oneof),
// "many_uint32" (packed where that exists) and "loose_uint32" (never packed);
// the message "inner" of its own type, "one_inner" in the oneof, "legacy", which is of
// proto2 and has a group; and "double", "items" and "labels", which cannot be
// keys.
func keysFile(call *optionsv1.Call) *descriptorpb.FileDescriptorProto {
	f := file("keys.v1", "Keys", "Do")
	f.Dependency = append(f.Dependency, legacyFile().GetName())
	f.EnumType = []*descriptorpb.EnumDescriptorProto{{Name: new("Colour")}}
	for name, number := range map[string]int32{"NONE": 0, "Red": 1, "BLUE": 5, "MINUS": -1} {
		f.EnumType[0].Value = append(f.EnumType[0].Value, &descriptorpb.EnumValueDescriptorProto{Name: new(name), Number: new(number)})
	}
	slices.SortFunc(f.EnumType[0].Value, func(a, b *descriptorpb.EnumValueDescriptorProto) int {
		return int(a.GetNumber()*a.GetNumber() - b.GetNumber()*b.GetNumber()) // proto3 wants zero first
	})
	all := &descriptorpb.DescriptorProto{
		Name:      new("All"),
		OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: new("choice")}},
		NestedType: []*descriptorpb.DescriptorProto{{
			Name:    new("LabelsEntry"),
			Options: &descriptorpb.MessageOptions{MapEntry: new(true)},
		}},
	}
	entry := fields{all.GetNestedType()[0]}
	entry.add("key", kinds["string"], optional, "")
	entry.add("value", kinds["string"], optional, "")
	to := fields{all}
	for _, name := range kindNames() {
		to.add("one_"+name, kinds[name], optional, "").OneofIndex = new(int32(0))
	}
	to.add("one_inner", message, optional, ".keys.v1.All").OneofIndex = new(int32(0))
	for _, name := range kindNames() {
		to.add(name, kinds[name], optional, "")
		to.add("many_"+name, kinds[name], repeated, "")
		to.add("loose_"+name, kinds[name], repeated, "").Options = &descriptorpb.FieldOptions{Packed: looselyPacked(name)}
	}
	to.add("inner", message, optional, ".keys.v1.All")
	to.add("legacy", message, optional, ".keys.legacy.Legacy")
	to.add("items", message, repeated, ".keys.v1.All")
	to.add("labels", message, repeated, ".keys.v1.All.LabelsEntry")
	to.add("double", descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, optional, "")
	for _, name := range kindNames() { // the oneofs of optional fields come last
		o := to.add("opt_"+name, kinds[name], optional, "")
		o.Proto3Optional = new(true)
		o.OneofIndex = new(int32(len(all.GetOneofDecl())))
		all.OneofDecl = append(all.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: new("_opt_" + name)})
	}
	f.MessageType = append(f.MessageType, all)
	do := f.GetService()[0].GetMethod()[0]
	do.InputType, do.OutputType = new(".keys.v1.All"), new(".keys.v1.All")
	if call != nil {
		do.Options = new(descriptorpb.MethodOptions)
		proto.SetExtension(do.Options, optionsv1.E_Call, call)
	}
	return f
}

// looselyPacked is nil for the kinds that have no packed form to opt out of.
func looselyPacked(kind string) *bool {
	if kind == "string" || kind == "bytes" {
		return nil
	}
	return new(false)
}

// legacyFile is a .proto of the old syntax.
func legacyFile() *descriptorpb.FileDescriptorProto {
	deep := &descriptorpb.DescriptorProto{Name: new("Deep")}
	group := &descriptorpb.DescriptorProto{Name: new("Group"), NestedType: []*descriptorpb.DescriptorProto{deep}}
	legacy := &descriptorpb.DescriptorProto{Name: new("Legacy"), NestedType: []*descriptorpb.DescriptorProto{group}}
	const ofGroup = descriptorpb.FieldDescriptorProto_TYPE_GROUP
	fields{legacy}.add("group", ofGroup, optional, ".keys.legacy.Legacy.Group")
	fields{legacy}.add("number", kinds["int32"], optional, "").DefaultValue = new("7")
	fields{group}.add("text", kinds["string"], optional, "")
	fields{group}.add("deep", ofGroup, optional, ".keys.legacy.Legacy.Group.Deep")
	fields{deep}.add("text", kinds["string"], optional, "")
	return &descriptorpb.FileDescriptorProto{
		Name:        new("keys/legacy.proto"),
		Package:     new("keys.legacy"),
		Syntax:      new("proto2"),
		MessageType: []*descriptorpb.DescriptorProto{legacy},
	}
}

// declaring is what a plugin answers whose method declares call.
func declaring(call *optionsv1.Call) *pluginv1.DescribeResponse {
	r := response(keysFile(call))
	r.Files.File = append(r.Files.File, legacyFile())
	return r
}

// declared returns the method that declares call.
func declared(tb testing.TB, call *optionsv1.Call) *Method {
	tb.Helper()
	d, err := NewDescription(declaring(call))
	if err != nil {
		tb.Fatal(err)
	}
	return d.Methods()[0]
}

// allMessage is the descriptor of keys.v1.All.
func allMessage(tb testing.TB) protoreflect.MessageDescriptor {
	tb.Helper()
	return declared(tb, nil).Descriptor.Input()
}

// paths are all fields of All that can be keys, and those within messages.
func paths() []string {
	var all []string
	for _, kind := range kindNames() {
		for _, form := range []string{"", "opt_", "one_", "many_", "loose_"} {
			all = append(all, form+kind)
		}
	}
	all = append(all, "legacy.number", "legacy.group.text", "legacy.group.deep.text", "inner.legacy.group.text")
	for _, leaf := range []string{"string", "one_string", "opt_sint32", "many_enum", "bool"} {
		for _, way := range []string{"inner.", "one_inner.", "inner.inner.", "inner.one_inner.", "one_inner.one_inner."} {
			all = append(all, way+leaf)
		}
	}
	return all
}

// decodedText is what field.text has to agree with.
func decodedText(m protoreflect.Message, path string) string {
	part, rest, more := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(part))
	if !m.Has(fd) {
		return ""
	}
	v := m.Get(fd)
	if more {
		return decodedText(v.Message(), rest)
	}
	if fd.IsList() {
		v = v.List().Get(v.List().Len() - 1)
	}
	switch v := v.Interface().(type) {
	case []byte:
		return string(v)
	case protoreflect.EnumNumber:
		if known := fd.Enum().Values().ByNumber(v); known != nil {
			return string(known.Name())
		}
		return fmt.Sprint(v)
	default:
		return fmt.Sprint(v)
	}
}

// decode decodes bytes as All.
func decode(md protoreflect.MessageDescriptor, wire []byte) (protoreflect.Message, bool) {
	m := dynamicpb.NewMessage(md)
	return m, proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(wire, m) == nil
}

// randomWire encodes a message with fields in any order, number and form, with
// values that are on an edge, and now and then one that the decoder has to
// skip.
func randomWire(r *rand.Rand, md protoreflect.MessageDescriptor, depth int) []byte {
	var b []byte
	for range r.IntN(8) {
		fd := md.Fields().Get(r.IntN(md.Fields().Len()))
		if m := md.Fields().ByName([]protoreflect.Name{"inner", "one_inner"}[r.IntN(2)]); m != nil && r.IntN(3) == 0 {
			fd = m // deeper more often than chance would have it
		}
		number := fd.Number()
		switch {
		case r.IntN(20) == 0: // of another type, or unknown
			number += protowire.Number(r.IntN(500))
		case fd.Kind() == protoreflect.MessageKind || fd.Kind() == protoreflect.GroupKind:
			if depth == 0 || fd.IsMap() {
				continue
			}
			inner := randomWire(r, fd.Message(), depth-1)
			b = protowire.AppendTag(b, number, wireType(fd.Kind()))
			if fd.Kind() == protoreflect.GroupKind {
				b = protowire.AppendGroup(b, number, inner)
			} else {
				b = protowire.AppendBytes(b, inner)
			}
			continue
		case fd.IsList() && r.IntN(2) == 0 && wireType(fd.Kind()) != protowire.BytesType:
			var run []byte
			for range r.IntN(4) {
				run = randomValue(r, run, wireType(fd.Kind()))
			}
			b = protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), run)
			continue
		}
		b = randomValue(r, protowire.AppendTag(b, number, wireType(fd.Kind())), wireType(fd.Kind()))
	}
	return b
}

func randomValue(r *rand.Rand, b []byte, wire protowire.Type) []byte {
	texts := []string{"", "a", "Äpfel", "HTTP://Example.com/a", strings.Repeat("x", 300)}
	numbers := []uint64{0, 1, 2, 5, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 63, 1<<64 - 1}
	number := numbers[r.IntN(len(numbers))]
	switch wire {
	case protowire.BytesType:
		return protowire.AppendString(b, texts[r.IntN(len(texts))])
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(b, uint32(number))
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(b, number)
	default:
		return protowire.AppendVarint(b, number)
	}
}

func TestTheTestSchemaIsValid(t *testing.T) {
	if _, err := protodesc.NewFiles(declaring(nil).GetFiles()); err != nil {
		t.Fatal(err)
	}
}
