package registry

import (
	"errors"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Types finds message and extension types by name, for messages of a plugin in
// JSON: those of the plugin first, and what the host was built with after that.
// Safe for concurrent use.
type Types struct{ plugin *dynamicpb.Types }

// Types finds the types of the plugin's messages.
func (d *Description) Types() Types { return Types{d.types} }

// FindMessageByName implements protoregistry.MessageTypeResolver.
func (t Types) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	return first(
		func() (protoreflect.MessageType, error) { return t.plugin.FindMessageByName(name) },
		func() (protoreflect.MessageType, error) { return protoregistry.GlobalTypes.FindMessageByName(name) })
}

// FindMessageByURL returns the type of a google.protobuf.Any.
func (t Types) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return first(
		func() (protoreflect.MessageType, error) { return t.plugin.FindMessageByURL(url) },
		func() (protoreflect.MessageType, error) { return protoregistry.GlobalTypes.FindMessageByURL(url) })
}

// FindExtensionByName returns the extension that JSON calls "[name]".
func (t Types) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return first(
		func() (protoreflect.ExtensionType, error) { return t.plugin.FindExtensionByName(name) },
		func() (protoreflect.ExtensionType, error) { return protoregistry.GlobalTypes.FindExtensionByName(name) })
}

// FindExtensionByNumber returns the extension with a number on the wire.
func (t Types) FindExtensionByNumber(message protoreflect.FullName, n protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return first(
		func() (protoreflect.ExtensionType, error) { return t.plugin.FindExtensionByNumber(message, n) },
		func() (protoreflect.ExtensionType, error) {
			return protoregistry.GlobalTypes.FindExtensionByNumber(message, n)
		})
}

// first asks the second only when the first does not know.
func first[T any](one, two func() (T, error)) (T, error) {
	found, err := one()
	if errors.Is(err, protoregistry.NotFound) {
		return two()
	}
	return found, err
}
