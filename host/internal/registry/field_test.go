package registry

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// record is one field on the wire: a string is of text, bytes or a packed run,
// an int a varint, a uint32 or fixed64 of that width, records are a message.
type record struct {
	field string
	value any
}

// fixed64 is a number of eight bytes on the wire.
type fixed64 uint64

// encode writes records of a message in their order.
func encode(tb testing.TB, md protoreflect.MessageDescriptor, records ...record) []byte {
	tb.Helper()
	var b []byte
	for _, r := range records {
		fd := md.Fields().ByName(protoreflect.Name(r.field))
		if fd == nil {
			tb.Fatalf("no field %q in %s", r.field, md.FullName())
		}
		switch v := r.value.(type) {
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, fd.Number(), protowire.BytesType), v)
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, fd.Number(), protowire.VarintType), uint64(v))
		case uint32:
			b = protowire.AppendFixed32(protowire.AppendTag(b, fd.Number(), protowire.Fixed32Type), v)
		case fixed64:
			b = protowire.AppendFixed64(protowire.AppendTag(b, fd.Number(), protowire.Fixed64Type), uint64(v))
		case []record:
			inner := encode(tb, fd.Message(), v...)
			b = protowire.AppendTag(b, fd.Number(), wireType(fd.Kind()))
			if fd.Kind() == protoreflect.GroupKind {
				b = protowire.AppendGroup(b, fd.Number(), inner)
			} else {
				b = protowire.AppendBytes(b, inner)
			}
		default:
			tb.Fatalf("a record of %T", v)
		}
	}
	return b
}

func mustField(tb testing.TB, md protoreflect.MessageDescriptor, path string) field {
	tb.Helper()
	f, err := newField(md, path)
	if err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	return f
}

func TestAFieldIsReadAsItsKindIsWritten(t *testing.T) {
	md := allMessage(t)
	for _, c := range []struct {
		field string
		given any
		want  string
	}{
		{"string", "Hello/Wörld", "Hello/Wörld"},
		{"bytes", "\x00\xff", "\x00\xff"},
		{"int32", -5, "-5"},
		{"int32", 1<<32 + 7, "7"}, // a decoder takes the low 32 bits
		{"sint32", 9, "-5"},
		{"uint32", 4294967295, "4294967295"},
		{"uint32", 1<<32 + 7, "7"},
		{"fixed32", uint32(1 << 31), "2147483648"},
		{"sfixed32", uint32(1 << 31), "-2147483648"},
		{"int64", -5, "-5"},
		{"sint64", 9, "-5"},
		{"uint64", -1, "18446744073709551615"},
		{"fixed64", fixed64(1 << 63), "9223372036854775808"},
		{"sfixed64", fixed64(1 << 63), "-9223372036854775808"},
		{"bool", 1, "true"},
		{"bool", 3, "true"},
		{"enum", 1, "Red"},
		{"enum", -1, "MINUS"},
		{"enum", 77, "77"},
		{"enum", -77, "-77"},

		// Without presence a zero is absent, with presence it is not.
		{"string", "", ""},
		{"int32", 0, ""},
		{"int32", 1 << 32, ""},
		{"fixed64", fixed64(0), ""},
		{"bool", 0, ""},
		{"enum", 0, ""},
		{"opt_string", "", ""},
		{"opt_int32", 0, "0"},
		{"opt_uint64", 0, "0"},
		{"opt_fixed64", fixed64(0), "0"},
		{"opt_bool", 0, "false"},
		{"opt_enum", 0, "NONE"},
		{"one_bool", 0, "false"},
		{"many_bool", 0, "false"},

		// A value of another wire type is an unknown field.
		{"string", 5, ""},
		{"int32", "\x05", ""},
		{"int32", uint32(5), ""},
		{"bool", []record{}, ""},
	} {
		f := mustField(t, md, c.field)
		var wire []byte
		if inner, ok := c.given.([]record); ok {
			wire = protowire.AppendGroup(protowire.AppendTag(nil, md.Fields().ByName("bool").Number(), protowire.StartGroupType),
				md.Fields().ByName("bool").Number(), encode(t, md, inner...))
		} else {
			wire = encode(t, md, record{c.field, c.given})
		}
		got, ok := f.text(wire, nil)
		if !ok || string(got) != c.want {
			t.Errorf("%s of %v: got %q %v, want %q", c.field, c.given, got, ok, c.want)
		}
	}
}

func TestTheLastValueOnTheWireCounts(t *testing.T) {
	md := allMessage(t)
	packed := func(numbers ...uint64) string {
		var b []byte
		for _, n := range numbers {
			b = protowire.AppendVarint(b, n)
		}
		return string(b)
	}
	for _, c := range []struct {
		name  string
		path  string
		given []record
		want  string
	}{
		{"nothing", "string", nil, ""},
		{"once", "string", []record{{"string", "a"}, {"bytes", "x"}}, "a"},
		{"twice", "string", []record{{"string", "a"}, {"bytes", "x"}, {"string", "b"}}, "b"},
		{"unset by a zero", "int32", []record{{"int32", 5}, {"int32", 0}}, ""},
		{"unpacked", "many_int32", []record{{"many_int32", 1}, {"many_int32", 2}}, "2"},
		{"packed", "many_int32", []record{{"many_int32", packed(1, 2, 300)}}, "300"},
		{"packed where not declared", "loose_int32", []record{{"loose_int32", packed(1, 2)}}, "2"},
		{"both", "many_int32", []record{{"many_int32", packed(1, 2)}, {"many_int32", 3}}, "3"},
		{"an empty run", "many_int32", []record{{"many_int32", 3}, {"many_int32", ""}}, "3"},
		{"a zero in a list", "many_int32", []record{{"many_int32", packed(1, 0)}}, "0"},
		{"packed fixed", "many_fixed32", []record{{"many_fixed32", "\x01\x00\x00\x00\x02\x00\x00\x00"}}, "2"},
		{"texts", "many_string", []record{{"many_string", "a"}, {"many_string", "b"}}, "b"},
		{"a nested field", "inner.string", []record{{"string", "out"}, {"inner", []record{{"string", "in"}}}}, "in"},
		{"merged messages", "inner.string", []record{{"inner", []record{{"string", "a"}}}, {"inner", []record{{"bytes", "x"}}}}, "a"},
		{"merged messages, set in both", "inner.string", []record{{"inner", []record{{"string", "a"}}}, {"inner", []record{{"string", "b"}}}}, "b"},
		{"merged deeper", "inner.inner.string", []record{
			{"inner", []record{{"inner", []record{{"string", "a"}}}}},
			{"inner", []record{{"inner", none()}, {"string", "x"}}},
		}, "a"},
		{"of a oneof", "one_string", []record{{"one_string", "a"}}, "a"},
		{"unset by another of the oneof", "one_string", []record{{"one_string", "a"}, {"one_int32", 0}}, ""},
		{"unset by a message of the oneof", "one_string", []record{{"one_string", "a"}, {"one_inner", none()}}, ""},
		{"set again", "one_string", []record{{"one_int32", 1}, {"one_string", "a"}}, "a"},
		{"not unset by a wrong type", "one_string", []record{{"one_string", "a"}, {"one_int32", "x"}}, "a"},
		{"a message unset in between", "one_inner.string", []record{
			{"one_inner", []record{{"string", "a"}}}, {"one_bool", 1}, {"one_inner", []record{{"bytes", "x"}}},
		}, ""},
		{"an optional field is no oneof", "opt_string", []record{{"opt_string", "a"}, {"opt_int32", 1}}, "a"},
		{"a group", "legacy.group.text", []record{{"legacy", []record{{"group", []record{{"text", "a"}}}}}}, "a"},
		{"a group in a group", "legacy.group.deep.text", []record{
			{"legacy", []record{{"group", []record{{"text", "out"}, {"deep", []record{{"text", "in"}}}}}}},
		}, "in"},
		{"a default is not set", "legacy.number", []record{{"legacy", none()}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire := encode(t, md, c.given...)
			f := mustField(t, md, c.path)
			if got, ok := f.text(wire, nil); !ok || string(got) != c.want {
				t.Errorf("got %q %v, want %q", got, ok, c.want)
			}
			if m, ok := decode(md, wire); !ok || decodedText(m, c.path) != c.want {
				t.Errorf("the decoder: %q %v, want %q", decodedText(m, c.path), ok, c.want)
			}
		})
	}
}

// none is a message without fields.
func none() []record { return []record{} }

func TestBytesThatAreNoMessageHaveNoValue(t *testing.T) {
	md := allMessage(t)
	good := encode(t, md, record{"string", "a"}, record{"inner", []record{{"string", "b"}}}, record{"many_int32", "\x01\x02"})
	tag := func(name string, wire protowire.Type) string {
		return string(protowire.AppendTag(nil, md.Fields().ByName(protoreflect.Name(name)).Number(), wire))
	}
	for name, tail := range map[string]string{
		"a torn tag":              "\x80",
		"field 0":                 "\x00\x01",
		"wire type 7":             "\x0f",
		"an end without a group":  "\x0c",
		"a group without an end":  "\x0b\x08\x01",
		"another group's end":     "\x0b\x14",
		"a length beyond the end": tag("string", protowire.BytesType) + "\x05ab",
		"a length of 2^63":        tag("string", protowire.BytesType) + "\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
		"a varint of 11 bytes":    tag("int32", protowire.VarintType) + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"a torn run":              tag("many_int32", protowire.BytesType) + "\x01\x80",
		"a torn inner message":    tag("inner", protowire.BytesType) + "\x01\x80",
		"groups without end":      strings.Repeat("\x0b", 1<<20),
	} {
		for _, path := range []string{"string", "inner.string", "many_int32"} {
			f := mustField(t, md, path)
			got, ok := f.text([]byte(string(good)+tail), nil)
			// A field's own form is not checked by those who look for another.
			mine := path == "many_int32" || !strings.Contains(name, "run")
			mine = mine && (path == "inner.string" || !strings.Contains(name, "inner"))
			if ok == mine || ok == (len(got) == 0) {
				t.Errorf("%s, %s: got %q %v", name, path, got, ok)
			}
		}
	}
}

func TestAFieldIsReadAsADecoderReadsIt(t *testing.T) {
	md := allMessage(t)
	r := rand.New(rand.NewPCG(1, 2))
	compiled := make(map[string]field)
	for _, path := range paths() {
		compiled[path] = mustField(t, md, path)
	}
	set := make(map[string]int)
	for range 2000 {
		wire := randomWire(r, md, 3)
		if r.IntN(2) == 0 { // a concatenation is the merged message
			wire = append(wire, canonical(t, md, randomWire(r, md, 3))...)
		}
		m, ok := decode(md, wire)
		if !ok { // a wrong type in a wrong place
			continue
		}
		for path, f := range compiled {
			want := decodedText(m, path)
			if got, ok := f.text(wire, nil); !ok || string(got) != want {
				t.Fatalf("%s of %x: got %q %v, want %q", path, wire, got, ok, want)
			}
			if want != "" {
				set[path]++
			}
		}
	}
	for _, path := range paths() {
		if set[path] == 0 {
			t.Errorf("%s was never set: the test proves nothing about it", path)
		}
	}
}

// canonical encodes again what wire says, or returns nothing.
func canonical(t *testing.T, md protoreflect.MessageDescriptor, wire []byte) []byte {
	t.Helper()
	m, ok := decode(md, wire)
	if !ok {
		return nil
	}
	again, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m.Interface())
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestAPathThatIsWrongSaysWhere(t *testing.T) {
	md := allMessage(t)
	for path, want := range map[string]string{
		"":                  "no field given",
		"sting":             `message keys.v1.All has no field "sting"; did you mean "string"?`,
		"inner.Sting":       `message keys.v1.All has no field "Sting"; did you mean "string"?`,
		"inner.legacy.nope": `message keys.legacy.Legacy has no field "nope"`,
		"inner..string":     `has no field ""`,
		"string.x":          `"string" is of type string, which has no fields`,
		"many_string.x":     `"many_string" is of type string, which has no fields`,
		"labels.value":      `"labels" is a map, which has no fields`,
		"items.string":      `"items" is repeated, so "items.string" is not one value`,
		"inner":             `"inner" is a message; only text, bytes, integers, enums and bools are read`,
		"legacy.group":      `"group" is a message`,
		"items":             `"items" is a message`,
		"labels":            `"labels" is a map`,
		"double":            `"double" is of type double`,
		"inner" + strings.Repeat(".inner", 15) + ".string": "a path of 17 fields, limit 16",
	} {
		_, err := newField(md, path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", path, err, want)
		}
	}
	deepest := strings.Repeat("inner.", 15) + "string"
	if _, err := newField(md, deepest); err != nil {
		t.Errorf("a path of 16: %v", err)
	}
}

func TestAPathThroughAMissingImportIsUnresolved(t *testing.T) {
	r := declaring(nil)
	r.Files.File = slices.DeleteFunc(r.GetFiles().GetFile(), func(f *descriptorpb.FileDescriptorProto) bool { return f.GetName() == legacyFile().GetName() })
	all := r.GetFiles().GetFile()[0].GetMessageType()[1]
	fields{all}.add("missing_enum", kinds["enum"], optional, "").TypeName = new(".keys.legacy.Missing")
	fields{all}.add("missing_type", 0, optional, ".keys.legacy.Missing").Type = nil
	d, err := NewDescription(r)
	if err != nil {
		t.Fatal(err)
	}
	md := d.Methods()[0].Descriptor.Input()
	for _, path := range []string{"legacy.number", "legacy", "missing_enum", "missing_type", "missing_type.x"} {
		if _, err := newField(md, path); !errors.Is(err, errUnresolved) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if _, err := newField(md, "string"); err != nil {
		t.Error(err)
	}
}

// FuzzKeyValue feeds arbitrary bytes to all fields: they never panic, and where
// a decoder takes the bytes for a message, they agree with it.
func FuzzKeyValue(f *testing.F) {
	md := allMessage(f)
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add(randomWire(r, md, 3))
	}
	f.Add(encode(f, md, record{"inner", []record{{"one_string", "a"}, {"one_inner", none()}}}))
	compiled := make(map[string]field)
	for _, path := range paths() {
		compiled[path] = mustField(f, md, path)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := dynamicpb.NewMessage(md)
		decodes := proto.Unmarshal(wire, m) == nil
		for path, f := range compiled {
			var scratch [16]byte
			got, ok := f.text(wire, scratch[:])
			switch {
			case !ok && (decodes || len(got) > 0):
				t.Errorf("%s: no message, value %q; it decodes: %v", path, got, decodes)
			case decodes && string(got) != decodedText(m, path):
				t.Errorf("%s: got %q, want %q", path, got, decodedText(m, path))
			}
		}
	})
}
