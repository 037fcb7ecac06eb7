package cli

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/request"
)

// configForm writes md as a config{} block with an example of each field,
// comments included. A message within itself is left to the reader.
func configForm(md protoreflect.MessageDescriptor) string {
	var b strings.Builder
	writeBlock(&b, "config {", md, "", nil)
	return b.String()
}

func writeBlock(b *strings.Builder, head string, md protoreflect.MessageDescriptor, indent string, within []protoreflect.FullName) {
	fmt.Fprintf(b, "%s%s\n", indent, head)
	if slices.Contains(within, md.FullName()) {
		fmt.Fprintf(b, "%s  # as above\n%s}\n", indent, indent)
		return
	}
	within = append(slices.Clone(within), md.FullName())
	inner := indent + "  "
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if i > 0 {
			b.WriteString("\n")
		}
		if text := registry.Comment(fd); text != "" {
			fmt.Fprintln(b, indented(text, inner+"# "))
		}
		if request.Sensitive(fd) {
			fmt.Fprintf(b, "%s# Sensitive: env(\"NAME\") keeps it out of the file.\n", inner)
		}
		switch {
		case !isBlock(fd):
			fmt.Fprintf(b, "%s%s = %s\n", inner, fd.Name(), configValue(fd))
		case fd.IsMap():
			writeBlock(b, fmt.Sprintf("%s \"KEY\" {", fd.Name()), fd.MapValue().Message(), inner, within)
		default:
			writeBlock(b, string(fd.Name())+" {", fd.Message(), inner, within)
		}
	}
	fmt.Fprintf(b, "%s}\n", indent)
}

// isBlock reports whether config.hcl writes a field as a block.
func isBlock(fd protoreflect.FieldDescriptor) bool {
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	return fd.Message() != nil && configMessage(fd.Message()) == ""
}

// configValue is an example of an argument.
func configValue(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.IsMap():
		return "{ KEY = " + scalarValue(fd.MapValue()) + " }"
	case fd.IsList():
		return "[" + scalarValue(fd) + "]"
	default:
		return scalarValue(fd)
	}
}

func scalarValue(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return configMessage(fd.Message())
	case protoreflect.EnumKind:
		return `"` + strings.ToLower(strings.Join(enumNames(fd.Enum()), "|")) + `"`
	case protoreflect.StringKind:
		return `"TEXT"`
	case protoreflect.BytesKind:
		return `"BASE64"`
	case protoreflect.BoolKind:
		return "true"
	default:
		if request.IsSize(fd) {
			return `"1MiB"`
		}
		return "1"
	}
}

// configMessage is an example of a message that is written as one value; ""
// for one that is a block.
func configMessage(md protoreflect.MessageDescriptor) string {
	switch md.FullName() {
	case "google.protobuf.Duration":
		return `"5s"`
	case "gaia.options.v1.Rate":
		return `"10/s"`
	case "google.protobuf.Struct":
		return "{ KEY = VALUE }"
	case "google.protobuf.ListValue":
		return "[VALUE]"
	case "google.protobuf.Value":
		return "VALUE"
	default:
		return ""
	}
}
