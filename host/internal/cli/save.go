package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"

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

// contentField finds the field of an answer that --output saves.
func contentField(m protoreflect.MethodDescriptor, name string) ([]protoreflect.FieldDescriptor, error) {
	fields := request.BytesFields(m.Output())
	field, ok := request.ChooseBytes(fields, name)
	switch {
	case ok:
		return field.Steps, nil
	case name != "":
		return nil, usage("%s answers with no field %q of bytes", m.Name(), name).hint("it has %s", cmp.Or(request.BytesPaths(fields), "none"))
	case len(fields) == 0:
		return nil, usage("%s answers with no bytes that could be saved", m.Name()).hint("without --output the answer is printed as JSON")
	default:
		return nil, usage("%s answers with several fields of bytes", m.Name()).hint("--field says which: %s", request.BytesPaths(fields))
	}
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
