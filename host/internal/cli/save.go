package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/request"
)

// answers is where the messages of an answer go.
type answers struct {
	// take is called with each message, in order.
	take func(*dynamicpb.Message) error

	// close is called once, with how the call ended, and returns how it has.
	close func(error) error
}

// answers prints an answer, or saves the content in it as --output says.
func (c *command) answers(m protoreflect.MethodDescriptor, types request.Resolver, o callOptions) (answers, error) {
	stream := m.IsStreamingClient() || m.IsStreamingServer()
	show := func(message *dynamicpb.Message) error {
		if !stream {
			return c.printMessage(message, types)
		}
		return c.printProtoJSON(message, protojson.MarshalOptions{Resolver: types}, false) // one line each
	}
	if o.output == "" {
		return answers{take: show, close: func(err error) error { return err }}, nil
	}
	path, err := contentField(m, o.field)
	if err != nil {
		return answers{}, err
	}
	to, done, err := c.outputFile(o.output)
	if err != nil {
		return answers{}, err
	}
	take := func(message *dynamicpb.Message) error {
		content := cut(message, path)
		c.progress.Received(len(content))
		if o.output == "-" {
			c.progress.Erase()
		}
		if _, err := to.Write(content); err != nil {
			return fmt.Errorf("--output: %w", err)
		}
		rest := false // of the message, to be shown
		message.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { rest = true; return false })
		if !rest || o.output == "-" {
			return nil
		}
		return show(message)
	}
	return answers{take: take, close: done}, nil
}

// outputFile opens what --output names. A regular file appears under its name when
// it is whole; until then, and after an error, it is NAME.part, and gone.
func (c *command) outputFile(name string) (io.Writer, func(error) error, error) {
	if name == "-" {
		return c.Stdout, func(err error) error { return err }, nil
	}
	part := name
	if info, err := os.Stat(name); err != nil || info.Mode().IsRegular() {
		part += ".part"
	}
	file, err := os.Create(part) //nolint:gosec // the user names the file
	if err != nil {
		return nil, nil, fmt.Errorf("--output: %w", err)
	}
	return file, func(err error) error {
		if closed := file.Close(); err == nil && closed != nil {
			err = fmt.Errorf("--output: %w", closed)
		}
		if part == name {
			return err
		}
		if err == nil {
			return os.Rename(part, name)
		}
		_ = os.Remove(part) // the call's error is the one to tell
		return err
	}, nil
}

// contentField finds the field of an answer that --output saves: the one that is
// named, or the only one of bytes in the message itself, or within it.
func contentField(m protoreflect.MethodDescriptor, name string) ([]protoreflect.FieldDescriptor, error) {
	found := bytesWithin(m.Output(), nil)
	var names []string
	var own [][]protoreflect.FieldDescriptor
	for _, path := range found {
		dotted := dotted(path)
		if dotted == name {
			return path, nil
		}
		names = append(names, dotted)
		if len(path) == 1 {
			own = append(own, path)
		}
	}
	switch {
	case name != "":
		return nil, usage("%s answers with no field %q of bytes", m.Name(), name).hint("it has %s", orNone(names))
	case len(own) == 1:
		return own[0], nil
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return nil, usage("%s answers with no bytes that could be saved", m.Name()).hint("without --output the answer is printed as JSON")
	default:
		return nil, usage("%s answers with several fields of bytes", m.Name()).hint("--field says which: %s", orNone(names))
	}
}

// maxContentDepth is how many messages content may lie within.
const maxContentDepth = 5

// bytesWithin lists the fields of bytes in md and in the messages within, but
// for those in lists and maps.
func bytesWithin(md protoreflect.MessageDescriptor, at []protoreflect.FieldDescriptor) [][]protoreflect.FieldDescriptor {
	var found [][]protoreflect.FieldDescriptor
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		path := append(slices.Clip(at), fd)
		switch {
		case fd.Cardinality() == protoreflect.Repeated || holds(at, fd.Message()):
		case fd.Kind() == protoreflect.BytesKind:
			found = append(found, path)
		case fd.Message() != nil && shortForm(fd.Message()) == "" && len(path) < maxContentDepth:
			found = append(found, bytesWithin(fd.Message(), path)...)
		}
	}
	return found
}

// holds reports whether a path leads through messages of type md.
func holds(path []protoreflect.FieldDescriptor, md protoreflect.MessageDescriptor) bool {
	return md != nil && slices.ContainsFunc(path, func(fd protoreflect.FieldDescriptor) bool {
		return fd.Message().FullName() == md.FullName()
	})
}

func dotted(path []protoreflect.FieldDescriptor) string {
	names := make([]string, len(path))
	for i, fd := range path {
		names[i] = string(fd.Name())
	}
	return strings.Join(names, ".")
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// cut takes a field out of a message and returns what it had; nil if it is not
// there.
func cut(message protoreflect.Message, path []protoreflect.FieldDescriptor) []byte {
	for _, fd := range path[:len(path)-1] {
		if !message.Has(fd) {
			return nil
		}
		message = message.Mutable(fd).Message()
	}
	last := path[len(path)-1]
	content := message.Get(last).Bytes()
	message.Clear(last)
	return content
}
