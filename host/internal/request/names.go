package request

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/nearest"
	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

// findField accepts the name of the .proto and the one of JSON.
func findField(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByName(protoreflect.Name(name)); fd != nil {
		return fd
	}
	return md.Fields().ByJSONName(name)
}

func unknownField(md protoreflect.MessageDescriptor, at place, name string) *Error {
	return &Error{
		Path:    at.path,
		Problem: fmt.Sprintf("%s has no field %q", md.FullName(), name),
		Hint:    fieldsHint(md, name),
	}
}

// fieldsHint names the field of md that is spelt most like name, and all of
// them.
func fieldsHint(md protoreflect.MessageDescriptor, name string) string {
	names := fieldNames(md)
	if len(names) == 0 {
		return fmt.Sprintf("%s has no fields", md.FullName())
	}
	all := "its fields are " + strings.Join(names, ", ")
	if best, ok := nearest.Name(name, names); ok {
		return fmt.Sprintf("did you mean %q? %s", best, all)
	}
	return all
}

func fieldNames(md protoreflect.MessageDescriptor) []string {
	names := make([]string, 0, md.Fields().Len())
	for i := range md.Fields().Len() {
		names = append(names, string(md.Fields().Get(i).Name()))
	}
	slices.Sort(names)
	return names
}

// Sensitive reports whether the values of fd are never to be printed.
func Sensitive(fd protoreflect.FieldDescriptor) bool {
	return options(fd).GetSensitive()
}

// IsSize reports whether fd counts bytes, and so is written like "64MiB".
func IsSize(fd protoreflect.FieldDescriptor) bool {
	return options(fd).GetUnit() == optionsv1.Unit_BYTES
}

func options(fd protoreflect.FieldDescriptor) *optionsv1.Field {
	o, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	return o
}

// reachable calls visit once for md and each message that its fields lead to, with the
// shortest way there in JSON, such as "spec.limits."; the nearest ones first.
func reachable(md protoreflect.MessageDescriptor, visit func(md protoreflect.MessageDescriptor, way string)) {
	type message struct {
		protoreflect.MessageDescriptor
		way string
	}
	seen := map[protoreflect.FullName]bool{md.FullName(): true}
	for queue := []message{{md, ""}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		visit(at.MessageDescriptor, at.way)
		for i := range at.Fields().Len() {
			fd := at.Fields().Get(i)
			sub, name := fd.Message(), fd.JSONName()
			if fd.IsMap() {
				sub, name = fd.MapValue().Message(), name+".KEY"
			}
			if sub != nil && !seen[sub.FullName()] {
				seen[sub.FullName()] = true
				queue = append(queue, message{sub, at.way + name + "."})
			}
		}
	}
}

// undescribed returns the type of fd if the plugin left it out of its
// descriptors; "" if it did not.
func undescribed(fd protoreflect.FieldDescriptor) protoreflect.FullName {
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	switch {
	case fd.Message() != nil && fd.Message().IsPlaceholder():
		return fd.Message().FullName()
	case fd.Enum() != nil && fd.Enum().IsPlaceholder():
		return fd.Enum().FullName()
	default:
		return ""
	}
}

// kindName says in words what a scalar field is.
func kindName(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return "a bool"
	case protoreflect.EnumKind:
		return "an enum"
	case protoreflect.StringKind:
		return "text"
	case protoreflect.BytesKind:
		return "bytes"
	default:
		return "a number"
	}
}
