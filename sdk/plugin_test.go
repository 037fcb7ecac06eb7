package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// testServices is the file of grpc_testing's services.
const testServices = "grpc/testing/test.proto"

// described brings a file of its own, or what else it is made of.
type described struct {
	grpc_testing.UnimplementedTestServiceServer

	descriptors []byte
}

func (d *described) Descriptors() []byte { return d.descriptors }

// counted serves two services and counts what is asked of it.
type counted struct {
	grpc_testing.UnimplementedTestServiceServer
	gauge
	takesConfig

	ended int           // how often
	left  time.Duration // to do so
}

func (c *counted) Shutdown(ctx context.Context) error {
	c.ended++
	if deadline, ok := ctx.Deadline(); ok {
		c.left = time.Until(deadline)
	}
	return nil
}

// inOrder notes when it is shut down.
type inOrder struct {
	grpc_testing.UnimplementedTestServiceServer
	grpc_testing.UnimplementedLoadBalancerStatsServiceServer

	name  string
	order *[]string
}

func (c *inOrder) Shutdown(context.Context) error {
	*c.order = append(*c.order, c.name)
	return fmt.Errorf("%s is stuck", c.name)
}

func serving(impl grpc_testing.TestServiceServer) func(grpc.ServiceRegistrar) {
	return func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, impl) }
}

func descriptionOf(t *testing.T, p *plugin) *pluginv1.DescribeResponse {
	t.Helper()
	d, err := p.description()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDescriptorsAreComplete(t *testing.T) {
	p, err := newPlugin(serving(&station{}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"grpc.testing.TestService"}, descriptionOf(t, p).GetServices()); diff != "" {
		t.Errorf("services: want -, got +:\n%s", diff)
	}
	if got, want := descriptionOf(t, p).GetConfigMessage(), "google.protobuf.StringValue"; got != want {
		t.Errorf("config message: got %q, want %q", got, want)
	}
	var names []string
	for _, f := range descriptionOf(t, p).GetFiles().GetFile() {
		for _, dependency := range f.GetDependency() {
			if !slices.Contains(names, dependency) {
				t.Errorf("%s comes before its dependency %s", f.GetName(), dependency)
			}
		}
		names = append(names, f.GetName())
	}
	files, err := protodesc.NewFiles(descriptionOf(t, p).GetFiles())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"grpc.testing.TestService", "google.protobuf.StringValue"} {
		if _, err := files.FindDescriptorByName(protoreflect.FullName(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheFilesOfADescriberWin(t *testing.T) {
	mine := protodesc.ToFileDescriptorProto(grpc_testing.File_grpc_testing_test_proto)
	mine.SourceCodeInfo = &descriptorpb.SourceCodeInfo{Location: []*descriptorpb.SourceCodeInfo_Location{
		{Path: []int32{6, 0}, Span: []int32{0, 0, 1}, LeadingComments: new("A comment.")},
	}}
	set, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{mine}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlugin(serving(&described{descriptors: set}))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range descriptionOf(t, p).GetFiles().GetFile() {
		if hasComments := f.GetSourceCodeInfo() != nil; hasComments != (f.GetName() == testServices) {
			t.Errorf("%s has comments: %v", f.GetName(), hasComments)
		}
	}
}

func TestWhatCannotBeServedIsSaidAtTheStart(t *testing.T) {
	unknown := grpc.ServiceDesc{ServiceName: "nobody.knows.Me"}
	tests := []struct {
		name  string
		given func(grpc.ServiceRegistrar)
		want  string
	}{
		{"no service", func(grpc.ServiceRegistrar) {}, "sdk.Serve was given no service"},
		{"no implementation", serving(nil), "service grpc.testing.TestService is registered without an implementation"},
		{
			"no descriptor", func(r grpc.ServiceRegistrar) { r.RegisterService(&unknown, &station{}) },
			"service nobody.knows.Me has no descriptor in this program: proto: not found",
		},
		{
			"no FileDescriptorSet", serving(&described{descriptors: []byte("rubbish")}),
			"*sdk.described.Descriptors is not a FileDescriptorSet: proto: cannot parse invalid wire-format data",
		},
		{
			"two configs", func(r grpc.ServiceRegistrar) {
				grpc_testing.RegisterTestServiceServer(r, &station{})
				grpc_testing.RegisterLoadBalancerStatsServiceServer(r, &counted{takesConfig: takesConfig{new(string)}})
			},
			"two services take a config: *sdk.counted is the second; let one of them configure both",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := newPlugin(test.given)
			if err == nil { // the rest is asked for later
				_, err = p.describe()
				err = errors.New(status.Convert(err).Message())
			}
			if err == nil || plainSpaces(err.Error()) != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestOneValueMayServeTwoServices(t *testing.T) {
	c := &counted{takesConfig: takesConfig{new(string)}}
	p, err := newPlugin(func(r grpc.ServiceRegistrar) {
		grpc_testing.RegisterTestServiceServer(r, c)
		grpc_testing.RegisterLoadBalancerStatsServiceServer(r, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(descriptionOf(t, p).GetServices()); got != 2 {
		t.Errorf("got %d services, want 2", got)
	}
	if got := len(p.gatherers); got != 1 {
		t.Errorf("got %d gatherers, want 1", got)
	}
	if err := p.shutdown(); err != nil {
		t.Error(err)
	}
	if c.ended != 1 {
		t.Errorf("shut down %d times, want once", c.ended)
	}
}

func TestServicesAreAllShutDownLastFirst(t *testing.T) {
	var order []string
	p, err := newPlugin(func(r grpc.ServiceRegistrar) {
		grpc_testing.RegisterTestServiceServer(r, &inOrder{name: "first", order: &order})
		grpc_testing.RegisterLoadBalancerStatsServiceServer(r, &inOrder{name: "second", order: &order})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.shutdown(); err == nil || err.Error() != "second is stuck\nfirst is stuck" {
		t.Errorf("got %v, want both errors", err)
	}
	if diff := cmp.Diff([]string{"second", "first"}, order); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestOnlyTheAuthorsMethodsAreCounted(t *testing.T) {
	p, err := newPlugin(serving(&station{}))
	if err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]bool{
		"/grpc.testing.TestService/UnaryCall":  true,
		"grpc.testing.TestService/UnaryCall":   true,
		"/grpc.testing.TestService":            false,
		"/grpc.testing.TestServiceX/UnaryCall": false,
		"/gaia.plugin.v1.Plugin/Drain":         false,
		"/plugin.GRPCStdio/StreamStdio":        false,
		"":                                     false,
	} {
		if got := p.isOwn(method); got != want {
			t.Errorf("%q: got %v, want %v", method, got, want)
		}
	}
}

// plainSpaces undoes that protobuf's errors vary their spaces on purpose.
func plainSpaces(text string) string { return strings.ReplaceAll(text, "\u00a0", " ") }

func TestShutdownHasTheTimeThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{takesConfig: takesConfig{new(string)}}
		p, err := newPlugin(serving(c))
		if err != nil {
			t.Fatal(err)
		}
		p.killed = time.Now().Add(700 * time.Millisecond)
		close(p.stopping)
		if err := p.shutdown(); err != nil || c.left != 700*time.Millisecond {
			t.Errorf("got %v, %v, want 700ms", c.left, err)
		}
	})
}
