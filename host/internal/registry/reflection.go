package registry

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// askReflection learns a plugin's services by gRPC reflection. Version 1alpha is
// asked when version 1 is unknown: it is all that grpcio (Python) serves, and
// its messages are the same on the wire.
func askReflection(ctx context.Context, conn grpc.ClientConnInterface) (*pluginv1.DescribeResponse, error) {
	response, err := askReflectionBy(ctx, conn, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
	if status.Code(err) == codes.Unimplemented {
		response, err = askReflectionBy(ctx, conn, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
	}
	if status.Code(err) == codes.Unimplemented {
		return nil, errors.New("the plugin serves neither gaia.plugin.v1.Plugin/Describe nor gRPC reflection")
	}
	if err != nil {
		return nil, fmt.Errorf("reflection: %w", err)
	}
	return response, nil
}

func askReflectionBy(ctx context.Context, conn grpc.ClientConnInterface, method string) (*pluginv1.DescribeResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method,
		grpc.MaxCallRecvMsgSize(maxDescribeBytes))
	if err != nil {
		return nil, err
	}
	c := conversation{stream: stream, files: make(map[string]*descriptorpb.FileDescriptorProto)}
	services, err := c.services()
	if err != nil {
		return nil, err
	}
	response := &pluginv1.DescribeResponse{
		Services: services,
		Files:    &descriptorpb.FileDescriptorSet{},
	}
	for _, service := range services {
		if err := c.fetch(&grpc_reflection_v1.ServerReflectionRequest{
			MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
		}); err != nil {
			return nil, fmt.Errorf("file of service %q: %w", service, err)
		}
	}
	if err := c.fetchImports(); err != nil {
		return nil, err
	}
	for _, path := range c.order {
		response.Files.File = append(response.Files.File, c.files[path])
	}
	return response, nil
}

// conversation is one conversation with a reflection service.
type conversation struct {
	stream grpc.ClientStream
	files  map[string]*descriptorpb.FileDescriptorProto // by path
	order  []string                                     // paths as they arrived
	bytes  int
}

func (c *conversation) ask(question *grpc_reflection_v1.ServerReflectionRequest) (*grpc_reflection_v1.ServerReflectionResponse, error) {
	// A send that finds the stream ended says only io.EOF; RecvMsg has the reason.
	sendErr := c.stream.SendMsg(question)
	answer := new(grpc_reflection_v1.ServerReflectionResponse)
	if err := c.stream.RecvMsg(answer); err != nil {
		return nil, err
	}
	return answer, sendErr
}

// services lists what the plugin serves to callers.
func (c *conversation) services() ([]string, error) {
	answer, err := c.ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		if !IsReserved(s.GetName()) {
			names = append(names, s.GetName())
		}
	}
	if len(names) > maxServices {
		return nil, fmt.Errorf("%d services, limit %d", len(names), maxServices)
	}
	return names, nil
}

// fetch adds the files of one answer.
func (c *conversation) fetch(question *grpc_reflection_v1.ServerReflectionRequest) error {
	answer, err := c.ask(question)
	if err != nil {
		return err
	}
	if fault := answer.GetErrorResponse(); fault != nil {
		return &refusal{message: fault.GetErrorMessage()}
	}
	for _, raw := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
		file := new(descriptorpb.FileDescriptorProto)
		if err := proto.Unmarshal(raw, file); err != nil {
			return fmt.Errorf("descriptor: %w", err)
		}
		if _, known := c.files[file.GetName()]; known {
			continue
		}
		c.files[file.GetName()] = file
		c.order = append(c.order, file.GetName())
		if c.bytes += len(raw); c.bytes > maxFilesBytes || len(c.order) > maxFiles {
			return fmt.Errorf("%d descriptor files of %d bytes, limits %d and %d", len(c.order), c.bytes, maxFiles, maxFilesBytes)
		}
	}
	return nil
}

// fetchImports asks for the imports that no answer contained. Servers that
// follow the letter of the protocol leave them out; an import that a server
// does not have stays unresolved.
func (c *conversation) fetchImports() error {
	asked := make(map[string]bool)
	for i := 0; i < len(c.order); i++ { // fetch appends to order
		for _, path := range c.files[c.order[i]].GetDependency() {
			if _, known := c.files[path]; known || asked[path] {
				continue
			}
			if len(asked) == maxFiles {
				return fmt.Errorf("more than %d imports are missing", maxFiles)
			}
			asked[path] = true
			err := c.fetch(&grpc_reflection_v1.ServerReflectionRequest{
				MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileByFilename{FileByFilename: path},
			})
			if _, refused := errors.AsType[*refusal](err); err != nil && !refused {
				return fmt.Errorf("import %q: %w", path, err)
			}
		}
	}
	return nil
}

// refusal is an answer of the reflection service that says "not here".
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }
