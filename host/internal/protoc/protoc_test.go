package protoc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

// folder is a plugin's, with files in proto.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, Folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFaultsOfAProtoAreAllToldWithTheirPlaces(t *testing.T) {
	dir := folder(t, map[string]string{"a/v1/a.proto": `syntax = "proto3";
package a.v1;
message A {
  string name = 1;
  string other = 1;
}
`, "b/v1/b.proto": "syntax = \"proto3\"\n", "d/v1/d.proto": `syntax = "proto3";
message D { Strin name = 1; }
`})
	_, err := Generate(t.Context(), dir)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		filepath.Join(dir, "proto/a/v1/a.proto") + ":5:18: message a.v1.A: fields name and other both have the same tag 1",
		filepath.Join(dir, "proto/b/v1/b.proto") + ":2:1: syntax error",
		filepath.Join(dir, "proto/d/v1/d.proto") + ":2:13: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, Descriptors)); err == nil {
		t.Error("descriptors were written all the same")
	}
}

func TestDescriptorsHaveCommentsAndAllImports(t *testing.T) {
	dir := folder(t, map[string]string{"a/v1/a.proto": `syntax = "proto3";
package a.v1;
import "buf/validate/validate.proto";
import "gaia/options/v1/options.proto";
import "google/protobuf/empty.proto";
import "a/v1/b.proto";
// A is documented.
service A {
  rpc Do(B) returns (google.protobuf.Empty) { option (gaia.options.v1.call) = {non_blocking: true}; }
}
`, "a/v1/b.proto": `syntax = "proto3";
package a.v1;
import "buf/validate/validate.proto";
message B { string name = 1 [(buf.validate.field).string.max_len = 4]; }
`})
	written, err := Generate(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(written) != 1 || written[0] != Descriptors {
		t.Errorf("written: got %q, want descriptors alone, for there is no go.mod", written)
	}
	raw, err := os.ReadFile(filepath.Join(dir, Descriptors))
	if err != nil {
		t.Fatal(err)
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(raw, set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(set) // it fails where an import is missing
	if err != nil {
		t.Fatal(err)
	}
	service, err := files.FindDescriptorByName("a.v1.A")
	if err != nil {
		t.Fatal(err)
	}
	if got := service.ParentFile().SourceLocations().ByDescriptor(service).LeadingComments; got != " A is documented.\n" {
		t.Errorf("comment of the service: %q", got)
	}
}

func TestOfAFileThatIsNoTextTheFirstFaultsAreTold(t *testing.T) {
	dir := folder(t, map[string]string{"a.proto": strings.Repeat("\x01\xff", 4096)})
	_, err := Generate(t.Context(), dir)
	if err == nil {
		t.Fatal("no error")
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != maxFaults+1 || !strings.HasSuffix(lines[maxFaults], "more faults") {
		t.Errorf("got %d lines, the last %q; want %d and how many more", len(lines), lines[len(lines)-1], maxFaults)
	}
}

func TestAModuleWithoutTheGeneratorsIsToldHowToGetThem(t *testing.T) {
	dir := folder(t, map[string]string{"a.proto": "syntax = \"proto3\";\n"})
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module a\n\ngo 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "go get -tool google.golang.org/protobuf/cmd/protoc-gen-go"
	if _, err := Generate(t.Context(), dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAnImportThatIsNotThereIsAFaultOfTheProto(t *testing.T) {
	dir := folder(t, map[string]string{"a.proto": "syntax = \"proto3\";\nimport \"no/such.proto\";\n"})
	want := filepath.Join(dir, "proto/a.proto") + `:2:8: could not resolve path "no/such.proto"`
	if _, err := Generate(t.Context(), dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAFolderWithoutProtosIsAnError(t *testing.T) {
	for _, dir := range []string{t.TempDir(), folder(t, map[string]string{"README": ""})} {
		if _, err := Generate(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "proto") {
			t.Errorf("got %v, want an error about proto", err)
		}
	}
}

func TestAnInvalidUseOfAnOptionIsAFaultOfTheProto(t *testing.T) {
	dir := folder(t, map[string]string{"a.proto": `syntax = "proto3";
import "buf/validate/validate.proto";
message A { string name = 1 [(buf.validate.field).string.max_leng = 4]; }
`})
	_, err := Generate(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "a.proto:3:") {
		t.Errorf("got %v, want a fault in line 3", err)
	}
}
