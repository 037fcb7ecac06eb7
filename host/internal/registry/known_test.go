package registry

import (
	"testing"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

func TestImportsThatEverybodyHasAreAdded(t *testing.T) {
	t.Parallel()
	file := protodesc.ToFileDescriptorProto(apiv1.File_gaia_api_v1_api_proto)
	given := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}}
	whole := withKnownImports(given)
	files, err := protodesc.NewFiles(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"gaia/options/v1/options.proto", "google/protobuf/duration.proto", "google/protobuf/descriptor.proto"} {
		if _, err := files.FindFileByPath(path); err != nil {
			t.Error(err)
		}
	}
	if len(given.GetFile()) != 1 {
		t.Error("what was given has changed")
	}
	if again := withKnownImports(whole); len(again.GetFile()) != len(whole.GetFile()) {
		t.Errorf("%d files become %d", len(whole.GetFile()), len(again.GetFile()))
	}
}
