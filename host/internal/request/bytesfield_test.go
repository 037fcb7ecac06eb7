package request

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// uploads are.
func uploadType(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: new(name), Number: new(number), Type: kind.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), JsonName: new(name),
		}
	}
	header := field("header", 1, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
	header.TypeName, header.OneofIndex = new(".up.Header"), new(int32(0))
	chunk := field("chunk", 2000, descriptorpb.FieldDescriptorProto_TYPE_BYTES)
	chunk.OneofIndex = new(int32(0))
	many := field("many", 3, descriptorpb.FieldDescriptorProto_TYPE_BYTES)
	many.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	again := field("again", 4, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
	again.TypeName = new(".up.Header")
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("up.proto"), Package: new("up"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: new("Upload"), Field: []*descriptorpb.FieldDescriptorProto{header, chunk, many}, OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: new("part")}}},
			{Name: new("Header"), Field: []*descriptorpb.FieldDescriptorProto{
				field("name", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING), field("sum", 2, descriptorpb.FieldDescriptorProto_TYPE_BYTES), again,
			}},
		},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("Upload")
}

func TestTheFieldThatARawBodyIs(t *testing.T) {
	fields := BytesFields(uploadType(t))
	if got, want := BytesPaths(fields), "chunk, header.sum, header.again.sum, header.again.again.sum, header.again.again.again.sum"; got != want {
		t.Errorf("got %s", got)
	}
	nested := fields[1:]
	for _, c := range []struct {
		fields []BytesField
		name   string
		want   string // "" for none
	}{
		{fields, "", "chunk"},
		{fields, "header.sum", "header.sum"},
		{fields, "header", ""},
		{nested[:1], "", "header.sum"},
		{nested, "", ""},
		{nil, "", ""},
		{nil, "chunk", ""},
	} {
		got := ""
		if field, ok := ChooseBytes(c.fields, c.name); ok {
			got = field.Path
		}
		if got != c.want {
			t.Errorf("%q of %s: got %q, want %q", c.name, BytesPaths(c.fields), got, c.want)
		}
	}
}

func TestARawBodyBecomesAFieldAndComesBack(t *testing.T) {
	md := uploadType(t)
	for _, field := range BytesFields(md) {
		for _, size := range []int{0, 1, 127, 128, 70_000} {
			content := []byte(strings.Repeat("x", size))
			message := append(field.AppendHead(nil, size), content...)
			m := dynamicpb.NewMessage(md)
			if err := proto.Unmarshal(message, m); err != nil {
				t.Fatalf("%s of %d bytes: %v", field.Path, size, err)
			}
			var at protoreflect.Message = m
			for _, step := range field.Steps[:len(field.Steps)-1] {
				at = at.Get(step).Message()
			}
			if got := at.Get(field.Steps[len(field.Steps)-1]).Bytes(); len(got) != size {
				t.Errorf("%s: %d bytes became %d", field.Path, size, len(got))
			}
			if got := field.Content(message); len(got) != size {
				t.Errorf("%s: of %d bytes %d came back", field.Path, size, len(got))
			}
		}
	}
}

func TestARawBodyIsNoSecondMemberOfAOneof(t *testing.T) {
	md := uploadType(t)
	chunk := BytesFields(md)[0]
	m := dynamicpb.NewMessage(md)
	if got := chunk.Taken(m); got != "" {
		t.Errorf("of an empty message %q is taken", got)
	}
	m.Mutable(md.Fields().ByName("header"))
	if got := chunk.Taken(m); got != "header" {
		t.Errorf("beside a header %q is taken", got)
	}
	m.Set(md.Fields().ByName("chunk"), protoreflect.ValueOfBytes([]byte("x")))
	if got := chunk.Taken(m); got != "chunk" {
		t.Errorf("beside a chunk %q is taken", got)
	}
}

func FuzzContentOfAnyBytes(f *testing.F) {
	fields := BytesFields(uploadType(f))
	f.Add([]byte{0x82, 0x7d, 0x01, 'x'})
	f.Add([]byte{0x0a, 0x03, 0x12, 0x01, 'x'})
	f.Fuzz(func(t *testing.T, message []byte) {
		m := dynamicpb.NewMessage(uploadType(t))
		whole := proto.Unmarshal(message, m) == nil
		chunk := fields[0].Content(message)
		// Where the message is one, the answer is what protobuf reads.
		if want := m.Get(m.Descriptor().Fields().ByName("chunk")).Bytes(); whole && len(want) > 0 && string(want) != string(chunk) {
			t.Errorf("got %q, want %q", chunk, want)
		}
		for i := range fields[1:] {
			fields[i+1].Content(message)
		}
	})
}
