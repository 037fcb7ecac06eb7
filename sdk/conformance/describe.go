package conformance

import (
	"context"
	"fmt"
	"strings"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/gaia-go/gaia/sdk/wire"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

func isUnimplemented(err error) bool { return status.Code(err) == codes.Unimplemented }

// describesItself asks what the plugin serves; all later checks need the answer.
func describesItself(ctx context.Context, s *suite) error {
	i, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // what could not be ended is found by the next start
	s.blocked = skipf("what it serves is not known")
	first, err := s.describe(ctx, i)
	if err != nil {
		return fail("an answer to gaia.plugin.v1.Plugin/Describe", err.Error(), "serve gaia.plugin.v1.Plugin, or at least reflection, on the plugin's gRPC server")
	}
	if err := s.take(first); err != nil {
		return err
	}
	again, err := s.describe(ctx, i)
	if err != nil || !proto.Equal(first, again) {
		return fail("the same description when it is asked again", fmt.Sprintf("another one, or %v", err), "let Describe depend on the program alone: the host remembers the answer by the program's checksum")
	}
	s.blocked = nil
	return nil
}

func (s *suite) describe(ctx context.Context, i *instance) (*pluginv1.DescribeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	d, err := i.contract.Describe(ctx, &pluginv1.DescribeRequest{}, grpc.MaxCallRecvMsgSize(wire.MaxMessage))
	if isUnimplemented(err) && s.Reflect != nil {
		return s.Reflect(ctx, i.Conn())
	}
	return d, err
}

// take checks a description and keeps what it says.
func (s *suite) take(d *pluginv1.DescribeResponse) error {
	const fix = "embed the descriptors of the plugin's .proto files with all that they import; `gaia plugin generate` writes them"
	if d.GetName() == "" {
		return fail("a name", "none", "say in Describe how the plugin is called, such as by the name of its program")
	}
	if len(d.GetServices()) == 0 {
		return fail("at least one service", "none", "name in Describe the services that callers may reach")
	}
	files, err := protodesc.NewFiles(d.GetFiles())
	if err != nil {
		return fail("descriptors that resolve", err.Error(), fix)
	}
	s.description, s.files = d, files
	for _, name := range d.GetServices() {
		if err := s.takeService(name, fix); err != nil {
			return err
		}
	}
	if name := d.GetConfigMessage(); name != "" {
		found, err := files.FindDescriptorByName(protoreflect.FullName(name))
		message, ok := found.(protoreflect.MessageDescriptor)
		if err != nil || !ok {
			return fail("the config message "+name+" in the descriptors", "no such message", fix)
		}
		s.configType = message
	}
	if s.Describe == nil {
		return nil
	}
	if err := s.Describe(d); err != nil {
		return fail("a description that the host can use", err.Error(), "see what it says; the options of methods are in gaia/options/v1/options.proto")
	}
	return nil
}

func (s *suite) takeService(name, fix string) error {
	for _, reserved := range []string{"plugin.", "grpc.", "gaia.plugin.", "gaia.host."} {
		if strings.HasPrefix(name, reserved) {
			return fail("services of the plugin's own", name, "leave it out: services whose names begin with "+reserved+" are not for callers")
		}
	}
	found, err := s.files.FindDescriptorByName(protoreflect.FullName(name))
	service, ok := found.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return fail("the service "+name+" in the descriptors", "no such service", fix)
	}
	for i := range service.Methods().Len() {
		m := service.Methods().Get(i)
		options, _ := m.Options().(*descriptorpb.MethodOptions)
		s.methods = append(s.methods, method{
			name: "/" + name + "/" + string(m.Name()), desc: m,
			harmless: options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS,
		})
	}
	return nil
}

// isDocumented looks for comments: all that people see of an API.
func isDocumented(_ context.Context, s *suite) error {
	var bare []string
	for _, m := range s.methods {
		file := m.desc.ParentFile()
		if file.SourceLocations().Len() == 0 {
			return skipf("its descriptors have no source info, so `gaia plugin info` and openapi.json have no words for it; `gaia plugin generate` writes descriptors.binpb with comments, to be embedded")
		}
		if strings.TrimSpace(file.SourceLocations().ByDescriptor(m.desc).LeadingComments) == "" {
			bare = append(bare, string(m.desc.FullName()))
		}
	}
	if len(bare) > 0 {
		return fail("a comment on every method", "none on "+strings.Join(bare, ", "), "write one above it in the .proto file")
	}
	return nil
}

// isWell asks as the host does, which takes a plugin without the service for well.
func isWell(ctx context.Context, s *suite) error {
	i, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // as above
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := grpc_health_v1.NewHealthClient(i.Conn()).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	switch {
	case isUnimplemented(err), status.Code(err) == codes.NotFound:
		return skipf("it serves no grpc.health.v1.Health for the service %q", plugin.GRPCServiceName)
	case err != nil:
		return fail("SERVING", err.Error(), "answer grpc.health.v1.Health/Check at once, whatever else goes on")
	case r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return fail("SERVING", r.GetStatus().String(), "say SERVING for the service \""+plugin.GRPCServiceName+"\" as soon as the plugin has shaken hands: the host kills who does not")
	}
	return nil
}

func diagnosticText(d *pluginv1.Diagnostic) string {
	return strings.Trim(d.GetPath()+": "+d.GetSummary()+" "+d.GetDetail(), ": ")
}

// types of the plugin's messages.
func (s *suite) types() *dynamicpb.Types { return dynamicpb.NewTypes(s.files) }
