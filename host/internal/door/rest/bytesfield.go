package rest

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of the search for bytes fields: a field that lies deeper is written in
// JSON.
const (
	maxBytesDepth  = 5
	maxBytesFields = 64
)

// bytesField is a field whose content can be the body of a request or of an
// answer.
type bytesField struct {
	path  string // by the names of the .proto, such as "request.body"
	json  string // by those of JSON
	steps []protoreflect.FieldDescriptor
}

// bytesFields finds those of a message that lie in no list or map, the ones of
// the message itself first.
func bytesFields(md protoreflect.MessageDescriptor) []bytesField {
	var found []bytesField
	level := []bytesField{{}} // messages to look into
	for depth := 0; depth < maxBytesDepth && len(level) > 0 && len(found) < maxBytesFields; depth++ {
		var next []bytesField
		for _, at := range level {
			fields := md.Fields()
			if depth > 0 {
				fields = at.steps[depth-1].Message().Fields()
			}
			for i := range fields.Len() {
				switch fd := fields.Get(i); {
				case fd.Cardinality() == protoreflect.Repeated:
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

func (f bytesField) enter(fd protoreflect.FieldDescriptor) bytesField {
	in := bytesField{path: string(fd.Name()), json: fd.JSONName()}
	if f.path != "" {
		in.path, in.json = f.path+"."+in.path, f.json+"."+in.json
	}
	in.steps = append(append(in.steps, f.steps...), fd)
	return in
}

// choose returns the field that a body is: the one that is named, or the only
// one of the message itself, or the only one there is.
func choose(fields []bytesField, name string) (*bytesField, bool) {
	if name != "" {
		for i := range fields {
			if fields[i].path == name || fields[i].json == name {
				return &fields[i], true
			}
		}
		return nil, false
	}
	if len(fields) == 1 || len(fields) > 1 && len(fields[0].steps) == 1 && len(fields[1].steps) > 1 {
		return &fields[0], true
	}
	return nil, false
}

func paths(fields []bytesField) string {
	all := make([]string, len(fields))
	for i := range fields {
		all[i] = fields[i].path
	}
	return strings.Join(all, ", ")
}

// appendHead appends what is before n bytes of the field's content in a
// message that has nothing else. A message with something else may precede it:
// what is in both is merged.
func (f *bytesField) appendHead(b []byte, n int) []byte {
	sizes := make([]int, len(f.steps))
	for i := len(f.steps) - 1; i >= 0; i-- {
		sizes[i] = n
		n += protowire.SizeTag(f.steps[i].Number()) + protowire.SizeVarint(uint64(n)) //nolint:gosec // a length
	}
	for i, fd := range f.steps {
		b = protowire.AppendTag(b, fd.Number(), protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(sizes[i])) //nolint:gosec // a length
	}
	return b
}

// content finds the field in an encoded message; it aliases that. It is nil
// where the message does not have the field, or is none.
func (f *bytesField) content(message []byte) (found []byte) {
	return contentAt(message, f.steps, nil)
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

// taken returns the path of a field of m that cannot be there beside this one:
// itself, or another member of its oneof; "" if there is none.
func (f *bytesField) taken(m protoreflect.Message) string {
	for i, fd := range f.steps {
		if oneof := fd.ContainingOneof(); oneof != nil {
			if other := m.WhichOneof(oneof); other != nil && other.Number() != fd.Number() {
				return string(other.Name())
			}
		}
		if !m.Has(fd) {
			return ""
		}
		if i == len(f.steps)-1 {
			return f.path
		}
		m = m.Get(fd).Message()
	}
	return ""
}
