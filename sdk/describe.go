package sdk

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// descriptorSet collects the files of the services, of the config
// message and of all they import, dependencies first. Files that a Describer
// brings stand in for those compiled in.
func descriptorSet(services []service, c *configurer) (*descriptorpb.FileDescriptorSet, error) {
	better, err := describedFiles(services)
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] || f.IsPlaceholder() {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		file, ok := better[f.Path()]
		if !ok {
			file = protodesc.ToFileDescriptorProto(f)
		}
		set.File = append(set.File, file)
	}
	for _, s := range services {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.desc.ServiceName))
		if err != nil {
			return nil, fmt.Errorf("service %s has no descriptor in this program: %w", s.desc.ServiceName, err)
		}
		add(d.ParentFile())
	}
	if c != nil {
		add(c.message.ProtoReflect().Descriptor().ParentFile())
	}
	return set, nil
}

// describedFiles are the files that Describers bring, by path.
func describedFiles(services []service) (map[string]*descriptorpb.FileDescriptorProto, error) {
	files := make(map[string]*descriptorpb.FileDescriptorProto)
	for _, s := range services {
		d, ok := s.impl.(Describer)
		if !ok {
			continue
		}
		set := &descriptorpb.FileDescriptorSet{}
		if err := proto.Unmarshal(d.Descriptors(), set); err != nil {
			return nil, fmt.Errorf("%T.Descriptors is not a FileDescriptorSet: %w", s.impl, err)
		}
		for _, f := range set.GetFile() {
			files[f.GetName()] = f
		}
	}
	return files, nil
}
