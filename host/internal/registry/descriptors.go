package registry

import (
	"errors"
	"maps"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Reflection makes the options of a gRPC reflection service that answers for
// all subsystems, as they are at the time of each question, and for the host's
// own services, whose descriptors are linked into the host.
//
// Names that both the host and a plugin define are answered from the host's
// descriptors; names that several plugins define, from those of the
// alphabetically first subsystem.
func (r *Registry[S]) Reflection(own reflection.ServiceInfoProvider) reflection.ServerOptions {
	d := descriptors{own: own, plugins: r.descriptions}
	return reflection.ServerOptions{Services: d, DescriptorResolver: d, ExtensionResolver: d}
}

// descriptions returns all that is known, in the order of the subsystems.
func (r *Registry[S]) descriptions() []*Description {
	s := r.load()
	var all []*Description
	for _, name := range s.names {
		if d := s.subsystems[name].description; d != nil {
			all = append(all, d)
		}
	}
	return all
}

// descriptors resolves names over the host and all plugins.
type descriptors struct {
	own     reflection.ServiceInfoProvider
	plugins func() []*Description
}

// GetServiceInfo implements reflection.ServiceInfoProvider.
func (d descriptors) GetServiceInfo() map[string]grpc.ServiceInfo {
	all := make(map[string]grpc.ServiceInfo)
	for _, plugin := range d.plugins() {
		for _, service := range plugin.Services {
			all[service] = grpc.ServiceInfo{}
		}
	}
	maps.Copy(all, d.own.GetServiceInfo())
	return all
}

// FindFileByPath implements protodesc.Resolver.
func (d descriptors) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	return find(d, protoregistry.GlobalFiles.FindFileByPath,
		func(p *Description, path string) (protoreflect.FileDescriptor, error) {
			return p.files.FindFileByPath(path)
		},
		path)
}

// FindDescriptorByName implements protodesc.Resolver.
func (d descriptors) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	return find(d, protoregistry.GlobalFiles.FindDescriptorByName,
		func(p *Description, name protoreflect.FullName) (protoreflect.Descriptor, error) {
			return p.files.FindDescriptorByName(name)
		}, name)
}

// FindExtensionByName implements protoregistry.ExtensionTypeResolver.
func (d descriptors) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return find(d, protoregistry.GlobalTypes.FindExtensionByName,
		func(p *Description, name protoreflect.FullName) (protoreflect.ExtensionType, error) {
			return p.types.FindExtensionByName(name)
		}, name)
}

// FindExtensionByNumber implements protoregistry.ExtensionTypeResolver.
func (d descriptors) FindExtensionByNumber(message protoreflect.FullName, number protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	type extension struct {
		message protoreflect.FullName
		number  protoreflect.FieldNumber
	}
	return find(d,
		func(e extension) (protoreflect.ExtensionType, error) {
			return protoregistry.GlobalTypes.FindExtensionByNumber(e.message, e.number)
		},
		func(p *Description, e extension) (protoreflect.ExtensionType, error) {
			return p.types.FindExtensionByNumber(e.message, e.number)
		}, extension{message, number})
}

// find asks the host first and then each plugin.
func find[K, V any](d descriptors, host func(K) (V, error), plugin func(*Description, K) (V, error), key K) (V, error) {
	found, err := host(key)
	if !errors.Is(err, protoregistry.NotFound) {
		return found, err
	}
	for _, p := range d.plugins() {
		if found, err := plugin(p, key); err == nil {
			return found, nil
		}
	}
	return found, protoregistry.NotFound
}

// RangeExtensionsByMessage implements reflection.ExtensionResolver. It visits
// each extension number once.
func (d descriptors) RangeExtensionsByMessage(message protoreflect.FullName, visit func(protoreflect.ExtensionType) bool) {
	seen := make(map[protoreflect.FieldNumber]bool)
	more := true
	once := func(x protoreflect.ExtensionType) bool {
		if number := x.TypeDescriptor().Number(); !seen[number] {
			seen[number] = true
			more = visit(x)
		}
		return more
	}
	protoregistry.GlobalTypes.RangeExtensionsByMessage(message, once)
	for _, p := range d.plugins() {
		if !more {
			return
		}
		p.rangeExtensions(message, once)
	}
}

// scope is a file or a message: what may declare extensions.
type scope interface {
	Extensions() protoreflect.ExtensionDescriptors
	Messages() protoreflect.MessageDescriptors
}

// rangeExtensions visits the extensions of a message that the plugin declares.
func (d *Description) rangeExtensions(message protoreflect.FullName, visit func(protoreflect.ExtensionType) bool) {
	d.files.RangeFiles(func(file protoreflect.FileDescriptor) bool { return rangeScope(file, message, visit) })
}

// rangeScope reports whether visit wants more.
func rangeScope(s scope, message protoreflect.FullName, visit func(protoreflect.ExtensionType) bool) bool {
	for i := range s.Extensions().Len() {
		x := s.Extensions().Get(i)
		if x.ContainingMessage().FullName() == message && !visit(dynamicpb.NewExtensionType(x)) {
			return false
		}
	}
	for i := range s.Messages().Len() {
		if !rangeScope(s.Messages().Get(i), message, visit) {
			return false
		}
	}
	return true
}
