package registry

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// serve runs a real gRPC server on a unix socket and returns a connection.
func serve(t *testing.T, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	lis, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// describer is a plugin that implements Describe.
type describer struct {
	pluginv1.UnimplementedPluginServer

	response *pluginv1.DescribeResponse
	err      error
}

func (d describer) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return d.response, d.err
}

func TestDescribeAsksThePlugin(t *testing.T) {
	want := response(file("a.v1", "One", "Get"))
	// Larger than gRPC's default of 4 MiB for a message.
	comment := strings.Repeat("c", 5<<20)
	want.Files.File[0].SourceCodeInfo = sourceInfo(comment)
	conn := serve(t, func(s *grpc.Server) { pluginv1.RegisterPluginServer(s, describer{response: want}) })
	d, err := Describe(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "gaia-test" || !slices.Equal(d.Services, []string{"a.v1.One"}) {
		t.Errorf("got %q %q", d.Name, d.Services)
	}
	service, err := d.Files().FindDescriptorByName("a.v1.One")
	if err != nil {
		t.Fatal(err)
	}
	if got := service.ParentFile().SourceLocations().ByDescriptor(service).LeadingComments; got != comment {
		t.Errorf("comment of %d bytes, want %d", len(got), len(comment))
	}
}

func TestDescribePassesOnWhatThePluginAnswers(t *testing.T) {
	conn := serve(t, func(s *grpc.Server) {
		pluginv1.RegisterPluginServer(s, describer{err: status.Error(codes.Internal, "boom")})
		reflection.Register(s)
	})
	_, err := Describe(t.Context(), conn)
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v", err)
	}
}

func TestAPluginWithoutDescribeIsLearnedByReflection(t *testing.T) {
	one := describe(t, file("a.v1", "One", "Get", "Watch>"))
	services := fixed{"a.v1.One": {}, "plugin.GRPCController": {}, "grpc.health.v1.Health": {}}
	options := reflection.ServerOptions{Services: services, DescriptorResolver: one.Files()}
	for name, register := range map[string]func(*grpc.Server){
		"v1": func(s *grpc.Server) {
			grpc_reflection_v1.RegisterServerReflectionServer(s, reflection.NewServerV1(options))
		},
		"v1alpha": func(s *grpc.Server) {
			grpc_reflection_v1alpha.RegisterServerReflectionServer(s, reflection.NewServer(options))
		},
		"v1, one file an answer": func(s *grpc.Server) {
			grpc_reflection_v1.RegisterServerReflectionServer(s, literal{files: one})
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Describe(t.Context(), serve(t, register))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"/a.v1.One/Get", "/a.v1.One/Watch"}, d.MethodNames()); diff != "" {
				t.Errorf("methods (-want +got):\n%s", diff)
			}
			if m, _ := d.Method("/a.v1.One/Watch"); !m.ServerStreams || m.Descriptor.Input().IsPlaceholder() {
				t.Errorf("Watch = %+v", m)
			}
			if d.Name != "" || d.Version != "" || d.ConfigMessage() != nil {
				t.Errorf("name %q, version %q, config %v: reflection cannot know them", d.Name, d.Version, d.ConfigMessage())
			}
		})
	}
}

func TestAPluginThatSaysNothingIsRefused(t *testing.T) {
	for _, c := range []struct {
		given    string
		register func(*grpc.Server)
		want     string
	}{
		{"nothing", func(*grpc.Server) {}, "neither gaia.plugin.v1.Plugin/Describe nor gRPC reflection"},
		{"only control services", func(s *grpc.Server) {
			grpc_health_v1.RegisterHealthServer(s, health.NewServer())
			reflection.Register(s)
		}, "no services"},
	} {
		t.Run(c.given, func(t *testing.T) {
			_, err := Describe(t.Context(), serve(t, c.register))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to contain %q", err, c.want)
			}
		})
	}
}

// fixed is a list of services.
type fixed map[string]grpc.ServiceInfo

func (f fixed) GetServiceInfo() map[string]grpc.ServiceInfo { return f }

// literal is a reflection service that sends one file an answer, as other
// languages' do, and has no import that is not its own.
type literal struct {
	grpc_reflection_v1.UnimplementedServerReflectionServer

	files *Description
}

func (l literal) ServerReflectionInfo(stream grpc.BidiStreamingServer[grpc_reflection_v1.ServerReflectionRequest, grpc_reflection_v1.ServerReflectionResponse]) error {
	for {
		question, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the client hung up
		}
		answer := new(grpc_reflection_v1.ServerReflectionResponse)
		switch q := question.GetMessageRequest().(type) {
		case *grpc_reflection_v1.ServerReflectionRequest_ListServices:
			answer.MessageResponse = &grpc_reflection_v1.ServerReflectionResponse_ListServicesResponse{
				ListServicesResponse: &grpc_reflection_v1.ListServiceResponse{
					Service: []*grpc_reflection_v1.ServiceResponse{{Name: "a.v1.One"}},
				},
			}
		case *grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol:
			l.file(answer, "a/v1/one.proto")
		case *grpc_reflection_v1.ServerReflectionRequest_FileByFilename:
			l.file(answer, q.FileByFilename)
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (l literal) file(answer *grpc_reflection_v1.ServerReflectionResponse, path string) {
	found, err := l.files.Files().FindFileByPath(path)
	if err != nil {
		answer.MessageResponse = &grpc_reflection_v1.ServerReflectionResponse_ErrorResponse{
			ErrorResponse: &grpc_reflection_v1.ErrorResponse{ErrorCode: int32(codes.NotFound), ErrorMessage: "no such file"},
		}
		return
	}
	raw, err := proto.Marshal(protodesc.ToFileDescriptorProto(found))
	if err != nil {
		panic(err)
	}
	answer.MessageResponse = &grpc_reflection_v1.ServerReflectionResponse_FileDescriptorResponse{
		FileDescriptorResponse: &grpc_reflection_v1.FileDescriptorResponse{FileDescriptorProto: [][]byte{raw}},
	}
}
