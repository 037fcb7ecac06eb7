package cli

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/registry"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// described is a plugin as the host describes it.
type described struct {
	*registry.Description

	types  registry.Types
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
		Files:         r.GetFiles(),
		ConfigMessage: r.GetConfigMessage(),
	})
	if err != nil {
		return nil, fmt.Errorf("internal: plugin of %q: %w", name, err)
	}
	return &described{
		Description: d,
		types:       d.Types(),
		file:        r.GetFile(),
		sha256:      r.GetSha256(),
	}, nil
}

// method returns the method that a user calls name: "Do", "APIClientPool.Do"
// or "gaia.api.v1.APIClientPool.Do", with "/" allowed before the last part.
func (d *described) method(subsystem, name string) (protoreflect.MethodDescriptor, error) {
	found := d.Named(name)
	switch len(found) {
	case 1:
		return found[0].Descriptor, checkMessages(found[0].Descriptor)
	case 0:
		return nil, d.noMethod(subsystem, name)
	}
	problem := failed("%d services of %s have a method %s", len(found), subsystem, name)
	for _, m := range found {
		problem = problem.hint("gaia call %s.%s.%s", subsystem, m.Descriptor.Parent().Name(), m.Descriptor.Name())
	}
	return nil, problem
}

func (d *described) noMethod(subsystem, name string) error {
	problem := failed("%s has no method %q", subsystem, name)
	if best, ok := nearest.Name(name, d.Spellings()); ok {
		problem = problem.hint("did you mean %s.%s?", subsystem, best)
	}
	return problem.hint("gaia call %s lists its methods", subsystem)
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
