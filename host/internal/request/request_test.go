package request_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/request"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"

	// What testdata/rich.proto imports.
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

// everything is the message rich.v1.Everything of ../testdata/rich.proto.
func everything(tb testing.TB) protoreflect.MessageDescriptor {
	tb.Helper()
	raw, err := os.ReadFile("../cli/testdata/rich.binpb")
	if err != nil {
		tb.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		tb.Fatal(err)
	}
	file, err := protodesc.NewFile(set.GetFile()[0], protoregistry.GlobalFiles)
	if err != nil {
		tb.Fatal(err)
	}
	return file.Messages().ByName("Everything")
}

func doRequest() protoreflect.MessageDescriptor {
	return (&apiv1.DoRequest{}).ProtoReflect().Descriptor()
}

// parser sees three files and one standard input.
func parser() request.Parser {
	files := map[string]string{
		"hello.txt":  "hello\n",
		"point.json": ` {"x": 7}`,
		"bad.txt":    "\xff",
	}
	return request.Parser{
		Types: protoregistry.GlobalTypes,
		ReadFile: func(name string) ([]byte, error) {
			content, ok := files[name]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return []byte(content), nil
		},
		Stdin: strings.NewReader("typed"),
	}
}

func TestArgumentsBecomeTheFieldsTheyName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want string // in text format
	}{
		{"nothing", nil, ``},
		{"text as it is", []string{"text= a=b\n"}, `text: " a=b\n"`},
		{"empty text", []string{"text="}, ``},
		{"a JSON name", []string{"smallSize=1"}, `small_size: 1`},
		{"bytes as text", []string{"blob=ab"}, `blob: "ab"`},
		{"bytes of a file", []string{"blob=@hello.txt"}, `blob: "hello\n"`},
		{"bytes that are no UTF-8", []string{"blob=@bad.txt"}, `blob: "\xff"`},
		{"text of a file", []string{"text=@hello.txt"}, `text: "hello\n"`},
		{"standard input", []string{"text=@-"}, `text: "typed"`},
		{"a literal at sign", []string{"text=@@x"}, `text: "@x"`},
		{"bool", []string{"flag=true"}, `flag: true`},
		{"smallest int32", []string{"count=-2147483648"}, `count: -2147483648`},
		{"largest int64", []string{"big=9223372036854775807"}, `big: 9223372036854775807`},
		{"largest uint32", []string{"natural=4294967295"}, `natural: 4294967295`},
		{"fixed and zigzag", []string{"fixed=1", "zigzag=-2"}, `fixed: 1 zigzag: -2`},
		{"optional zero is set", []string{"redirects=0"}, `redirects: 0`},
		{"size with a unit", []string{"size=64MiB"}, `size: 67108864`},
		{"size as a number", []string{"size=5"}, `size: 5`},
		{"largest size as a number", []string{"size=18446744073709551615"}, `size: 18446744073709551615`},
		{"size within an int32", []string{"small_size=2KB"}, `small_size: 2000`},
		{"negative size of a signed field", []string{"small_size=-1"}, `small_size: -1`},
		{"floats", []string{"ratio=0.5", "precise=-1e300"}, `ratio: 0.5 precise: -1e300`},
		{"not a number, which JSON names too", []string{"precise=NaN"}, `precise: nan`},
		{"enum by name", []string{"level=LOUD"}, `level: LOUD`},
		{"enum in any case", []string{"level=quiet"}, `level: QUIET`},
		{"enum by number", []string{"level=2"}, `level: LOUD`},
		{"repeated by repetition", []string{"tags=b", "text=x", "tags=a"}, `tags: "b" tags: "a" text: "x"`},
		{"repeated enum", []string{"levels=LOUD", "levels=LOUD"}, `levels: LOUD levels: LOUD`},
		{"map", []string{"headers.X-Trace=abc", "headers.b="},
			`headers { key: "X-Trace" value: "abc" } headers { key: "b" value: "" }`},
		{"map key with dots", []string{"headers.a.b.c=1"}, `headers { key: "a.b.c" value: "1" }`},
		{"map key with an at sign", []string{"headers.@a=@@b"}, `headers { key: "@a" value: "@b" }`},
		{"map of messages", []string{`points.-3={"x":1}`}, `points { key: -3 value { x: 1 } }`},
		{"map of bytes by bool", []string{"switches.true=@hello.txt"}, `switches { key: true value: "hello\n" }`},
		{"nested", []string{"point.x=1", "point.y=2"}, `point { x: 1 y: 2 }`},
		{"nested in nested", []string{"child.child.point.x=1"}, `child { child { point { x: 1 } } }`},
		{"message as JSON", []string{`point={"x":1}`}, `point { x: 1 }`},
		{"message as JSON of a file", []string{"point=@point.json"}, `point { x: 7 }`},
		{"message as JSON and by fields", []string{"point.y=2", `point={"x":1}`}, `point { x: 1 y: 2 }`},
		{"repeated messages", []string{`path={"x":1}`, `path={}`}, `path { x: 1 } path {}`},
		{"duration", []string{"wait=1m30s"}, `wait { seconds: 90 }`},
		{"fraction of a duration", []string{"wait=-1.5ms"}, `wait { nanos: -1500000 }`},
		{"no time at all is set", []string{"wait=0s"}, `wait {}`},
		{"timestamp", []string{"at=2026-11-23T12:00:00.5+01:00"}, `at { seconds: 1795431600 nanos: 500000000 }`},
		{"wrapped number", []string{"maybe=0"}, `maybe {}`},
		{"wrapped text", []string{"perhaps=@hello.txt"}, `perhaps { value: "hello\n" }`},
		{"struct", []string{`json={"a":[1]}`},
			`json { fields { key: "a" value { list_value { values { number_value: 1 } } } } }`},
		{"value that is JSON", []string{"value=12"}, `value { number_value: 12 }`},
		{"value that is text", []string{"value=hello you"}, `value { string_value: "hello you" }`},
		{"list value", []string{"list=[true]"}, `list { values { bool_value: true } }`},
		{"field mask", []string{"mask=point.x,smallSize"}, `mask { paths: "point.x" paths: "small_size" }`},
		{"any", []string{`any={"@type":"type.googleapis.com/gaia.api.v1.Header","name":"n"}`},
			`any { [type.googleapis.com/gaia.api.v1.Header] { name: "n" } }`},
		{"empty message", []string{"empty={}"}, `empty {}`},
		{"one of a choice", []string{"right=r"}, `right: "r"`},
		{"sensitive fields", []string{"api_key=k", "pin=1", "login.user=u"}, `api_key: "k" pin: 1 login { user: "u" }`},
	}
	md := everything(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parser().Parse(md, tt.args)
			if err != nil {
				t.Fatalf("Parse(%q): %v", tt.args, err)
			}
			want := dynamicpb.NewMessage(md)
			if err := prototext.Unmarshal([]byte(tt.want), want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.args, diff)
			}
		})
	}
}

func TestAGeneratedDescriptorIsUnderstoodToo(t *testing.T) {
	t.Parallel()
	got, err := parser().Parse(doRequest(), []string{
		"url=http://localhost/?a=b", "method=POST", "headers.X-Trace=abc", "body=@hello.txt", "timeout=5s",
	})
	if err != nil {
		t.Fatal(err)
	}
	var do apiv1.DoRequest
	raw, err := proto.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(raw, &do); err != nil {
		t.Fatal(err)
	}
	json, err := protojson.Marshal(&do)
	if err != nil {
		t.Fatal(err)
	}
	var want apiv1.DoRequest
	if err := protojson.Unmarshal([]byte(`{"method":"POST","url":"http://localhost/?a=b",
		"headers":{"X-Trace":"abc"},"body":"aGVsbG8K","timeout":"5s"}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, &do, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", json, diff)
	}
}

func TestAFaultSaysWhatIsAllowedInstead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want string
		hint string // a part of it
	}{
		{"no equals sign", []string{"text"}, `argument "text" is not field=value`, `did you mean "text"?`},
		{"misspelt field", []string{"txet=1"}, `rich.v1.Everything has no field "txet"`, `did you mean "text"? its fields are any, api_key,`},
		{"unlike any field", []string{"zzzzzzz=1"}, `rich.v1.Everything has no field "zzzzzzz"`, `its fields are any, `},
		{"misspelt nested field", []string{"child.point.z=1"}, `child.point: rich.v1.Point has no field "z"`, `its fields are x, y`},
		{"no field at all", []string{"=1"}, `rich.v1.Everything has no field ""`, `its fields are`},
		{"field of an empty message", []string{"empty.x=1"}, `empty: google.protobuf.Empty has no field "x"`, `google.protobuf.Empty has no fields`},
		{"field of a scalar", []string{"count.x=1"}, `count: is a number and has no field "x"`, ``},
		{"field of a text", []string{"text.x=1"}, `text: is text and has no field "x"`, ``},
		{"bool", []string{"flag=yes"}, `flag: "yes" is not true or false`, ``},
		{"int32 too large", []string{"count=2147483648"}, `count: "2147483648" is not a whole number from -2147483648 to 2147483647`, ``},
		{"int64 too small", []string{"big=-9223372036854775809"}, `big: "-9223372036854775809" is not a whole number from -9223372036854775808 to 9223372036854775807`, ``},
		{"uint32 negative", []string{"natural=-1"}, `natural: "-1" is not a whole number from 0 to 4294967295`, ``},
		{"uint64 too large", []string{"size=18446744073709551616"}, `size: "18446744073709551616" is not a whole number from 0 to 18446744073709551615`, ``},
		{"fraction", []string{"count=1.5"}, `count: "1.5" is not a whole number from`, ``},
		{"nothing", []string{"count="}, `count: "" is not a whole number from`, ``},
		{"unknown unit", []string{"size=5MiBi"}, `size: "5MiBi" is not a size: write bytes or a unit, like 4096, 64KiB, 10MB or 2GiB`, ``},
		{"size over its field", []string{"small_size=2GiB"}, `small_size: "2GiB" is not a whole number from -2147483648 to 2147483647`, ``},
		{"size over everything", []string{"size=99999999TiB"}, `size: "99999999TiB" is not a size`, ``},
		{"float32 out of range", []string{"ratio=1e39"}, `ratio: "1e39" is not a number within the range of a 32-bit float`, ``},
		{"float64", []string{"precise=much"}, `precise: "much" is not a number within the range of a 64-bit float`, ``},
		{"enum", []string{"level=lud"}, `level: "lud" is not one of LEVEL_UNSPECIFIED, QUIET, LOUD`, `did you mean LOUD?`},
		{"number of no enum value", []string{"level=7"}, `level: "7" is not one of`, ``},
		{"duration without a unit", []string{"wait=5"}, `wait: "5" is not a duration: write it like 5s, 250ms or 1h30m`, ``},
		{"timestamp", []string{"at=noon"}, `at: "noon" is not a time as in RFC 3339, like 2006-01-02T15:04:05Z`, ``},
		{"twice", []string{"count=1", "count=2"}, `count: is given twice and takes one value`, ``},
		{"twice by both names", []string{"small_size=1", "smallSize=2"}, `smallSize: is given twice and takes one value`, ``},
		{"twice in a map", []string{"headers.a=1", "headers.a=1"}, `headers.a: is given twice`, ``},
		{"twice as JSON", []string{"point={}", "point={}"}, `point: is given twice`, ``},
		{"map without a key", []string{"headers=1"}, `headers: is a map and wants a key`, `write it as headers.KEY=VALUE`},
		{"map with an empty key", []string{"headers.=1"}, `headers: is a map and wants a key`, ``},
		{"key of the wrong kind", []string{"points.a={}"}, `points.a (key): "a" is not a whole number`, ``},
		{"into a repeated message", []string{"path.x=1"}, `path: is repeated; a path cannot lead into one element`, `give each element as JSON: path='{…}'`},
		{"into a repeated text", []string{"tags.x=1"}, `tags: is repeated; a path cannot lead into one element`, ``},
		{"message that is no JSON", []string{"point=1"}, `point: is a rich.v1.Point, written as JSON that starts with {`, `or give its fields one by one, such as point.x=…`},
		{"list that is no JSON", []string{"list={}"}, `list: is a google.protobuf.ListValue, written as JSON that starts with [`, ``},
		{"broken JSON", []string{`point={"x":}`}, `point: syntax error (line 1:6): unexpected token }`, ``},
		{"misspelt field in JSON", []string{`child={"point":{"x":1},"smalSize":1}`}, `child: (line 1:18): unknown field "smalSize"`, `did you mean "smallSize"?`},
		{"field of another message in JSON", []string{`child={"point":{"x":1},"x":1}`}, `child: (line 1:18): unknown field "x"`, `did you mean "points.KEY.x" of the request?`},
		{"unknown any", []string{`any={"@type":"type.googleapis.com/no.Such"}`}, `any: (line 1:`, ``},
		{"both of a choice", []string{"left=l", "right=r"}, `right: cannot be given beside left: at most one of the fields of oneof choice is allowed`, ``},
		{"missing file", []string{"blob=@nowhere"}, `blob: open nowhere: file does not exist`, `a literal @ is written @@`},
		{"no file", []string{"blob=@"}, `blob: @ wants the name of a file behind it`, `@- standard input`},
		{"text of a file that is no UTF-8", []string{"text=@bad.txt"}, `text: is text and takes UTF-8 only`, ``},
		{"standard input twice", []string{"text=@-", "blob=@-"}, `blob: standard input was read for text already`, ``},
		{"endless path", []string{strings.Repeat("child.", 200) + "count=1"}, `lies more than 100 messages deep`, ``},
	}
	md := everything(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parser().Parse(md, tt.args)
			var fault *request.Error
			if !errors.As(err, &fault) {
				t.Fatalf("Parse(%q): %v, want a *request.Error", tt.args, err)
			}
			if !strings.Contains(fault.Error(), tt.want) {
				t.Errorf("Parse(%q):\ngot  %s\nwant %s", tt.args, fault, tt.want)
			}
			if !strings.Contains(fault.Hint, tt.hint) {
				t.Errorf("Parse(%q) hints:\ngot  %s\nwant %s", tt.args, fault.Hint, tt.hint)
			}
		})
	}
}

func TestASensitiveValueIsNeverEchoed(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	md := everything(t)
	for _, arg := range []string{
		"pin=" + secret,
		"codes.door=" + secret,
		"login.number=" + secret,
		"login=" + secret,
		"secret_level=" + secret,
		"secret_wait=" + secret,
		`login={"number":"` + secret + `"}`,
		`login={"user":` + secret + `}`,
		`login={"user":"a" "` + secret + `"}`,
		`child={"pin":"` + secret + `"}`,
		`child={"apiKey":["` + secret + `"]}`,
	} {
		_, err := parser().Parse(md, []string{arg})
		var fault *request.Error
		if !errors.As(err, &fault) {
			t.Errorf("Parse(%q): %v, want a *request.Error", arg, err)
			continue
		}
		if strings.Contains(fault.Error()+fault.Hint, secret) {
			t.Errorf("Parse(%q) echoes the value:\n%s\n%s", arg, fault, fault.Hint)
		}
	}
}

func TestJSONIsTheWholeRequest(t *testing.T) {
	t.Parallel()
	md := everything(t)
	got, err := parser().ParseJSON(md, []byte(`{"count": 3, "point": {"y": 1}}`))
	if err != nil {
		t.Fatal(err)
	}
	want, err := parser().Parse(md, []string{"count=3", "point.y=1"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = parser().ParseJSON(md, []byte(`{"pin": "hunter2"}`))
	if want := "(line 1:9): invalid value for int32 field pin: not what is allowed here"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAFieldOfAnUndescribedTypeIsRefused(t *testing.T) {
	t.Parallel()
	file := protodesc.ToFileDescriptorProto(everything(t).ParentFile())
	alone, err := protodesc.FileOptions{AllowUnresolvable: true}.New(file, &protoregistry.Files{})
	if err != nil {
		t.Fatal(err)
	}
	md := alone.Messages().ByName("Everything")
	for arg, want := range map[string]string{
		"wait=5s":         "wait: is a google.protobuf.Duration, which the plugin does not describe",
		"child.empty={}":  "child.empty: is a google.protobuf.Empty, which the plugin does not describe",
		"json.fields.a=1": "json: is a google.protobuf.Struct, which the plugin does not describe",
	} {
		if _, err := parser().Parse(md, []string{arg}); err == nil || err.Error() != want {
			t.Errorf("Parse(%q): %v, want %s", arg, err, want)
		}
	}
	m, err := parser().Parse(md, []string{"text=a", "point.x=1", `path={"x":1}`})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proto.Marshal(m); err != nil {
		t.Error(err)
	}
}

// FuzzParse: no argument makes the parser panic, and what it accepts survives
// the wire.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"text=a\nblob=@hello.txt", "count=-1\nbig=1\nnatural=2", "size=64MiB\nsmall_size=1KB", "ratio=1\nprecise=nan",
		"level=loud\nlevels=1", "headers.a.b=c\npoints.1={}", "switches.true=x", `point={"x":1}` + "\npoint.y=1",
		"path={}", "wait=5s\nat=2026-11-23T12:00:00Z", "maybe=1\nperhaps=@-", `json={"a":1}` + "\nvalue=x\nlist=[]",
		"mask=a,b", `any={"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}`, "empty={}",
		"left=1\nright=2", "child.child.api_key=1", "login={\"user\":1}", "=", ".=", "child.=", "text=@@",
	} {
		f.Add(seed)
	}
	md := everything(f)
	f.Fuzz(func(t *testing.T, args string) {
		m, err := parser().Parse(md, strings.Split(args, "\n"))
		if err != nil {
			var fault *request.Error
			if !errors.As(err, &fault) || fault.Problem == "" {
				t.Fatalf("%#v is not a *request.Error with a problem", err)
			}
			return
		}
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatalf("what was parsed does not marshal: %v", err)
		}
		again := dynamicpb.NewMessage(md)
		if err := proto.Unmarshal(raw, again); err != nil {
			t.Fatalf("what was marshalled does not unmarshal: %v", err)
		}
		if !proto.Equal(m, again) {
			t.Fatalf("changed on the wire:\n%v\n%v", m, again)
		}
	})
}

func TestWithoutFilesAnAtSignIsACharacter(t *testing.T) {
	t.Parallel()
	m, err := request.Parser{Types: protoregistry.GlobalTypes}.Parse(everything(t),
		[]string{"text=@hello.txt", "blob=@-", "headers.@a=@@b"})
	if err != nil {
		t.Fatal(err)
	}
	want := dynamicpb.NewMessage(everything(t))
	if err := prototext.Unmarshal([]byte(`text: "@hello.txt" blob: "@-" headers { key: "@a" value: "@@b" }`), want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, m, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
