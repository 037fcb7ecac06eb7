package registry

import (
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

func TestACallGoesToTheOnlySubsystemThatServesIt(t *testing.T) {
	var r Registry[int]
	r.Set("files", describe(t, file("file.v1", "Manager", "Read", "Write")), 1)
	r.Set("apis", describe(t, file("api.v1", "Pool", "Do")), 2)
	route, err := r.Route("/api.v1.Pool/Do", "")
	if err != nil {
		t.Fatal(err)
	}
	if route.Subsystem != "apis" || route.Value != 2 || route.Method.Name != "/api.v1.Pool/Do" {
		t.Errorf("route %+v", route)
	}
}

func TestOfSeveralSubsystemsTheNamedOneIsTaken(t *testing.T) {
	var r Registry[int]
	d := describe(t, file("api.v1", "Pool", "Do"))
	r.Set("a", d, 1)
	r.Set("b", d, 2)
	for name, want := range map[string]int{"a": 1, "b": 2} {
		route, err := r.Route("/api.v1.Pool/Do", name)
		if err != nil || route.Value != want || route.Subsystem != name {
			t.Errorf("Route(%q) = %+v, %v", name, route, err)
		}
	}
}

func TestACallWithoutARouteIsToldWhy(t *testing.T) {
	var r Registry[int]
	r.Set("api_client_pool", describe(t, file("gaia.api.v1", "APIClientPool", "Do", "Stream>")), 1)
	r.Set("one", describe(t, file("shared.v1", "Shared", "Get")), 2)
	r.Set("two", describe(t, file("shared.v1", "Shared", "Get", "Put")), 3)
	for _, c := range []struct {
		method, subsystem string
		code              codes.Code
		want              string
	}{
		{"/gaia.api.v1.APIClientPool/Do", "api_cleint_pool", codes.NotFound, `no subsystem "api_cleint_pool"; did you mean "api_client_pool"?`},
		{"/gaia.api.v1.APIClientPool/Do", "zzz", codes.NotFound, `no subsystem "zzz"`},
		{"/gaia.api.v1.APIClientPol/Do", "", codes.Unimplemented, `no subsystem serves "gaia.api.v1.APIClientPol"; did you mean "gaia.api.v1.APIClientPool"?`},
		{"/nothing.like.It/Do", "", codes.Unimplemented, `no subsystem serves "nothing.like.It"`},
		{"/gaia.api.v1.APIClientPool/Steam", "", codes.Unimplemented, `service "gaia.api.v1.APIClientPool" has no method "Steam"; did you mean "Stream"?`},
		{"/gaia.api.v1.APIClientPool/Steam", "api_client_pool", codes.Unimplemented, `service "gaia.api.v1.APIClientPool" has no method "Steam"; did you mean "Stream"?`},
		{"/shared.v1.Shared/Put", "one", codes.Unimplemented, `service "shared.v1.Shared" has no method "Put"`},
		{"/shared.v1.Shared/Get", "api_client_pool", codes.Unimplemented, `subsystem "api_client_pool" does not serve "shared.v1.Shared", which is served by "one", "two"`},
		{"/shared.v2.Shared/Get", "one", codes.Unimplemented, `subsystem "one" does not serve "shared.v2.Shared"; did you mean "shared.v1.Shared"?`},
		{"/shared.v1.Shared/Get", "", codes.InvalidArgument, `/shared.v1.Shared/Get is served by the subsystems "one", "two": name one in the metadata gaia-subsystem`},
		{"/plugin.GRPCController/Shutdown", "one", codes.Unimplemented, `subsystem "one" does not serve "plugin.GRPCController"`},
		{"nonsense", "", codes.Unimplemented, `no subsystem serves ""`},
	} {
		_, err := r.Route(c.method, c.subsystem)
		if status.Code(err) != c.code || status.Convert(err).Message() != c.want {
			t.Errorf("Route(%q, %q):\n got %v\nwant %v %s", c.method, c.subsystem, err, c.code, c.want)
		}
	}
}

func TestWhileASubsystemIsUndescribedACallThatMightBeItsIsUnavailable(t *testing.T) {
	var r Registry[int]
	r.Set("ready", describe(t, file("a.v1", "One", "Get")), 1)
	r.Set("starting", nil, 2)
	for _, name := range []string{"", "starting"} {
		_, err := r.Route("/b.v1.Two/Get", name)
		st := status.Convert(err)
		if st.Code() != codes.Unavailable || !strings.Contains(st.Message(), `"starting"`) {
			t.Errorf("subsystem %q: got %v", name, err)
		}
		if len(st.Details()) != 1 || st.Details()[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration() != describeRetry {
			t.Errorf("details %v, want a RetryInfo", st.Details())
		}
	}
	if _, err := r.Route("/a.v1.One/Gte", ""); status.Code(err) != codes.Unimplemented {
		t.Errorf("a wrong method of a known service: got %v", err)
	}
}

func TestARemovedSubsystemIsForgotten(t *testing.T) {
	var r Registry[int]
	r.Remove("never there")
	r.Set("a", describe(t, file("a.v1", "One", "Get")), 1)
	if _, ok := r.Description("a"); !ok {
		t.Error("no description")
	}
	r.Remove("a")
	if _, err := r.Route("/a.v1.One/Get", ""); status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
	if len(r.Subsystems()) != 0 || len(r.Services()) != 0 {
		t.Errorf("left: %v %v", r.Subsystems(), r.Services())
	}
}

func TestReadersSeeOneSnapshotWhileWritersChangeIt(t *testing.T) {
	var r Registry[int]
	d := describe(t, file("a.v1", "One", "Get"))
	r.Set("stays", d, 1)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if route, err := r.Route("/a.v1.One/Get", "stays"); err != nil || route.Value != 1 {
					t.Errorf("Route = %+v, %v", route, err)
					return
				}
			}
		})
	}
	for range 500 {
		r.Set("comes and goes", d, 2)
		r.Remove("comes and goes")
	}
	close(stop)
	wg.Wait()
}

func TestRoutingAllocatesNothing(t *testing.T) {
	var r Registry[int]
	r.Set("a", describe(t, file("a.v1", "One", "Get")), 1)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.Route("/a.v1.One/Get", ""); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkRoute(b *testing.B) {
	var r Registry[int]
	d, err := NewDescription(response(file("a.v1", "One", "Get")))
	if err != nil {
		b.Fatal(err)
	}
	r.Set("a", d, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Route("/a.v1.One/Get", ""); err != nil {
			b.Fatal(err)
		}
	}
}

// extended is a file that extends MethodOptions, once inside a message.
func extended() *descriptorpb.FileDescriptorProto {
	f := file("x.v1", "Extended", "Get")
	f.Dependency = append(f.Dependency, "google/protobuf/descriptor.proto")
	extension := func(name string, number int32) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: new(name), Number: new(number),
			Type:     descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			Label:    descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			Extendee: new(".google.protobuf.MethodOptions"),
		}
	}
	f.Extension = append(f.Extension, extension("outer", 60001))
	f.MessageType[0].Extension = append(f.MessageType[0].Extension, extension("inner", 60002))
	return f
}

func TestReflectionAnswersForAllSubsystemsAndTheHost(t *testing.T) {
	var r Registry[int]
	r.Set("a", describe(t, file("a.v1", "One", "Get")), 1)
	r.Set("nothing yet", nil, 2)
	r.Set("x", describe(t, extended()), 3)
	own := fixed{"grpc.reflection.v1.ServerReflection": {Metadata: "own"}}
	o := r.Reflection(own)

	services := o.Services.GetServiceInfo()
	for _, name := range []string{"a.v1.One", "x.v1.Extended", "grpc.reflection.v1.ServerReflection"} {
		if _, ok := services[name]; !ok {
			t.Errorf("service %q is missing", name)
		}
	}
	if len(services) != 3 {
		t.Errorf("services %v", services)
	}
	for _, name := range []protoreflect.FullName{"a.v1.One", "x.v1.Extended.Get", "grpc.reflection.v1.ServerReflection"} {
		if _, err := o.DescriptorResolver.FindDescriptorByName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := o.DescriptorResolver.FindDescriptorByName("b.v1.Nope"); err != protoregistry.NotFound { //nolint:errorlint // the contract of a Resolver
		t.Errorf("unknown name: %v", err)
	}
	for _, path := range []string{"a/v1/one.proto", grpc_reflection_v1.File_grpc_reflection_v1_reflection_proto.Path()} {
		if _, err := o.DescriptorResolver.FindFileByPath(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if x, err := o.ExtensionResolver.FindExtensionByNumber("google.protobuf.MethodOptions", 60001); err != nil || x.TypeDescriptor().FullName() != "x.v1.outer" {
		t.Errorf("extension 60001: %v, %v", x, err)
	}
	if x, err := o.ExtensionResolver.FindExtensionByName(optionsv1.E_Call.TypeDescriptor().FullName()); err != nil || x.TypeDescriptor().Number() != 50420 {
		t.Errorf("the host's own extension: %v, %v", x, err)
	}
	seen := make(map[protoreflect.FieldNumber]int)
	o.ExtensionResolver.RangeExtensionsByMessage("google.protobuf.MethodOptions", func(x protoreflect.ExtensionType) bool {
		seen[x.TypeDescriptor().Number()]++
		return true
	})
	for _, number := range []protoreflect.FieldNumber{50420, 60001, 60002} {
		if seen[number] != 1 {
			t.Errorf("extension %d seen %d times", number, seen[number])
		}
	}
	visits := 0
	o.ExtensionResolver.RangeExtensionsByMessage("google.protobuf.MethodOptions", func(protoreflect.ExtensionType) bool {
		visits++
		return false
	})
	if visits != 1 {
		t.Errorf("%d visits after the first said stop", visits)
	}
}
