package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/registry"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// described is a plugin as the host describes it.
type described struct {
	*registry.Description

	types  resolver
	file   string
	sha256 string
}

// describe asks for the plugin that backs a subsystem, or that is a file in
// the plugin directory.
func (h *host) describe(ctx context.Context, name string) (*described, error) {
	r, err := h.Describe(ctx, &hostv1.DescribeRequest{Name: name})
	if err != nil {
		return nil, err
	}
	d, err := registry.NewDescription(&pluginv1.DescribeResponse{
		Name:          r.GetName(),
		Version:       r.GetVersion(),
		Services:      r.GetServices(),
		Files:         withKnownImports(r.GetFiles()),
		ConfigMessage: r.GetConfigMessage(),
	})
	if err != nil {
		return nil, fmt.Errorf("internal: plugin of %q: %w", name, err)
	}
	return &described{
		Description: d,
		types:       resolver{dynamicpb.NewTypes(d.Files())},
		file:        r.GetFile(),
		sha256:      r.GetSha256(),
	}, nil
}

// withKnownImports adds the files that a plugin left out and everybody has,
// such as google/protobuf/duration.proto.
func withKnownImports(set *descriptorpb.FileDescriptorSet) *descriptorpb.FileDescriptorSet {
	whole := &descriptorpb.FileDescriptorSet{File: slices.Clone(set.GetFile())}
	have := map[string]bool{}
	for _, file := range whole.GetFile() {
		have[file.GetName()] = true
	}
	for i := 0; i < len(whole.File); i++ { // it grows
		for _, path := range whole.File[i].GetDependency() {
			known, err := protoregistry.GlobalFiles.FindFileByPath(path)
			if err == nil && !have[path] {
				have[path] = true
				whole.File = append(whole.File, protodesc.ToFileDescriptorProto(known))
			}
		}
	}
	return whole
}

// resolver finds types of the plugin first, and what this program was built
// with after that.
type resolver struct {
	plugin *dynamicpb.Types
}

// FindMessageByName is for protojson, as are the methods below.
func (r resolver) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	return first(
		func() (protoreflect.MessageType, error) { return r.plugin.FindMessageByName(name) },
		func() (protoreflect.MessageType, error) { return protoregistry.GlobalTypes.FindMessageByName(name) })
}

// FindMessageByURL returns the type of a google.protobuf.Any.
func (r resolver) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return first(
		func() (protoreflect.MessageType, error) { return r.plugin.FindMessageByURL(url) },
		func() (protoreflect.MessageType, error) { return protoregistry.GlobalTypes.FindMessageByURL(url) })
}

// FindExtensionByName returns the extension that JSON calls "[name]".
func (r resolver) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return first(
		func() (protoreflect.ExtensionType, error) { return r.plugin.FindExtensionByName(name) },
		func() (protoreflect.ExtensionType, error) { return protoregistry.GlobalTypes.FindExtensionByName(name) })
}

// FindExtensionByNumber returns the extension with a number on the wire.
func (r resolver) FindExtensionByNumber(message protoreflect.FullName, n protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return first(
		func() (protoreflect.ExtensionType, error) { return r.plugin.FindExtensionByNumber(message, n) },
		func() (protoreflect.ExtensionType, error) {
			return protoregistry.GlobalTypes.FindExtensionByNumber(message, n)
		})
}

// first asks the second only when the first does not know.
func first[T any](one, two func() (T, error)) (T, error) {
	found, err := one()
	if errors.Is(err, protoregistry.NotFound) {
		return two()
	}
	return found, err
}

// method returns the method that a user calls name: "Do", "APIClientPool.Do"
// or "gaia.api.v1.APIClientPool.Do", with "/" allowed before the last part.
func (d *described) method(subsystem, name string) (protoreflect.MethodDescriptor, error) {
	wanted := strings.Replace(name, "/", ".", 1)
	var found []protoreflect.MethodDescriptor
	var spellings []string
	for _, m := range d.Methods() {
		all := methodNames(m.Descriptor)
		spellings = append(spellings, all...)
		if slices.Contains(all, wanted) {
			found = append(found, m.Descriptor)
		}
	}
	switch len(found) {
	case 1:
		return found[0], checkMessages(found[0])
	case 0:
		return nil, d.noMethod(subsystem, name, spellings)
	}
	problem := failed("%d services of %s have a method %s", len(found), subsystem, name)
	for _, m := range found {
		problem = problem.hint("gaia call %s.%s.%s", subsystem, m.Parent().Name(), m.Name())
	}
	return nil, problem
}

func (d *described) noMethod(subsystem, name string, spellings []string) error {
	problem := failed("%s has no method %q", subsystem, name)
	if best, ok := nearest.Name(name, spellings); ok {
		problem = problem.hint("did you mean %s.%s?", subsystem, best)
	}
	return problem.hint("gaia call %s lists its methods", subsystem)
}

// methodNames returns what a method may be called, the shortest first.
func methodNames(m protoreflect.MethodDescriptor) []string {
	return []string{
		string(m.Name()),
		string(m.Parent().Name()) + "." + string(m.Name()),
		string(m.FullName()),
	}
}

// callName is the shortest name of m that means no other method.
func (d *described) callName(m protoreflect.MethodDescriptor) string {
	names := methodNames(m)
	for _, name := range names {
		if meant, err := d.method("", name); err == nil && meant == m {
			return name
		}
	}
	return names[len(names)-1]
}

// checkMessages refuses a method whose messages the plugin did not describe:
// it can be forwarded, and not be called from here.
func checkMessages(m protoreflect.MethodDescriptor) error {
	for _, message := range []protoreflect.MessageDescriptor{m.Input(), m.Output()} {
		if message.IsPlaceholder() {
			return failed("%s: the plugin does not describe the message %s", m.FullName(), message.FullName())
		}
	}
	return nil
}

// methodPath is the name of m in a gRPC request.
func methodPath(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}
