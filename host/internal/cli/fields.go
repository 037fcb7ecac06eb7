package cli

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/request"
)

// requestField is a field of a request as `gaia call` takes it.
type requestField struct {
	form      string // such as "headers.KEY=TEXT"
	comment   string
	sensitive bool
	fixed     bool // the form lists all values that it may have
}

// requestFields lists the fields of md and of the messages within, in the
// order of the .proto. A message within itself is JSON.
func requestFields(md protoreflect.MessageDescriptor) []requestField {
	return appendFields(nil, md, "", nil)
}

func appendFields(list []requestField, md protoreflect.MessageDescriptor, prefix string, within []protoreflect.FullName) []requestField {
	within = append(slices.Clone(within), md.FullName())
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		list = append(list, requestField{
			form:      prefix + argumentForm(fd),
			comment:   registry.Comment(fd),
			sensitive: request.Sensitive(fd),
			fixed:     hasFixedValues(fd),
		})
		if sub := fd.Message(); sub != nil && !fd.IsMap() && !fd.IsList() &&
			shortForm(sub) == "" && !slices.Contains(within, sub.FullName()) {
			list = appendFields(list, sub, prefix+string(fd.Name())+".", within)
		}
	}
	return list
}

// argumentForm is how fd is written on the command line.
func argumentForm(fd protoreflect.FieldDescriptor) string {
	switch name := string(fd.Name()); {
	case fd.IsMap():
		return name + ".KEY=" + valueForm(fd.MapValue())
	case fd.IsList():
		form := name + "=" + valueForm(fd)
		return form + " " + form + "..."
	default:
		return name + "=" + valueForm(fd)
	}
}

func valueForm(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if short := shortForm(fd.Message()); short != "" {
			return short
		}
		return "'{JSON}'"
	case protoreflect.EnumKind:
		return strings.Join(enumNames(fd.Enum()), "|")
	case protoreflect.StringKind:
		return "TEXT"
	case protoreflect.BytesKind:
		return "TEXT|@FILE"
	case protoreflect.BoolKind:
		return "true|false"
	default:
		if request.IsSize(fd) {
			return "1MiB"
		}
		return "NUMBER"
	}
}

func hasFixedValues(fd protoreflect.FieldDescriptor) bool {
	if fd.IsMap() {
		return false
	}
	kind := fd.Kind()
	return kind == protoreflect.EnumKind || kind == protoreflect.BoolKind ||
		fd.Message() != nil && fd.Message().FullName() == "google.protobuf.BoolValue"
}

// shortForm is how a well-known message is written; "" for all others.
func shortForm(md protoreflect.MessageDescriptor) string {
	switch md.FullName() {
	case "google.protobuf.Duration":
		return "5s"
	case "google.protobuf.Timestamp":
		return "2006-01-02T15:04:05Z"
	case "google.protobuf.BoolValue":
		return "true|false"
	case "google.protobuf.StringValue":
		return "TEXT"
	case "google.protobuf.BytesValue":
		return "TEXT|@FILE"
	case "google.protobuf.Int32Value", "google.protobuf.Int64Value", "google.protobuf.UInt32Value",
		"google.protobuf.UInt64Value", "google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		return "NUMBER"
	case "google.protobuf.FieldMask":
		return "FIELD,FIELD"
	case "google.protobuf.Struct", "google.protobuf.Any":
		return "'{JSON}'"
	case "google.protobuf.ListValue":
		return "'[JSON]'"
	case "google.protobuf.Value":
		return "JSON"
	default:
		return ""
	}
}

// enumNames leaves out a zero that only stands for "not set".
func enumNames(ed protoreflect.EnumDescriptor) []string {
	var names []string
	for i := range ed.Values().Len() {
		name := string(ed.Values().Get(i).Name())
		if ed.Values().Len() == 1 || !strings.HasSuffix(name, "UNSPECIFIED") {
			names = append(names, name)
		}
	}
	return names
}

// signature writes a method as a .proto does.
func signature(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("%s(%s%s) returns (%s%s)", m.Name(),
		streamed(m.IsStreamingClient()), m.Input().Name(), streamed(m.IsStreamingServer()), m.Output().Name())
}

func streamed(yes bool) string {
	if yes {
		return "stream "
	}
	return ""
}
