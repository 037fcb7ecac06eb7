// Package request builds the request message of a call from what a user typed:
// field=value arguments or JSON. It knows messages by their descriptors only.
package request

import (
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// maxDepth is how many messages a field's path may lead through. Requests that
// people type need five; the bound keeps recursive messages from growing
// beyond what protobuf decodes.
const maxDepth = 100

// Resolver finds the types that google.protobuf.Any and extensions name in
// JSON.
type Resolver interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

// Parser turns arguments into messages. It holds no state between calls.
type Parser struct {
	// Types resolves what JSON values name. Required.
	Types Resolver

	// ReadFile returns the content for field=@file. Where it is nil, as for who
	// is on another machine, @ is a character like any other.
	ReadFile func(name string) ([]byte, error)

	// Stdin is what field=@- reads to its end. Required with ReadFile.
	Stdin io.Reader
}

// Error is one fault of an argument. It never shows the value of a field that
// is declared sensitive.
type Error struct {
	// Path of the field as the user wrote it; "" for the request as a whole.
	Path string

	// Problem says what is wrong and what is allowed.
	Problem string

	// Hint names the nearest right spelling and the alternatives; "" when
	// there are none to name.
	Hint string

	cause error // why a file or standard input could not be read; may be nil
}

// Error returns the path and the problem, without the hint.
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Problem
	}
	return e.Path + ": " + e.Problem
}

// Parse returns the message of type md that args describe; without args it is
// empty. Errors are of type *Error and concern the first fault.
//
// An argument is path=value. A path is the names of fields joined by dots;
// behind the name of a map everything up to the "=" is the key. A repeated
// field is given once per element. Text and bytes are taken as they are; @file
// and @- stand for the content of a file or of standard input, and @@ for one
// literal @. Messages are written as JSON, durations like 5s, timestamps as in
// RFC 3339, sizes like 64MiB, enums by name in any case.
func (p Parser) Parse(md protoreflect.MessageDescriptor, args []string) (*dynamicpb.Message, error) {
	m := dynamicpb.NewMessage(md)
	b := builder{Parser: p, given: make(map[string]bool)}
	for _, arg := range args {
		path, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, &Error{
				Problem: fmt.Sprintf("argument %q is not field=value", arg),
				Hint:    fieldsHint(md, arg),
			}
		}
		if err := b.set(m, place{}, path, value); err != nil {
			return nil, err
		}
	}
	if err := proto.CheckInitialized(m); err != nil {
		return nil, &Error{Problem: withoutPrefix(err)}
	}
	return m, nil
}

// Unwrap returns why a file or standard input could not be read, if that is
// what is wrong.
func (e *Error) Unwrap() error { return e.cause }

// builder is the state of one Parse.
type builder struct {
	Parser

	given   map[string]bool // paths that were assigned, by the names of the .proto
	stdinBy string          // path that has read standard input; "" for none
}

// place is the field that an argument points at.
type place struct {
	path      string // as the user wrote it
	canonical string // by the names of the .proto
	sensitive bool   // the field or one that it lies in is declared so
	depth     int
}

func (at place) enter(name string, fd protoreflect.FieldDescriptor) place {
	return place{
		path:      join(at.path, name),
		canonical: join(at.canonical, string(fd.Name())),
		sensitive: at.sensitive || Sensitive(fd),
		depth:     at.depth + 1,
	}
}

func (at place) entry(key string) place {
	at.path = join(at.path, key)
	at.canonical = join(at.canonical, key)
	return at
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (at place) errorf(format string, args ...any) *Error {
	return &Error{Path: at.path, Problem: fmt.Sprintf(format, args...)}
}

// refuse says that value is not what the field takes.
func (at place) refuse(value, want string) *Error {
	if at.sensitive {
		return at.errorf("the value is not %s", want)
	}
	return at.errorf("%q is not %s", value, want)
}

// set assigns value to the field of m that path leads to.
func (b *builder) set(m protoreflect.Message, at place, path, value string) error {
	name, rest, nested := strings.Cut(path, ".")
	md := m.Descriptor()
	fd := findField(md, name)
	if fd == nil {
		return unknownField(md, at, name)
	}
	at = at.enter(name, fd)
	if at.depth > maxDepth {
		return at.errorf("lies more than %d messages deep", maxDepth)
	}
	if err := excluded(m, fd, at); err != nil {
		return err
	}
	if missing := undescribed(fd); missing != "" {
		return at.errorf("is a %s, which the plugin does not describe", missing)
	}
	switch {
	case fd.IsMap():
		return b.setEntry(m.Mutable(fd).Map(), fd, at, rest, value)
	case fd.IsList():
		return b.appendElement(m.Mutable(fd).List(), fd, at, nested, value)
	case fd.Message() == nil && nested:
		return at.errorf("is %s and has no field %q", kindName(fd), rest)
	case fd.Message() == nil:
		return b.setScalar(m, fd, at, value)
	case nested:
		return b.set(m.Mutable(fd).Message(), at, rest, value)
	default:
		return b.mergeMessage(m, fd, at, value)
	}
}

func (b *builder) setScalar(m protoreflect.Message, fd protoreflect.FieldDescriptor, at place, value string) error {
	if err := b.once(at); err != nil {
		return err
	}
	v, err := b.scalar(fd, at, value)
	if err != nil {
		return err
	}
	m.Set(fd, v)
	return nil
}

// mergeMessage merges: a message may be given as JSON and completed by paths
// that lead into it.
func (b *builder) mergeMessage(m protoreflect.Message, fd protoreflect.FieldDescriptor, at place, value string) error {
	if err := b.once(at); err != nil {
		return err
	}
	part := m.NewField(fd)
	if err := b.message(part.Message(), at, value); err != nil {
		return err
	}
	if !m.Has(fd) {
		m.Set(fd, part)
		return nil
	}
	proto.Merge(m.Mutable(fd).Message().Interface(), part.Message().Interface())
	return nil
}

func (b *builder) setEntry(entries protoreflect.Map, fd protoreflect.FieldDescriptor, at place, key, value string) error {
	if key == "" {
		err := at.errorf("is a map and wants a key")
		err.Hint = fmt.Sprintf("write it as %s.KEY=VALUE", at.path)
		return err
	}
	keyAt := at.entry(key)
	k, err := b.scalar(fd.MapKey(), place{path: keyAt.path + " (key)"}, b.literal(key))
	if err != nil {
		return err
	}
	if err := b.once(keyAt); err != nil {
		return err
	}
	v := entries.NewValue()
	if fd.MapValue().Message() != nil {
		err = b.message(v.Message(), keyAt, value)
	} else {
		v, err = b.scalar(fd.MapValue(), keyAt, value)
	}
	if err != nil {
		return err
	}
	entries.Set(k.MapKey(), v)
	return nil
}

// literal keeps a key that starts with @ from being read as a file's name.
func (b *builder) literal(key string) string {
	if b.ReadFile != nil && strings.HasPrefix(key, "@") {
		return "@" + key
	}
	return key
}

func (b *builder) appendElement(list protoreflect.List, fd protoreflect.FieldDescriptor, at place, nested bool, value string) error {
	if nested {
		err := at.errorf("is repeated; a path cannot lead into one element")
		if fd.Message() != nil {
			err.Hint = fmt.Sprintf("give each element as JSON: %s='{…}'", at.path)
		}
		return err
	}
	v := list.NewElement()
	var err error
	if fd.Message() != nil {
		err = b.message(v.Message(), at, value)
	} else {
		v, err = b.scalar(fd, at, value)
	}
	if err != nil {
		return err
	}
	list.Append(v)
	return nil
}

func (b *builder) once(at place) error {
	if b.given[at.canonical] {
		return at.errorf("is given twice and takes one value")
	}
	b.given[at.canonical] = true
	return nil
}

// excluded refuses a second member of a oneof: protobuf would drop the first
// one silently.
func excluded(m protoreflect.Message, fd protoreflect.FieldDescriptor, at place) error {
	oneof := fd.ContainingOneof()
	if oneof == nil {
		return nil
	}
	other := m.WhichOneof(oneof)
	if other == nil || other.Number() == fd.Number() {
		return nil
	}
	return at.errorf("cannot be given beside %s: at most one of the fields of oneof %s is allowed", other.Name(), oneof.Name())
}
