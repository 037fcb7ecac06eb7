package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// inRepo leads from testdata to the root of the repository.
const inRepo = "../../../../"

func TestTheDocsOfTheConfigurationArePrintedFromTheTables(t *testing.T) {
	golden(t, inRepo+"docs/configuration.md", Reference())
}

// TestTheDocsOfEachPluginsConfigArePrintedFromItsDescriptor compares what
// stands between the markers of the plugins' READMEs.
func TestTheDocsOfEachPluginsConfigArePrintedFromItsDescriptor(t *testing.T) {
	plugins := os.DirFS("testdata/" + inRepo + "plugins")
	sets, err := fs.Glob(plugins, "*/descriptors.binpb")
	if err != nil || len(sets) == 0 {
		t.Fatalf("got descriptors %q and %v, want those of the shipped plugins", sets, err)
	}
	for _, path := range sets {
		content, err := fs.ReadFile(plugins, path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(filepath.Dir(path), "README.md")
		readme, err := fs.ReadFile(plugins, name)
		if err != nil {
			t.Fatal(err)
		}
		const begin, end = "<!-- config:begin -->\n", "<!-- config:end -->"
		before, rest, ok := strings.Cut(string(readme), begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no %q … %q", name, begin, end)
		}
		golden(t, inRepo+"plugins/"+name, before+begin+ConfigReference(configMessage(t, content))+end+after)
	}
}

// configMessage is the message named Config of a descriptor set.
func configMessage(t *testing.T, content []byte) protoreflect.MessageDescriptor {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(content, set); err != nil {
		t.Fatal(err)
	}
	files := new(protoregistry.Files)
	var found protoreflect.MessageDescriptor
	for _, file := range set.GetFile() {
		fd, err := protodesc.NewFile(file, imports{files})
		if err != nil {
			t.Fatal(err)
		}
		if err := files.RegisterFile(fd); err != nil {
			t.Fatal(err)
		}
		if md := fd.Messages().ByName("Config"); md != nil {
			found = md
		}
	}
	if found == nil {
		t.Fatal("no message Config")
	}
	return found
}

// imports are the files of a set, and those that are compiled in.
type imports struct{ *protoregistry.Files }

func (i imports) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if fd, err := i.Files.FindFileByPath(path); err == nil {
		return fd, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (i imports) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if d, err := i.Files.FindDescriptorByName(name); err == nil {
		return d, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

func TestAConfigMessageIsPrintedAsTables(t *testing.T) {
	golden(t, "everything.md", ConfigReference(everything(t)))
}

func TestAMessageWithoutFieldsHasNothingToSet(t *testing.T) {
	md := everything(t).ParentFile().Messages().ByName("Empty")
	if got := ConfigReference(md); got != "Nothing to set.\n" {
		t.Errorf("got %q", got)
	}
}

func TestFormatLaysAFileOut(t *testing.T) {
	got, report := Format([]byte("host{\n# why\nhttp=\"\"\n  data_dir =  \"d\"\n}\n"), "config.hcl")
	want := "host {\n  # why\n  http     = \"\"\n  data_dir = \"d\"\n}\n"
	if diff := cmp.Diff(want, string(got)); diff != "" || report.Len() > 0 {
		t.Errorf("file differs (-want +got):\n%s\n%s", diff, plain(t, report))
	}
	again, _ := Format(got, "config.hcl")
	if diff := cmp.Diff(want, string(again)); diff != "" {
		t.Errorf("formatting twice changes the file (-want +got):\n%s", diff)
	}
}

func TestFormatRefusesWhatIsNotHCL(t *testing.T) {
	got, report := Format([]byte("host {\n  http = \"\n}\n"), "config.hcl")
	if diff := cmp.Diff([]string{"Unclosed quote"}, summaries(report)); diff != "" || got != nil {
		t.Errorf("file %q, summaries (-want +got):\n%s", got, diff)
	}
}
