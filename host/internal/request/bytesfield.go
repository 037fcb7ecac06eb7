package request

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MaxBytesDepth is how many messages deep BytesFields looks; the content of a field
// that lies deeper is written in JSON.
const MaxBytesDepth = 5

// maxBytesFields bounds what it finds, and so the choice that a person is given.
const maxBytesFields = 64

// BytesField is a field whose content can stand for itself: as the raw body of a
// request or of an answer, or in a file.
type BytesField struct {
	Path  string                         // by the names of the .proto, such as "request.body"
	JSON  string                         // by those of JSON
	Steps []protoreflect.FieldDescriptor // to the field, which is the last; never empty
}

// BytesFields finds those of a message that lie in no list or map, the ones of
// the message itself first.
func BytesFields(md protoreflect.MessageDescriptor) []BytesField {
	var found []BytesField
	level := []BytesField{{}} // messages to look into
	for depth := 0; depth < MaxBytesDepth && len(level) > 0 && len(found) < maxBytesFields; depth++ {
		var next []BytesField
		for _, at := range level {
			fields := md.Fields()
			if depth > 0 {
				fields = at.Steps[depth-1].Message().Fields()
			}
			for i := range fields.Len() {
				switch fd := fields.Get(i); {
				case fd.Cardinality() == protoreflect.Repeated:
				case fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Any": // a message, not content
				case fd.Kind() == protoreflect.BytesKind:
					found = append(found, at.enter(fd))
				case fd.Kind() == protoreflect.MessageKind && len(next) < maxBytesFields:
					next = append(next, at.enter(fd))
				}
			}
		}
		level = next
	}
	return found
}

func (f BytesField) enter(fd protoreflect.FieldDescriptor) BytesField {
	in := BytesField{Path: string(fd.Name()), JSON: fd.JSONName()}
	if f.Path != "" {
		in.Path, in.JSON = f.Path+"."+in.Path, f.JSON+"."+in.JSON
	}
	in.Steps = append(append(in.Steps, f.Steps...), fd)
	return in
}

// ChooseBytes returns the field that content is for: the one that is named, or the only
// one of the message itself, or the only one there is.
func ChooseBytes(fields []BytesField, name string) (*BytesField, bool) {
	if name != "" {
		for i := range fields {
			if fields[i].Path == name || fields[i].JSON == name {
				return &fields[i], true
			}
		}
		return nil, false
	}
	if len(fields) == 1 || len(fields) > 1 && len(fields[0].Steps) == 1 && len(fields[1].Steps) > 1 {
		return &fields[0], true
	}
	return nil, false
}

// BytesPaths lists the paths of fields for a person to choose from.
func BytesPaths(fields []BytesField) string {
	all := make([]string, len(fields))
	for i := range fields {
		all[i] = fields[i].Path
	}
	return strings.Join(all, ", ")
}

// AppendHead appends what is before n bytes of the field's content in a
// message that has nothing else. A message with something else may precede it:
// what is in both is merged.
func (f *BytesField) AppendHead(b []byte, n int) []byte {
	sizes := make([]int, len(f.Steps))
	for i := len(f.Steps) - 1; i >= 0; i-- {
		sizes[i] = n
		n += protowire.SizeTag(f.Steps[i].Number()) + protowire.SizeVarint(uint64(n)) //nolint:gosec // a length
	}
	for i, fd := range f.Steps {
		b = protowire.AppendTag(b, fd.Number(), protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(sizes[i])) //nolint:gosec // a length
	}
	return b
}

// Content finds the field in an encoded message; it aliases that. It is nil
// where the message does not have the field, or is none.
func (f *BytesField) Content(message []byte) (found []byte) {
	return contentAt(message, f.Steps, nil)
}

func contentAt(message []byte, steps []protoreflect.FieldDescriptor, last []byte) []byte {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return last
		}
		message = message[n:]
		if number != steps[0].Number() || kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return last
			}
			message = message[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return last
		}
		message = message[n:]
		if len(steps) > 1 {
			value = contentAt(value, steps[1:], last)
		}
		last = value
	}
	return last
}

// Taken returns the path of a field of m that cannot be there beside this one:
// itself, or another member of its oneof; "" if there is none.
func (f *BytesField) Taken(m protoreflect.Message) string {
	for i, fd := range f.Steps {
		if oneof := fd.ContainingOneof(); oneof != nil {
			if other := m.WhichOneof(oneof); other != nil && other.Number() != fd.Number() {
				return string(other.Name())
			}
		}
		if !m.Has(fd) {
			return ""
		}
		if i == len(f.Steps)-1 {
			return f.Path
		}
		m = m.Get(fd).Message()
	}
	return ""
}
