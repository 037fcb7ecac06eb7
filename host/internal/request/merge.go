package request

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Merge adds to m what more has, another message of its type. A value that
// both have is an error, of type *Error: one of them would be dropped silently.
func Merge(m, more protoreflect.Message) error {
	if err := disjoint(m, more, place{}); err != nil {
		return err
	}
	proto.Merge(m.Interface(), more.Interface())
	return nil
}

func disjoint(m, more protoreflect.Message, at place) (err error) {
	more.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := at.enter(string(fd.Name()), fd)
		switch {
		case fd.ContainingOneof() != nil && !m.Has(fd):
			err = excluded(m, fd, at)
		case !m.Has(fd):
		case fd.IsMap():
			err = disjointEntries(m.Get(fd).Map(), v.Map(), at)
		case fd.Message() != nil && !fd.IsList():
			err = disjoint(m.Get(fd).Message(), v.Message(), at)
		default:
			err = at.errorf("is given twice, in two ways, and takes one")
		}
		return err == nil
	})
	return err
}

func disjointEntries(entries, more protoreflect.Map, at place) (err error) {
	more.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		if entries.Has(k) {
			err = at.entry(k.String()).errorf("is given twice, in two ways, and takes one")
		}
		return err == nil
	})
	return err
}
