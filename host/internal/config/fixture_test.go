package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

var update = flag.Bool("update", false, "rewrite golden files")

// everything returns the message of testdata/everything.textproto, built as a
// plugin's descriptors are: not from generated code.
func everything(tb testing.TB) protoreflect.MessageDescriptor {
	tb.Helper()
	return firstMessage(tb, readEverything(tb))
}

func readEverything(tb testing.TB) *descriptorpb.FileDescriptorProto {
	tb.Helper()
	text, err := os.ReadFile("testdata/everything.textproto")
	if err != nil {
		tb.Fatal(err)
	}
	file := &descriptorpb.FileDescriptorProto{}
	if err := prototext.Unmarshal(text, file); err != nil {
		tb.Fatal(err)
	}
	return file
}

// firstMessage returns the first message of a file.
func firstMessage(tb testing.TB, file *descriptorpb.FileDescriptorProto) protoreflect.MessageDescriptor {
	tb.Helper()
	fd, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		tb.Fatal(err)
	}
	return fd.Messages().Get(0)
}

// describing returns a DescribeFunc that answers md for every subsystem.
func describing(md protoreflect.MessageDescriptor) DescribeFunc {
	return func(_ Host, _ *Subsystem) (protoreflect.MessageDescriptor, error) { return md, nil }
}

// loadText loads text as the config.hcl of an empty directory.
func loadText(tb testing.TB, text string, describe DescribeFunc) (*Config, *Report) {
	tb.Helper()
	src := newSource("config.hcl", []byte(text))
	src.path = filepath.Join("/etc/gaia", "config.hcl")
	return load(src, describe)
}

// subsystemWith loads a config whose only subsystem has the given lines in its
// config block.
func subsystemWith(tb testing.TB, config string) *Subsystem {
	tb.Helper()
	c, report := loadText(tb, "subsystem \"s\" {\n  plugin = \"p\"\n  config {\n"+config+"\n  }\n}\n", nil)
	if report.Len() > 0 {
		tb.Fatalf("config does not load:\n%s", plain(tb, report))
	}
	return &c.Subsystems[0]
}

// plain returns the report as WriteText prints it.
func plain(tb testing.TB, r *Report) string {
	tb.Helper()
	var out strings.Builder
	if err := r.WriteText(&out, false); err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

// summaries returns the summaries in order.
func summaries(r *Report) []string {
	var all []string
	for _, d := range diagnostics(r) {
		all = append(all, d.Summary)
	}
	return all
}

func diagnostics(r *Report) []Diagnostic {
	list, _ := r.JSON().([]Diagnostic)
	return list
}

// golden compares got with a file of testdata, or rewrites it with -update.
func golden(tb testing.TB, name, got string) {
	tb.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			tb.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		tb.Errorf("%s differs (-want +got); run with -update if that is right:\n%s", path, diff)
	}
}
