package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestTheReferenceOfTheServicesIsPrintedFromTheirDescriptors compares docs/api with
// the descriptors that each plugin gives to the host. With -update it writes them.
func TestTheReferenceOfTheServicesIsPrintedFromTheirDescriptors(t *testing.T) {
	sets, err := filepath.Glob(filepath.Join(repository, "plugins/*/descriptors.binpb"))
	if err != nil || len(sets) == 0 {
		t.Fatalf("got descriptors %q and %v, want those of the shipped plugins", sets, err)
	}
	for _, path := range sets {
		plugin := filepath.Base(filepath.Dir(path))
		page := filepath.Join(repository, "docs/api", plugin+".md")
		want := printReference(t, plugin, services(t, path))
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if readText(t, page) != want {
			t.Errorf("docs/api/%s.md is not what the descriptors say: make generate", plugin)
		}
	}
}

// services of a set of descriptors.
func services(t *testing.T, path string) []protoreflect.ServiceDescriptor {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal([]byte(readText(t, path)), set); err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for _, f := range set.GetFile() {
		own[f.GetName()] = true
	}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !own[f.Path()] { // what the set imports
			set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
		}
		return true
	})
	files, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	var found []protoreflect.ServiceDescriptor
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			if own[f.Path()] {
				found = append(found, f.Services().Get(i))
			}
		}
		return true
	})
	slices.SortFunc(found, func(a, b protoreflect.ServiceDescriptor) int { return cmp.Compare(a.FullName(), b.FullName()) })
	return found
}

// reference is a page that is being written.
type reference struct {
	strings.Builder

	types []protoreflect.Descriptor // messages and enums to describe, in order
}

func (r *reference) print(format string, args ...any) {
	_, _ = fmt.Fprintf(&r.Builder, format, args...) // to memory
}

func printReference(t *testing.T, plugin string, services []protoreflect.ServiceDescriptor) string {
	t.Helper()
	r := &reference{}
	r.print("# The API of gaia-%s\n\n<!-- Printed from descriptors.binpb; a test in host/cmd/gaia compares it. Do not edit. -->\n\n", plugin)
	r.print("Called as `gaia call SUBSYSTEM.METHOD field=value`, `POST /v1/SUBSYSTEM/METHOD`, or by gRPC. What the plugin is, and its config:\n"+
		"[README](../../plugins/%s/README.md). Fields are named as in the .proto; JSON takes `camelCase`, too.\n", plugin)
	for _, s := range services {
		r.print("\n## %s\n\n`%s`. %s\n", s.Name(), s.FullName(), said(s))
		for i := range s.Methods().Len() {
			r.method(s.Methods().Get(i))
		}
	}
	r.print("\n## Messages\n")
	for i := 0; i < len(r.types); i++ { // which grows
		switch d := r.types[i].(type) {
		case protoreflect.MessageDescriptor:
			r.print("\n### %s\n\n%s\n\n", d.Name(), said(d))
			r.fields(d)
		case protoreflect.EnumDescriptor:
			r.enum(d)
		}
	}
	return r.String()
}

func (r *reference) method(m protoreflect.MethodDescriptor) {
	r.print("\n### %s\n\n%s\n\n`%s(%s%s) → %s%s`%s\n\n", m.Name(), said(m),
		m.Name(), streamOf(m.IsStreamingClient()), m.Input().Name(), streamOf(m.IsStreamingServer()), m.Output().Name(), facts(m))
	r.fields(m.Input())
	r.note(m.Output())
}

func streamOf(yes bool) string {
	if yes {
		return "stream of "
	}
	return ""
}

// facts are what a method's options tell the host.
func facts(m protoreflect.MethodDescriptor) string {
	text := ""
	options, _ := m.Options().(*descriptorpb.MethodOptions)
	call, _ := proto.GetExtension(options, optionsv1.E_Call).(*optionsv1.Call)
	for _, key := range call.GetKey() {
		text += fmt.Sprintf(", key `%s`", key.GetName())
	}
	switch {
	case options.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN:
		text += ", repeated if its instance is lost"
	case len(call.GetIdempotentIf()) > 0:
		text += ", repeated if its instance is lost where the request allows it"
	}
	return text
}

func (r *reference) fields(md protoreflect.MessageDescriptor) {
	if md.Fields().Len() == 0 {
		r.print("No fields.\n")
		return
	}
	r.print("| field | type | meaning |\n| --- | --- | --- |\n")
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		r.print("| `%s` | %s | %s |\n", fd.Name(), r.kind(fd), strings.ReplaceAll(said(fd), "|", "\\|"))
	}
}

// kind of a field, with what it counts.
func (r *reference) kind(fd protoreflect.FieldDescriptor) string {
	text := fd.Kind().String()
	switch {
	case fd.IsMap():
		return fmt.Sprintf("map of %s to %s", fd.MapKey().Kind(), r.kind(fd.MapValue()))
	case fd.Enum() != nil:
		text = r.note(fd.Enum())
	case fd.Message() != nil:
		text = r.note(fd.Message())
	}
	if fd.IsList() {
		text = "list of " + text
	}
	if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
		text += ", one of `" + string(o.Name()) + "`"
	}
	option, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	if option.GetUnit() == optionsv1.Unit_BYTES {
		text += ", a size"
	}
	if option.GetSensitive() {
		text += ", never printed"
	}
	return text
}

// note describes a type further down, once, and returns what it is called.
func (r *reference) note(d protoreflect.Descriptor) string {
	name := string(d.Name())
	if d.FullName().Parent() == "google.protobuf" || d.IsPlaceholder() {
		return name
	}
	if !slices.ContainsFunc(r.types, func(known protoreflect.Descriptor) bool { return known.FullName() == d.FullName() }) {
		r.types = append(r.types, d)
	}
	return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
}

func (r *reference) enum(d protoreflect.EnumDescriptor) {
	r.print("\n### %s\n\n%s\n\n| value | meaning |\n| --- | --- |\n", d.Name(), said(d))
	for i := range d.Values().Len() {
		r.print("| `%s` | %s |\n", d.Values().Get(i).Name(), said(d.Values().Get(i)))
	}
}

// said is the comment of a declaration on one line.
func said(d protoreflect.Descriptor) string {
	location := d.ParentFile().SourceLocations().ByDescriptor(d)
	text := strings.Join(strings.Fields(cmp.Or(location.LeadingComments, location.TrailingComments)), " ")
	return strings.NewReplacer("<", "&lt;", "*", `\*`).Replace(text)
}
