package config

import (
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

func TestAConfigBlockBecomesThePluginsMessage(t *testing.T) {
	s := subsystemWith(t, `
		max_request_body     = "16MiB"
		connections_per_host = 100
		idle_timeout         = "1m30s"
		user_agent           = "gaia/${1 + 1}"
		disable_http2        = true
	`)
	msg, report := s.DecodeConfig((&apiv1.Config{}).ProtoReflect().Descriptor())
	if report.Len() > 0 {
		t.Fatalf("diagnostics:\n%s", plain(t, report))
	}
	wire, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	got := &apiv1.Config{}
	if err := proto.Unmarshal(wire, got); err != nil {
		t.Fatal(err)
	}
	want := &apiv1.Config{
		MaxRequestBody:     16 << 20,
		ConnectionsPerHost: 100,
		IdleTimeout:        durationpb.New(90e9),
		UserAgent:          "gaia/2",
		DisableHttp2:       true,
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("message differs (-want +got):\n%s", diff)
	}
}

const everyShape = `
	text       = "日本"
	flag       = "true"
	i32        = -2147483648
	s32        = 2147483647
	u32        = 4294967295
	i64        = -9223372036854775808
	u64        = 18446744073709551615
	f64        = "9007199254740993"
	real       = 0.1
	small_real = 1.5
	raw        = "AP8="
	mode       = "Write"
	wait       = "1h"
	size       = "32MiB"
	small_size = "1KB"
	pace       = "1000/5m"
	maybe      = 0
	tags       = ["aa", "bb"]
	waits      = ["1s", "2s"]
	sizes      = [for n in [1, 2] : "${n}KiB"]
	headers    = { "X-One" = "1", two = "2", three = null }
	weights    = { "1" = 0.5, 2 = 1 }
	extra      = { a = [1, "x", null, { b = true }] }
	any_value  = "x"
	any_list   = [1, 2]
	url        = "u"
	token      = "tk-1"
	shards "7" {
		entries = 1
		ttl     = "5s"
	}
	profile "github" {
		base_url = "https://api.github.com"
		secret   = "s3cr3t"
	}
	profile "git lab" {
		base_url = "https://gitlab.com"
		timeout  = "60s"
	}
	rule {
		host  = "a"
		mode  = "read"
		limit = 1
	}
	rule {
		host  = "b"
		mode  = "READ"
		limit = 100
	}
	cache {
		ttl = "0s"
	}
	tree {
		name = "root"
		child {
			name = "left"
			child {
			}
		}
		child {
			name = "right"
		}
	}`

const everyShapeMessage = `
	text: "日本" flag: true i32: -2147483648 s32: 2147483647 u32: 4294967295
	i64: -9223372036854775808 u64: 18446744073709551615 f64: 9007199254740993
	real: 0.1 small_real: 1.5 raw: "\x00\xff" mode: WRITE
	wait { seconds: 3600 } size: 33554432 small_size: 1000
	pace { events: 1000 per { seconds: 300 } }
	maybe: 0 tags: ["aa", "bb"]
	waits { seconds: 1 } waits { seconds: 2 } sizes: [1024, 2048]
	headers { key: "X-One" value: "1" } headers { key: "two" value: "2" }
	weights { key: 1 value: 0.5 } weights { key: 2 value: 1 }
	shards { key: 7 value { entries: 1 ttl { seconds: 5 } } }
	profile { key: "github" value { base_url: "https://api.github.com" secret: "s3cr3t" } }
	profile { key: "git lab" value { base_url: "https://gitlab.com" timeout { seconds: 60 } } }
	rule { host: "a" mode: READ limit: 1 } rule { host: "b" mode: READ limit: 100 }
	cache { ttl {} } token: "tk-1" url: "u"
	extra { fields { key: "a" value { list_value {
		values { number_value: 1 } values { string_value: "x" } values { null_value: NULL_VALUE }
		values { struct_value { fields { key: "b" value { bool_value: true } } } } } } } }
	any_value { string_value: "x" }
	any_list { values { number_value: 1 } values { number_value: 2 } }
	tree { name: "root" child { name: "left" child {} } child { name: "right" } }`

func TestEveryShapeOfFieldIsDecoded(t *testing.T) {
	for name, md := range map[string]protoreflect.MessageDescriptor{
		"options known":   everything(t),
		"options unknown": withUnknownOptions(t),
		"options dynamic": withDynamicOptions(t),
	} {
		t.Run(name, func(t *testing.T) {
			msg, report := subsystemWith(t, everyShape).DecodeConfig(md)
			if report.Len() > 0 {
				t.Fatalf("diagnostics:\n%s", plain(t, report))
			}
			want := dynamicpb.NewMessage(md)
			if err := prototext.Unmarshal([]byte(everyShapeMessage), want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, msg, protocmp.Transform()); diff != "" {
				t.Errorf("message differs (-want +got):\n%s", diff)
			}
			maybe := md.Fields().ByName("maybe")
			if !msg.ProtoReflect().Has(maybe) {
				t.Error("an optional field that is written as 0 is absent")
			}
		})
	}
}

// withUnknownOptions is what a host without our options would have got: they
// are bytes that nobody read.
func withUnknownOptions(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	file := readEverything(t)
	eachField(file.GetMessageType(), func(fd *descriptorpb.FieldDescriptorProto) {
		wire, err := proto.Marshal(fd.GetOptions())
		if err != nil {
			t.Fatal(err)
		}
		proto.Reset(fd.GetOptions())
		fd.GetOptions().ProtoReflect().SetUnknown(wire)
	})
	return firstMessage(t, file)
}

// withDynamicOptions has the options as a registry of the plugin's own files
// would decode them.
func withDynamicOptions(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	file := readEverything(t)
	dynamic := dynamicpb.NewExtensionType(optionsv1.E_Field.TypeDescriptor().Descriptor())
	eachField(file.GetMessageType(), func(fd *descriptorpb.FieldDescriptorProto) {
		options := fd.GetOptions()
		ours, ok := proto.GetExtension(options, optionsv1.E_Field).(*optionsv1.Field)
		if !ok || ours == nil {
			return
		}
		wire, err := proto.Marshal(ours)
		if err != nil {
			t.Fatal(err)
		}
		proto.ClearExtension(options, optionsv1.E_Field)
		theirs := dynamic.New()
		if err := proto.Unmarshal(wire, theirs.Message().Interface()); err != nil {
			t.Fatal(err)
		}
		options.ProtoReflect().Set(dynamic.TypeDescriptor(), theirs)
	})
	return firstMessage(t, file)
}

func eachField(messages []*descriptorpb.DescriptorProto, do func(*descriptorpb.FieldDescriptorProto)) {
	for _, m := range messages {
		eachField(m.GetNestedType(), do)
		for _, fd := range m.GetField() {
			if fd.Options != nil {
				do(fd)
			}
		}
	}
}

func TestAnAbsentConfigBlockIsCheckedAllTheSame(t *testing.T) {
	config, report := loadText(t, "subsystem \"s\" {\n  plugin = \"p\"\n}\n", nil)
	if report.Len() > 0 {
		t.Fatal(plain(t, report))
	}
	file := readEverything(t)
	text := file.GetMessageType()[0].GetField()[0]
	text.Options = &descriptorpb.FieldOptions{}
	proto.SetExtension(text.Options, validate.E_Field, &validate.FieldRules{Required: new(true)})
	msg, report := config.Subsystems[0].DecodeConfig(firstMessage(t, file))
	if msg != nil || report.Len() != 1 {
		t.Fatalf("message %v, report:\n%s", msg, plain(t, report))
	}
	want := Diagnostic{
		Severity: "error", Summary: "Missing argument", Detail: "text is required. Text of any kind. Optional | free.",
		File: "config.hcl", Line: 1, Column: 1, EndLine: 1, EndColumn: 14, Subsystem: "s",
	}
	if diff := cmp.Diff(want, diagnostics(report)[0]); diff != "" {
		t.Errorf("diagnostic differs (-want +got):\n%s", diff)
	}

	msg, report = config.Subsystems[0].DecodeConfig(nil)
	if msg != nil || report.Len() > 0 {
		t.Errorf("without a type: message %v, report:\n%s", msg, plain(t, report))
	}
}

func TestASubsystemFromNoFileCanBeDecoded(t *testing.T) {
	s := &Subsystem{Name: "s", Plugin: "p"}
	msg, report := s.DecodeConfig(everything(t))
	if msg == nil || report.Len() > 0 {
		t.Errorf("message %v, report:\n%s", msg, plain(t, report))
	}
}

func TestRequiredFieldsOfProto2AreRequired(t *testing.T) {
	file := &descriptorpb.FileDescriptorProto{}
	err := prototext.Unmarshal([]byte(`
		name: "test/old.proto" package: "test.old" syntax: "proto2"
		message_type {
			name: "Old"
			field { name: "must" number: 1 label: LABEL_REQUIRED type: TYPE_STRING }
			field { name: "inner" number: 2 label: LABEL_OPTIONAL type: TYPE_GROUP type_name: ".test.old.Old.Inner" }
			nested_type { name: "Inner" field { name: "n" number: 1 label: LABEL_REQUIRED type: TYPE_INT32 } }
		}`), file)
	if err != nil {
		t.Fatal(err)
	}
	md := firstMessage(t, file)
	_, report := subsystemWith(t, "inner {\n}").DecodeConfig(md)
	if diff := cmp.Diff([]string{"Missing argument", "Missing argument"}, summaries(report)); diff != "" {
		t.Errorf("summaries (-want +got):\n%s", diff)
	}
	msg, report := subsystemWith(t, "must = \"x\"\ninner {\nn = 1\n}").DecodeConfig(md)
	if msg == nil {
		t.Errorf("diagnostics:\n%s", plain(t, report))
	}
}

func TestDetailsNameWhatIsAllowed(t *testing.T) {
	for _, tt := range []struct{ config, want string }{
		{`mode = "raed"`, `mode is one of "read" and "write". Did you mean "read"?`},
		{`u32 = 4294967296`, `u32 is a whole number from 0 to 4294967295.`},
		{`size = "33MiB"`, `size must be at most 32MiB.`},
		{`small_size = "2GiB"`, `small_size is at most 2147483647B.`},
		{`wait = "0s"`, `wait must be above 0s and at most 1h.`},
		{`tags = ["aa", "x"]`, `tags[1] must be at least 2 characters.`},
		{`tags = ["aa", "bb", "cc", "dd"]`, `tags must contain no more than 3 item(s).`},
		{`text = 5`, `text is text, written in quotes. Did you mean "5"?`},
		{`text = prod`, `A config has no variables. Text is written in quotes, and a ${ that is meant literally as $${. Did you mean "prod"?`},
		{"profile \"a\" {\n}", `profile["a"].base_url is required. Where the API is.`},
		{"rule {\nhost = \"h\"\nlimit = 1\nmode = \"write\"\n}", `mode must be one of "read".`},
		{"cache {\nentries = 1\n}", `entries needs a ttl as well.`},
		{`heders = {}`, `There is no argument "heders" in config. Did you mean "headers"?`},
		{`pace = env("GAIA_TEST_PACE")`, `A rate is a count per period, such as "50/s" or "1000/min".`},
	} {
		t.Setenv("GAIA_TEST_PACE", "50")
		_, report := subsystemWith(t, tt.config).DecodeConfig(everything(t))
		if report.Len() != 1 || diagnostics(report)[0].Detail != tt.want {
			t.Errorf("%s: want the detail %q, got\n%s", tt.config, tt.want, plain(t, report))
		}
	}
}

func TestATwistedPluginDescriptorIsAWarning(t *testing.T) {
	file := readEverything(t)
	text := file.GetMessageType()[0].GetField()[0]
	text.Options = &descriptorpb.FieldOptions{}
	proto.SetExtension(text.Options, validate.E_Field, &validate.FieldRules{
		Cel: []*validate.Rule{{Id: new("x"), Expression: new("this +")}},
	})
	msg, report := subsystemWith(t, `text = "x"`).DecodeConfig(firstMessage(t, file))
	if msg == nil || report.HasErrors() || report.Len() != 1 || !strings.Contains(plain(t, report), "fault of the plugin") {
		t.Errorf("message %v, report:\n%s", msg, plain(t, report))
	}
}
