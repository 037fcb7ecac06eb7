package gateway

import (
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"

	"github.com/gaia-go/gaia/host/internal/registry"
)

// keyedMethod is a method with two keys, "a" and "b", that have to be made.
func keyedMethod(t *testing.T) *registry.Method {
	t.Helper()
	options := &descriptorpb.MethodOptions{}
	proto.SetExtension(options, optionsv1.E_Call, &optionsv1.Call{Key: []*optionsv1.Key{
		{Name: "a", Field: "a", As: optionsv1.Transform_LOWER}, {Name: "b", Field: "b", As: optionsv1.Transform_LOWER},
	}})
	field := func(name string, number int32) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: new(name), Number: new(number),
			Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	d, err := registry.NewDescription(&pluginv1.DescribeResponse{
		Services: []string{"k.K"},
		Files: &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
			protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto),
			{
				Name: new("k.proto"), Package: new("k"), Syntax: new("proto3"),
				MessageType: []*descriptorpb.DescriptorProto{{Name: new("M"), Field: []*descriptorpb.FieldDescriptorProto{field("a", 1), field("b", 2)}}},
				Service: []*descriptorpb.ServiceDescriptorProto{{Name: new("K"), Method: []*descriptorpb.MethodDescriptorProto{{
					Name: new("Do"), InputType: new(".k.M"), OutputType: new(".k.M"), Options: options,
				}}}},
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, ok := d.Method("/k.K/Do")
	if !ok {
		t.Fatal("no method")
	}
	return m
}

func TestOneKeyOfARequestDoesNotOverwriteAnother(t *testing.T) {
	method := keyedMethod(t)
	for _, size := range []int{5, 200, 1000} {
		a, b := strings.Repeat("A", size), strings.Repeat("B", size)
		message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), a)
		message = protowire.AppendString(protowire.AppendTag(message, 2, protowire.BytesType), b)
		half := len(message) / 2
		first := &frame{data: mem.BufferSlice{mem.SliceBuffer(message[:half]), mem.SliceBuffer(message[half:])}}
		r := &request{method: method, message: first.bytes()}
		gotA, okA := r.Key("a")
		gotB, okB := r.Key("b")
		if !okA || !okB || string(gotA) != strings.ToLower(a) || string(gotB) != strings.ToLower(b) {
			t.Errorf("keys of %d bytes: got %.10q and %.10q, want %.10q and %.10q", size, gotA, gotB, strings.ToLower(a), strings.ToLower(b))
		}
		if _, ok := r.Key("c"); ok {
			t.Error("a key that the method does not declare was found")
		}
		first.free()
	}
}

// keyedStream describes the test service with a key on its stream.
func keyedStream(t *testing.T) *registry.Description {
	t.Helper()
	options := &descriptorpb.MethodOptions{}
	proto.SetExtension(options, optionsv1.E_Call, &optionsv1.Call{Key: []*optionsv1.Key{{Name: "a", Field: "value"}}})
	d, err := registry.NewDescription(&pluginv1.DescribeResponse{
		Services: []string{echoService},
		Files: &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
			protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto),
			protodesc.ToFileDescriptorProto(wrapperspb.File_google_protobuf_wrappers_proto),
			{
				Name: new("echo/v1/echo.proto"), Package: new("echo.v1"), Syntax: new("proto3"),
				Dependency: []string{"google/protobuf/wrappers.proto"},
				Service: []*descriptorpb.ServiceDescriptorProto{{Name: new("Echo"), Method: []*descriptorpb.MethodDescriptorProto{{
					Name: new("Both"), InputType: new(".google.protobuf.BytesValue"), OutputType: new(".google.protobuf.BytesValue"),
					ClientStreaming: new(true), ServerStreaming: new(true), Options: options,
				}}}},
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The instance may have ended a stream whose first message, which was read for
// its key, is still being sent.
func TestTheFirstMessageOfAStreamIsNotFreedWhileItIsSent(t *testing.T) {
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{stream: func(grpc.ServerStream) error {
		return status.Error(codes.PermissionDenied, "no")
	}}))}
	h := startHost(t, Options{}, sub)
	h.registry.Set("echo", keyedStream(t), sub)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 100 {
				s := h.open(t.Context(), bothMethod)
				_ = s.SendMsg(wrapperspb.Bytes(make([]byte, 5000))) // the stream may have ended
				if _, err := receive(s); status.Code(err) != codes.PermissionDenied {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	callers.Wait()
	if strings.Contains(h.log.String(), "panic") {
		t.Errorf("the log tells of a panic: %.500s", h.log.String())
	}
}
