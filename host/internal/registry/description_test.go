package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// file is a .proto with one service whose methods take and return StringValue.
// A method named with a leading "<", ">" or both streams that way.
func file(pkg, service string, methods ...string) *descriptorpb.FileDescriptorProto {
	f := &descriptorpb.FileDescriptorProto{
		Name:       new(strings.ReplaceAll(pkg, ".", "/") + "/" + strings.ToLower(service) + ".proto"),
		Package:    new(pkg),
		Syntax:     new("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto"},
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: new(service + "Config")},
		},
	}
	s := &descriptorpb.ServiceDescriptorProto{Name: new(service)}
	for _, m := range methods {
		s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
			Name:            new(strings.Trim(m, "<>")),
			InputType:       new(".google.protobuf.StringValue"),
			OutputType:      new(".google.protobuf.StringValue"),
			ClientStreaming: new(strings.HasPrefix(m, "<")),
			ServerStreaming: new(strings.HasSuffix(m, ">")),
		})
	}
	f.Service = append(f.Service, s)
	return f
}

// wrappers is the file that all of the above import.
func wrappers() *descriptorpb.FileDescriptorProto {
	return protodesc.ToFileDescriptorProto(wrapperspb.File_google_protobuf_wrappers_proto)
}

// response describes a plugin with these files and the services in them.
func response(files ...*descriptorpb.FileDescriptorProto) *pluginv1.DescribeResponse {
	r := &pluginv1.DescribeResponse{
		Name:    "gaia-test",
		Version: "v1.2.3",
		Files:   &descriptorpb.FileDescriptorSet{File: append(files, wrappers())},
	}
	for _, f := range files {
		for _, s := range f.GetService() {
			r.Services = append(r.Services, f.GetPackage()+"."+s.GetName())
		}
	}
	return r
}

func describe(t *testing.T, files ...*descriptorpb.FileDescriptorProto) *Description {
	t.Helper()
	d, err := NewDescription(response(files...))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADescriptionKnowsEachMethodAndItsKind(t *testing.T) {
	r := response(file("b.v1", "Two", "<Both>", "Plain"), file("a.v1", "One", "Down>", "<Up"))
	r.Services = append(r.Services, "a.v1.One") // said twice
	r.ConfigMessage = "a.v1.OneConfig"
	d, err := NewDescription(r)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range d.Methods() {
		got = append(got, fmt.Sprintf("%s %t %t %t", m.Name, m.ClientStreams, m.ServerStreams, m.IsUnary()))
	}
	want := []string{
		"/a.v1.One/Down false true false",
		"/a.v1.One/Up true false false",
		"/b.v1.Two/Both true true false",
		"/b.v1.Two/Plain false false true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("methods (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a.v1.One", "b.v1.Two"}, d.Services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if d.Name != "gaia-test" || d.Version != "v1.2.3" {
		t.Errorf("name %q, version %q", d.Name, d.Version)
	}
	if got := d.ConfigMessage().FullName(); got != "a.v1.OneConfig" {
		t.Errorf("config message %q", got)
	}
	if m, ok := d.Method("/a.v1.One/Up"); !ok || m.Descriptor.Name() != "Up" {
		t.Errorf("Method = %v, %t", m, ok)
	}
	if _, ok := d.Method("/a.v1.One/Sideways"); ok {
		t.Error("a method was found that does not exist")
	}
}

func TestImportsThatAPluginLeftOutAreTheHosts(t *testing.T) {
	r := response(file("a.v1", "One", "Get"))
	r.Files.File = r.GetFiles().GetFile()[:1] // without wrappers.proto
	d, err := NewDescription(r)
	if err != nil {
		t.Fatal(err)
	}
	if m := d.Methods()[0]; m.Descriptor.Input().IsPlaceholder() {
		t.Errorf("input %v is a placeholder", m.Descriptor.Input())
	}
}

func TestADescriptionWithoutItsImportsIsStillUsable(t *testing.T) {
	f := file("a.v1", "One", "Get")
	f.Dependency = append(f.Dependency, "theirs.proto")
	f.Service[0].Method[0].InputType = new(".theirs.Request")
	d, err := NewDescription(response(f))
	if err != nil {
		t.Fatal(err)
	}
	if m := d.Methods()[0]; !m.Descriptor.Input().IsPlaceholder() {
		t.Errorf("input %v, want a placeholder", m.Descriptor.Input())
	}
}

func TestAPluginMayDefineInItsOwnFileWhatTheHostHasInAnother(t *testing.T) {
	own := wrappers()
	own.Name = new("own.proto")
	f := file("a.v1", "One", "Get")
	f.Dependency = []string{"own.proto", "google/protobuf/wrappers.proto"}
	r := response(f)
	r.Files.File = []*descriptorpb.FileDescriptorProto{f, own}
	if _, err := NewDescription(r); err != nil {
		t.Fatal(err)
	}
}

func TestTwoPluginsMayDefineTheSameNames(t *testing.T) {
	one, two := describe(t, file("a.v1", "Same", "Old")), describe(t, file("a.v1", "Same", "New"))
	if _, ok := one.Method("/a.v1.Same/New"); ok {
		t.Error("the first description has a method of the second")
	}
	if _, ok := two.Method("/a.v1.Same/New"); !ok {
		t.Error("the second description lacks its method")
	}
}

func TestADescriptionIsRefused(t *testing.T) {
	many := make([]string, maxMethods+1)
	for i := range many {
		many[i] = fmt.Sprintf("M%d", i)
	}
	for _, c := range []struct {
		given string
		edit  func(*pluginv1.DescribeResponse)
		want  string
	}{
		{"no services", func(r *pluginv1.DescribeResponse) { r.Services = nil }, "no services"},
		{"no files", func(r *pluginv1.DescribeResponse) { r.Files = nil }, "no descriptors"},
		{"unknown service", func(r *pluginv1.DescribeResponse) { r.Services = []string{"a.v1.Other"} }, `"a.v1.Other" is not in the descriptors`},
		{"a message", func(r *pluginv1.DescribeResponse) { r.Services = []string{"a.v1.OneConfig"} }, `"a.v1.OneConfig" is not a service`},
		{"a bad name", func(r *pluginv1.DescribeResponse) { r.Services = []string{"/../x"} }, "not in the descriptors"},
		{"unknown config", func(r *pluginv1.DescribeResponse) { r.ConfigMessage = "a.v1.Nope" }, `config message "a.v1.Nope" is not in`},
		{"config no message", func(r *pluginv1.DescribeResponse) { r.ConfigMessage = "a.v1.One" }, "is not a message"},
		{"duplicate file", func(r *pluginv1.DescribeResponse) { r.Files.File = append(r.GetFiles().GetFile(), wrappers()) }, "appears multiple times"},
		{"long name", func(r *pluginv1.DescribeResponse) { r.Name = strings.Repeat("x", 300) }, "name of 300 bytes, limit 256"},
		{"long version", func(r *pluginv1.DescribeResponse) { r.Version = strings.Repeat("x", 300) }, "version of 300 bytes, limit 256"},
		{"many services", func(r *pluginv1.DescribeResponse) { r.Services = slices.Repeat([]string{"a.v1.One"}, 201) }, "201 services, limit 200"},
		{"many files", func(r *pluginv1.DescribeResponse) {
			r.Files.File = slices.Repeat([]*descriptorpb.FileDescriptorProto{wrappers()}, 2001)
		}, "2001 descriptor files, limit 2000"},
		{"many bytes", func(r *pluginv1.DescribeResponse) {
			r.Files.File[0].Options = &descriptorpb.FileOptions{GoPackage: new(strings.Repeat("x", maxFilesBytes))}
		}, "limit 16777216"},
		{"many methods", func(r *pluginv1.DescribeResponse) { r.Files = response(file("a.v1", "One", many...)).GetFiles() }, "2001 methods"},
	} {
		t.Run(c.given, func(t *testing.T) {
			r := response(file("a.v1", "One", "Get"))
			c.edit(r)
			_, err := NewDescription(r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to contain %q", err, c.want)
			}
		})
	}
}

func TestReservedServicesAreRefused(t *testing.T) {
	for _, name := range []string{"plugin.GRPCController", "grpc.health.v1.Health", "gaia.plugin.v1.Plugin", "gaia.host.v1.Host"} {
		i := strings.LastIndexByte(name, '.')
		_, err := NewDescription(response(file(name[:i], name[i+1:], "Get")))
		if err == nil || !strings.Contains(err.Error(), "belongs to the host") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if IsReserved("plugins.v1.Shop") || IsReserved("grpc.testing.TestService") || IsReserved("gaia.api.v1.APIClientPool") {
		t.Error("a name that only looks alike is reserved")
	}
}

// FuzzNewDescription feeds what a broken or hostile plugin might answer.
func FuzzNewDescription(f *testing.F) {
	seed, err := proto.Marshal(response(file("a.v1", "One", "Get", "<Both>")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(marshal(f, declaring(&optionsv1.Call{
		Key:          []*optionsv1.Key{{Name: "k", Field: "legacy.group.text", As: optionsv1.Transform_URL_HOST}},
		IdempotentIf: []*optionsv1.Condition{{Field: "one_inner.enum", In: []string{"BLUE"}}},
		FailedIf:     []*optionsv1.Condition{{Field: "many_bool", IsSet: true}},
	})))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := new(pluginv1.DescribeResponse)
		if proto.Unmarshal(raw, r) != nil {
			t.Skip()
		}
		d, err := NewDescription(r)
		if err != nil {
			return
		}
		for _, m := range d.Methods() {
			if got, ok := d.Method(m.Name); !ok || got != m {
				t.Errorf("method %q is not found by its name", m.Name)
			}
			for _, k := range m.Keys() {
				k.Value(raw, nil)
			}
			m.Idempotent(raw)
			m.Failed(raw)
		}
	})
}

// sourceInfo puts a comment before the first service of a file.
func sourceInfo(comment string) *descriptorpb.SourceCodeInfo {
	return &descriptorpb.SourceCodeInfo{Location: []*descriptorpb.SourceCodeInfo_Location{
		{Path: []int32{6, 0}, Span: []int32{0, 0, 0}, LeadingComments: new(comment)},
	}}
}
