package rest

import (
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// uploadType is a message that is a header or a chunk, as the messages of many
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
	fields := bytesFields(uploadType(t))
	if got, want := paths(fields), "chunk, header.sum, header.again.sum, header.again.again.sum, header.again.again.again.sum"; got != want {
		t.Errorf("got %s", got)
	}
	nested := fields[1:]
	for _, c := range []struct {
		fields []bytesField
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
		if field, ok := choose(c.fields, c.name); ok {
			got = field.path
		}
		if got != c.want {
			t.Errorf("%q of %s: got %q, want %q", c.name, paths(c.fields), got, c.want)
		}
	}
}

func TestARawBodyBecomesAFieldAndComesBack(t *testing.T) {
	md := uploadType(t)
	for _, field := range bytesFields(md) {
		for _, size := range []int{0, 1, 127, 128, 70_000} {
			content := []byte(strings.Repeat("x", size))
			message := append(field.appendHead(nil, size), content...)
			m := dynamicpb.NewMessage(md)
			if err := proto.Unmarshal(message, m); err != nil {
				t.Fatalf("%s of %d bytes: %v", field.path, size, err)
			}
			var at protoreflect.Message = m
			for _, step := range field.steps[:len(field.steps)-1] {
				at = at.Get(step).Message()
			}
			if got := at.Get(field.steps[len(field.steps)-1]).Bytes(); len(got) != size {
				t.Errorf("%s: %d bytes became %d", field.path, size, len(got))
			}
			if got := field.content(message); len(got) != size {
				t.Errorf("%s: of %d bytes %d came back", field.path, size, len(got))
			}
		}
	}
}

func TestARawBodyIsNoSecondMemberOfAOneof(t *testing.T) {
	md := uploadType(t)
	chunk := bytesFields(md)[0]
	m := dynamicpb.NewMessage(md)
	if got := chunk.taken(m); got != "" {
		t.Errorf("of an empty message %q is taken", got)
	}
	m.Mutable(md.Fields().ByName("header"))
	if got := chunk.taken(m); got != "header" {
		t.Errorf("beside a header %q is taken", got)
	}
	m.Set(md.Fields().ByName("chunk"), protoreflect.ValueOfBytes([]byte("x")))
	if got := chunk.taken(m); got != "chunk" {
		t.Errorf("beside a chunk %q is taken", got)
	}
}

func FuzzContentOfAnyBytes(f *testing.F) {
	fields := bytesFields(uploadType(f))
	f.Add([]byte{0x82, 0x7d, 0x01, 'x'})
	f.Add([]byte{0x0a, 0x03, 0x12, 0x01, 'x'})
	f.Fuzz(func(t *testing.T, message []byte) {
		m := dynamicpb.NewMessage(uploadType(t))
		whole := proto.Unmarshal(message, m) == nil
		chunk := fields[0].content(message)
		// Where the message is one, the answer is what protobuf reads.
		if want := m.Get(m.Descriptor().Fields().ByName("chunk")).Bytes(); whole && len(want) > 0 && string(want) != string(chunk) {
			t.Errorf("got %q, want %q", chunk, want)
		}
		for i := range fields[1:] {
			fields[i+1].content(message)
		}
	})
}

func TestWhichAnswerACallerAccepts(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                    "",
		"*/*":                                 "",
		"application/json":                    "",
		"application/x-ndjson":                "",
		"application/problem+json":            "",
		"text/html, */*;q=0.8":                "",
		"application/octet-stream":            "application/octet-stream",
		"image/png":                           "image/png",
		"image/*":                             "image/*",
		"image/png, application/pdf":          "image/png",
		"image/png, application/json":         "",
		"application/json;q=0, image/png":     "image/png",
		"application/octet-stream; q=0.5,   ": "application/octet-stream",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		if got, fault := acceptedType(r); fault != nil || got != want {
			t.Errorf("Accept: %s: got %q, %v, want %q", accept, got, fault, want)
		}
	}
}

func TestTimeoutsAsGRPCHasThem(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond, "5u": 5 * time.Microsecond, "6n": 6,
		"99999999H": math.MaxInt64, "0S": 1, "": 0, "S": 0, "1": 0, "1s": 0, "-1S": 0, "100000000S": 0, "1.5S": 0,
	} {
		if got, ok := grpcTimeout(value); got != want || ok != (want != 0) {
			t.Errorf("%q: got %d, %t, want %d", value, got, ok, want)
		}
	}
}

func FuzzAQueryIsReadOrRefused(f *testing.F) {
	for _, seed := range []string{"a=b&c=d", "a", "a=%zz", "body=x&field=y&=&&", "a=b=c", "%61=+%2B"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw, rawInParameter, rawOutParameter)
		if err == nil && len(q.arguments) > strings.Count(raw, "&")+1 {
			t.Errorf("%q: %q", raw, q.arguments)
		}
	})
}

func TestMessagesOfErrorsFitIntoTrailers(t *testing.T) {
	if got, want := percentEncoded("50 % ö\n"), "50 %25 %C3%B6%0A"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHeadersTellOfAnAnswerWhatFitsThere(t *testing.T) {
	raw, err := os.ReadFile("../../cli/testdata/rich.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(set.GetFile()[0], protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	m := dynamicpb.NewMessage(file.Messages().ByName("Everything"))
	text := `text:"two words" count:-3 big:5 flag:true level:LOUD ratio:0.5 tags:"a" tags:"b" blob:"x" api_key:"secret" left:"line\nbreak"
		wait:{seconds:1 nanos:500000000} at:{seconds:0} point:{x:1} child:{point:{x:2} small_size:4}`
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	got := http.Header{}
	setHeaders(got, m, "Gaia", maxHeaderDepth)
	want := http.Header{
		"Gaia-Text": {"two words"}, "Gaia-Count": {"-3"}, "Gaia-Big": {"5"}, "Gaia-Flag": {"true"}, "Gaia-Level": {"LOUD"},
		"Gaia-Ratio": {"0.5"}, "Gaia-Wait": {"1.500s"}, "Gaia-At": {"1970-01-01T00:00:00Z"}, "Gaia-Point-X": {"1"}, "Gaia-Child-Small-Size": {"4"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
