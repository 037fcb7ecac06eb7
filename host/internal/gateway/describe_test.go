package gateway

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"

	"github.com/gaia-go/gaia/host/internal/registry"
)

// describeUnary describes the unary method of the test service, of which call
// tells the host something.
func describeUnary(tb testing.TB, call *optionsv1.Call) *registry.Description {
	tb.Helper()
	options := &descriptorpb.MethodOptions{}
	proto.SetExtension(options, optionsv1.E_Call, call)
	d, err := registry.NewDescription(&pluginv1.DescribeResponse{
		Services: []string{echoService},
		Files: &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
			protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto),
			protodesc.ToFileDescriptorProto(wrapperspb.File_google_protobuf_wrappers_proto),
			{
				Name: new("echo/v1/echo.proto"), Package: new("echo.v1"), Syntax: new("proto3"),
				Dependency: []string{"google/protobuf/wrappers.proto"},
				Service: []*descriptorpb.ServiceDescriptorProto{{Name: new("Echo"), Method: []*descriptorpb.MethodDescriptorProto{{
					Name: new("Unary"), InputType: new(".google.protobuf.BytesValue"), OutputType: new(".google.protobuf.BytesValue"), Options: options,
				}}}},
			},
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// idempotentIf says which payloads make a call of the test service idempotent.
func idempotentIf(payloads ...string) *optionsv1.Call {
	return &optionsv1.Call{IdempotentIf: []*optionsv1.Condition{{Field: "value", In: payloads}}}
}
