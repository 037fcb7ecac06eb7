package config

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

// fieldOptions returns what (gaia.options.v1.field) says of fd; nil when it
// says nothing. A plugin's descriptors may hold the option as our own type, as
// a dynamic one or as bytes that nobody knew; on the wire all are the same.
func fieldOptions(fd protoreflect.FieldDescriptor) *optionsv1.Field {
	wire, err := proto.Marshal(fd.Options())
	if err != nil || len(wire) == 0 {
		return nil
	}
	var options descriptorpb.FieldOptions
	if proto.Unmarshal(wire, &options) != nil {
		return nil
	}
	field, _ := proto.GetExtension(&options, optionsv1.E_Field).(*optionsv1.Field)
	return field
}

// comment returns the comment before the declaration of d on one line; ""
// when the plugin was built without comments.
func comment(d protoreflect.Descriptor) string {
	return strings.Join(strings.Fields(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments), " ")
}

// kindWords says what a map key is.
func kindWords(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return "text"
	case protoreflect.BoolKind:
		return "true or false"
	default:
		low, high := integerBounds(fd.Kind())
		return fmt.Sprintf("a whole number from %v to %v", low, high)
	}
}

// inWords joins names for a sentence.
func inWords(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

func quoted(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, fmt.Sprintf("%q", name))
	}
	return all
}
