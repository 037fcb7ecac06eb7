package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

func call(keys ...*optionsv1.Key) *optionsv1.Call { return &optionsv1.Call{Key: keys} }

func TestAKeyIsTheValueAsItIsDeclared(t *testing.T) {
	m := declared(t, call(
		&optionsv1.Key{Name: "plain", Field: "string"},
		&optionsv1.Key{Name: "lower", Field: "string", As: optionsv1.Transform_LOWER},
		&optionsv1.Key{Name: "host", Field: "string", As: optionsv1.Transform_URL_HOST},
		&optionsv1.Key{Name: "host of bytes", Field: "inner.bytes", As: optionsv1.Transform_URL_HOST},
		&optionsv1.Key{Name: "colour", Field: "enum"},
		&optionsv1.Key{Name: "lower colour", Field: "enum", As: optionsv1.Transform_LOWER},
		&optionsv1.Key{Name: "lower number", Field: "int32", As: optionsv1.Transform_LOWER},
	))
	request := encode(t, m.Descriptor.Input(),
		record{"string", "HTTP://Ex.Example/Äpfel"},
		record{"inner", []record{{"bytes", "https://user:pw@Example.com.:8443/"}}},
		record{"enum", 1}, record{"int32", -12},
	)
	var names []string
	for _, k := range m.Keys() {
		names = append(names, k.Name)
	}
	if want := []string{"plain", "lower", "host", "host of bytes", "colour", "lower colour", "lower number"}; !slices.Equal(names, want) {
		t.Errorf("Keys: %q, want %q", names, want)
	}
	for name, want := range map[string]string{
		"plain": "HTTP://Ex.Example/Äpfel", "lower": "http://ex.example/äpfel",
		"host": "ex.example", "host of bytes": "example.com",
		"colour": "Red", "lower colour": "red", "lower number": "-12",
	} {
		for _, size := range []int{0, 1, 256} {
			if got := m.Key(name).Value(request, make([]byte, size)); string(got) != want {
				t.Errorf("%s with %d bytes of scratch: got %q, want %q", name, size, got, want)
			}
		}
		if got := m.Key(name).Value(nil, nil); len(got) != 0 {
			t.Errorf("%s of an empty request: got %q", name, got)
		}
		if got := m.Key(name).Value([]byte{0xff}, nil); len(got) != 0 {
			t.Errorf("%s of rubbish: got %q", name, got)
		}
	}
	if m.Key("nope") != nil {
		t.Error("a key that is not declared")
	}
}

func TestLowerCaseIsOfLettersOnly(t *testing.T) {
	for given, want := range map[string]string{
		"":              "",
		"abc-1":         "abc-1",
		"ABC":           "abc",
		"aBC":           "abc",
		"ÄÖÜ":           "äöü",
		"Ⱥ":             "ⱥ", // two bytes become three
		"A\xffB\xc3":    "a\xffb\xc3",
		"\u212Aelvin":   "kelvin",
		"a\xef\xbf\xbd": "a\uFFFD",
	} {
		if got := lower([]byte(given), nil); string(got) != want {
			t.Errorf("lower(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestIdempotencyIsALevelOrDependsOnTheRequest(t *testing.T) {
	unknown, none := descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN, descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	in := func(field string, values ...string) *optionsv1.Condition {
		return &optionsv1.Condition{Field: field, In: values}
	}
	isSet := func(field string) *optionsv1.Condition { return &optionsv1.Condition{Field: field, IsSet: true} }
	for _, c := range []struct {
		name  string
		level descriptorpb.MethodOptions_IdempotencyLevel
		ifs   []*optionsv1.Condition
		given []record
		want  bool
	}{
		{"nothing said", unknown, nil, nil, false},
		{"no side effects", none, nil, nil, true},
		{"idempotent", descriptorpb.MethodOptions_IDEMPOTENT, nil, nil, true},
		{"by level, whatever the request", none, []*optionsv1.Condition{in("string", "x")}, []record{{"string", "y"}}, true},
		{"a listed text", unknown, []*optionsv1.Condition{in("string", "GET", "HEAD")}, []record{{"string", "HEAD"}}, true},
		{"in another case", unknown, []*optionsv1.Condition{in("string", "GET")}, []record{{"string", "get"}}, false},
		{"longer", unknown, []*optionsv1.Condition{in("string", "GET")}, []record{{"string", "GETS"}}, false},
		{"absent", unknown, []*optionsv1.Condition{in("string", "GET")}, nil, false},
		{"absent and listed", unknown, []*optionsv1.Condition{in("string", "", "GET")}, nil, true},
		{"empty and listed", unknown, []*optionsv1.Condition{in("opt_string", "")}, []record{{"opt_string", ""}}, true},
		{"a number", unknown, []*optionsv1.Condition{in("sint64", "-5")}, []record{{"sint64", 9}}, true},
		{"an enum", unknown, []*optionsv1.Condition{in("enum", "BLUE")}, []record{{"enum", 5}}, true},
		{"a bool", unknown, []*optionsv1.Condition{in("opt_bool", "false")}, []record{{"opt_bool", 0}}, true},
		{"nested", unknown, []*optionsv1.Condition{in("inner.string", "a")}, []record{{"inner", []record{{"string", "a"}}}}, true},
		{"the last counts", unknown, []*optionsv1.Condition{in("string", "GET")}, []record{{"string", "GET"}, {"string", "POST"}}, false},
		{"is set", unknown, []*optionsv1.Condition{isSet("string")}, []record{{"string", "x"}}, true},
		{"is not set", unknown, []*optionsv1.Condition{isSet("string")}, []record{{"bytes", "x"}}, false},
		{"is set to nothing", unknown, []*optionsv1.Condition{isSet("opt_string")}, []record{{"opt_string", ""}}, false},
		{"a number is set to zero", unknown, []*optionsv1.Condition{isSet("opt_int32")}, []record{{"opt_int32", 0}}, true},
		{"one of two", unknown, []*optionsv1.Condition{in("string", "GET"), isSet("bytes")}, []record{{"string", "POST"}, {"bytes", "k"}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := declaring(&optionsv1.Call{IdempotentIf: c.ifs})
			r.GetFiles().GetFile()[0].GetService()[0].GetMethod()[0].GetOptions().IdempotencyLevel = c.level.Enum()
			d, err := NewDescription(r)
			if err != nil {
				t.Fatal(err)
			}
			m := d.Methods()[0]
			if got := m.Idempotent(encode(t, m.Descriptor.Input(), c.given...)); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if broken := m.Idempotent([]byte{0xff}); broken != (c.level != unknown) {
				t.Errorf("a request that is no message: got %v", broken)
			}
		})
	}
}

func TestConditionsAgreeWithADecoder(t *testing.T) {
	md := allMessage(t)
	r := rand.New(rand.NewPCG(5, 6))
	held := make(map[bool]int)
	values := []string{"a", "0", "true", "Red", "2147483647", "-1"}
	for _, path := range paths() {
		in, err := newConditions(md, []*optionsv1.Condition{{Field: path, In: values}})
		if err != nil {
			t.Fatal(err)
		}
		set, err := newConditions(md, []*optionsv1.Condition{{Field: path, IsSet: true}})
		if err != nil {
			t.Fatal(err)
		}
		m := &Method{idempotentIf: in, failedIf: set}
		for range 100 {
			wire := randomWire(r, md, 3)
			decoded, ok := decode(md, wire)
			if !ok {
				continue
			}
			text := decodedText(decoded, path)
			if got, want := m.Idempotent(wire), slices.Contains(values, text); got != want {
				t.Errorf("%s of %x is %q: Idempotent %v, want %v", path, wire, text, got, want)
			}
			if got, want := m.Failed(wire), text != ""; got != want {
				t.Errorf("%s of %x is %q: Failed %v, want %v", path, wire, text, got, want)
			}
			held[m.Idempotent(wire)]++
			held[m.Failed(wire)]++
		}
	}
	if held[true] < 100 || held[false] < 100 {
		t.Errorf("one-sided: %v", held)
	}
}

func TestAWrongDeclarationRefusesThePlugin(t *testing.T) {
	key := func(name, field string) *optionsv1.Key { return &optionsv1.Key{Name: name, Field: field} }
	ifs := func(c ...*optionsv1.Condition) *optionsv1.Call { return &optionsv1.Call{IdempotentIf: c} }
	many := make([]*optionsv1.Key, 17)
	for i := range many {
		many[i] = key(fmt.Sprint(i), "string")
	}
	conditions := slices.Repeat([]*optionsv1.Condition{{Field: "string", IsSet: true}}, 9)
	for _, c := range []struct {
		call *optionsv1.Call
		want string
	}{
		{call(key("k", "sting")), `key "k": field "sting": message keys.v1.All has no field "sting"; did you mean "string"?`},
		{call(key("k", "")), `key "k": field "": no field given`},
		{call(key("ok", "string"), key("", "string")), `key[1]: no name`},
		{call(key("k", "string"), key("k", "bytes")), `key "k": declared twice`},
		{call(key("k", "double")), `key "k": field "double": "double" is of type double`},
		{call(&optionsv1.Key{Name: "k", Field: "int32", As: optionsv1.Transform_URL_HOST}), `key "k": field "int32": URL_HOST reads a string or bytes, not int32`},
		{call(many...), "17 keys, limit 16"},
		{ifs(&optionsv1.Condition{Field: "string"}), `idempotent_if[0]: field "string": neither in nor is_set is given, one is needed`},
		{ifs(&optionsv1.Condition{Field: "string", In: []string{"a"}, IsSet: true}), `idempotent_if[0]: field "string": both in and is_set are given, one is needed`},
		{ifs(conditions[0], &optionsv1.Condition{Field: "inner.nope", IsSet: true}), `idempotent_if[1]: field "inner.nope": message keys.v1.All has no field "nope"`},
		{&optionsv1.Call{FailedIf: []*optionsv1.Condition{{Field: "statas", In: []string{"500"}}}}, `failed_if[0]: field "statas": message keys.v1.All has no field "statas"`},
		{&optionsv1.Call{IdempotentIf: conditions, FailedIf: conditions}, "18 conditions, limit 16"},
	} {
		_, err := NewDescription(declaring(c.call))
		if want := `describe: method "/keys.v1.Keys/Do": ` + c.want; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
	}
	if _, err := NewDescription(declaring(&optionsv1.Call{Key: many[:16], IdempotentIf: conditions[:8], FailedIf: conditions[:8]})); err != nil {
		t.Errorf("at the limits: %v", err)
	}
}

func TestOptionsAreReadInWhateverFormTheyCome(t *testing.T) {
	want := declaring(&optionsv1.Call{Key: []*optionsv1.Key{{Name: "k", Field: "string"}}, NonBlocking: true})
	// The plugin's files declare the option too, so that a dynamic type can be had.
	want.Files.File = append(want.Files.File,
		protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto),
		protodesc.ToFileDescriptorProto(optionsv1.File_gaia_options_v1_options_proto.Imports().Get(1).FileDescriptor),
		protodesc.ToFileDescriptorProto(optionsv1.File_gaia_options_v1_options_proto))
	wire, err := proto.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(want.GetFiles())
	if err != nil {
		t.Fatal(err)
	}
	for name, resolver := range map[string]interface {
		protoregistry.MessageTypeResolver
		protoregistry.ExtensionTypeResolver
	}{
		"our own type": protoregistry.GlobalTypes,
		"dynamic":      dynamicpb.NewTypes(files),
		"unknown":      (*protoregistry.Types)(nil),
	} {
		t.Run(name, func(t *testing.T) {
			r := new(pluginv1.DescribeResponse)
			if err := (proto.UnmarshalOptions{Resolver: resolver}).Unmarshal(wire, r); err != nil {
				t.Fatal(err)
			}
			d, err := NewDescription(r)
			if err != nil {
				t.Fatal(err)
			}
			if m := d.Methods()[0]; m.Key("k") == nil || !m.NonBlocking {
				t.Errorf("key %v, non-blocking %v", m.Key("k"), m.NonBlocking)
			}
		})
	}
}

func TestWhatCannotBeReadIsIgnored(t *testing.T) {
	later := func(b []byte, number protowire.Number) []byte {
		return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), "of a later version")
	}
	withUnknown := &optionsv1.Condition{Field: "string", IsSet: true}
	withUnknown.ProtoReflect().SetUnknown(later(nil, 90))
	onlyUnknown := new(optionsv1.Condition)
	onlyUnknown.ProtoReflect().SetUnknown(later(nil, 90))
	m := declared(t, &optionsv1.Call{
		Key:          []*optionsv1.Key{{Name: "later", Field: "string", As: 90}, {Name: "k", Field: "string"}},
		IdempotentIf: []*optionsv1.Condition{withUnknown, onlyUnknown},
	})
	if m.Key("later") != nil || m.Key("k") == nil {
		t.Errorf("keys %v", m.Keys())
	}
	if m.Idempotent(encode(t, m.Descriptor.Input(), record{"string", "a"})) {
		t.Error("a condition of which a part is unknown holds")
	}

	r := declaring(nil)
	options := &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_IDEMPOTENT.Enum()}
	options.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 50420, protowire.BytesType), "\xff\xff"))
	r.GetFiles().GetFile()[0].GetService()[0].GetMethod()[0].Options = options
	d, err := NewDescription(r)
	if err != nil {
		t.Fatal(err)
	}
	if m := d.Methods()[0]; len(m.Keys()) != 0 || !m.Idempotent(nil) {
		t.Errorf("an option that is not ours: keys %v, idempotent %v", m.Keys(), m.Idempotent(nil))
	}

	r = declaring(&optionsv1.Call{
		Key:          []*optionsv1.Key{{Name: "missing", Field: "legacy.number"}, {Name: "k", Field: "string"}},
		IdempotentIf: []*optionsv1.Condition{{Field: "legacy.number", In: []string{""}}},
		FailedIf:     []*optionsv1.Condition{{Field: "legacy.number", IsSet: true}},
	})
	r.Files.File = r.GetFiles().GetFile()[:2] // without legacy.proto
	if d, err = NewDescription(r); err != nil {
		t.Fatal(err)
	}
	if m := d.Methods()[0]; m.Key("missing") != nil || m.Key("k") == nil || m.Idempotent(nil) || m.Failed(nil) {
		t.Errorf("through a missing import: keys %v, idempotent %v, failed %v", m.Keys(), m.Idempotent(nil), m.Failed(nil))
	}
}

func TestAMethodWithoutOptionsHasNoKeys(t *testing.T) {
	m := describe(t, file("a.v1", "One", "Get")).Methods()[0]
	if len(m.Keys()) != 0 || m.Key("") != nil || m.Idempotent(nil) || m.Failed(nil) || m.NonBlocking {
		t.Errorf("%+v", m)
	}
}

// do is the method of our API client.
func do(tb testing.TB) *Method {
	tb.Helper()
	d, err := NewDescription(&pluginv1.DescribeResponse{
		Services: []string{"gaia.api.v1.APIClientPool"},
		Files: &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
			protodesc.ToFileDescriptorProto(apiv1.File_gaia_api_v1_api_proto),
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	m, ok := d.Method("/gaia.api.v1.APIClientPool/Do")
	if !ok {
		tb.Fatal("no method Do")
	}
	return m
}

func marshal(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	wire, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return wire
}

func TestTheAPIClientSaysWhatTheHostNeeds(t *testing.T) {
	m := do(t)
	got := map[string]any{}
	for name, r := range map[string]*apiv1.DoRequest{
		"get":      {Url: "https://Example.com/a"},
		"post":     {Url: "https://example.com:443/a", Method: "POST"},
		"with key": {Url: "https://example.com./a", Method: "POST", IdempotencyKey: "k"},
	} {
		wire := marshal(t, r)
		got[name] = m.Idempotent(wire)
		if domain := m.Key("domain").Value(wire, nil); string(domain) != "example.com" {
			t.Errorf("%s: domain %q", name, domain)
		}
	}
	for _, code := range []uint32{200, 404, 429, 500, 501, 503} {
		got[fmt.Sprint(code)] = m.Failed(marshal(t, &apiv1.DoResponse{Status: code}))
	}
	want := map[string]any{
		"get": true, "post": false, "with key": true,
		"200": false, "404": false, "429": false, "500": true, "501": false, "503": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	m := do(t)
	domain := m.Key("domain")
	request := marshal(t, &apiv1.DoRequest{Method: "POST", Url: "https://API.github.com/repos?q=1", Body: make([]byte, 100)})
	response := marshal(t, &apiv1.DoResponse{Status: 503, Body: make([]byte, 100)})
	kinds := declared(t, call(
		&optionsv1.Key{Name: "number", Field: "inner.sint64"},
		&optionsv1.Key{Name: "enum", Field: "enum", As: optionsv1.Transform_LOWER},
		&optionsv1.Key{Name: "lower", Field: "string", As: optionsv1.Transform_LOWER},
	))
	values := encode(t, kinds.Descriptor.Input(), record{"inner", []record{{"sint64", 1 << 40}}}, record{"enum", 1}, record{"string", "ÄB"})
	if n := testing.AllocsPerRun(100, func() {
		var scratch [256]byte
		domain.Value(request, scratch[:])
		for _, k := range kinds.Keys() {
			if len(k.Value(values, scratch[:])) == 0 {
				t.Error("no value")
			}
		}
		if m.Idempotent(request) || !m.Failed(response) {
			t.Error("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkMethod(b *testing.B) {
	m := do(b)
	domain := m.Key("domain")
	headers := make(map[string]string)
	for i := range 200 {
		headers[fmt.Sprintf("X-Header-%d", i)] = strings.Repeat("v", 60)
	}
	const target = "https://api.github.com/repos/gaia-go/gaia/issues?page=2"
	for _, r := range []struct {
		name    string
		request *apiv1.DoRequest
	}{
		{"64B", &apiv1.DoRequest{Method: "GET", Url: target}},
		{"16KiB-body", &apiv1.DoRequest{Method: "GET", Url: target, Body: make([]byte, 16<<10)}},
		{"16KiB-headers", &apiv1.DoRequest{Method: "GET", Url: target, Headers: headers}},
	} {
		request := marshal(b, r.request)
		b.Run("key/"+r.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var scratch [256]byte
				if len(domain.Value(request, scratch[:])) == 0 {
					b.Fatal("no key")
				}
			}
		})
		b.Run("idempotent/"+r.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !m.Idempotent(request) {
					b.Fatal("not idempotent")
				}
			}
		})
	}
	response := marshal(b, &apiv1.DoResponse{Status: 503, Body: make([]byte, 50)})
	b.Run("failed/64B", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !m.Failed(response) {
				b.Fatal("not failed")
			}
		}
	})
}

func TestAKeyOfASensitiveFieldIsMarked(t *testing.T) {
	request := new(filev1.WriteOptions).ProtoReflect().Descriptor()
	for field, want := range map[string]bool{"lock": true, "if_match": false} {
		k, err := newKey(request, &optionsv1.Key{Name: "key", Field: field})
		if err != nil {
			t.Fatal(err)
		}
		if k.Sensitive != want {
			t.Errorf("%s is sensitive: %v", field, k.Sensitive)
		}
	}
}
