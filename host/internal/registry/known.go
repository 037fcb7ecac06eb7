package registry

import (
	"slices"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	// What plugins import and may leave out of their descriptors.
	_ "google.golang.org/protobuf/types/known/anypb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

// newFiles builds descriptors, with the imports that the host knows where these
// do not clash with what the plugin defines itself.
func newFiles(set *descriptorpb.FileDescriptorSet) (*protoregistry.Files, error) {
	build := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles
	if files, err := build(withKnownImports(set)); err == nil {
		return files, nil
	}
	return build(set)
}

// withKnownImports adds the files that a plugin left out and everybody has,
// such as google/protobuf/duration.proto. What was given is not changed.
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
