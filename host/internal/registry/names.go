package registry

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Spellings returns what the method may be called within its subsystem, the
// shortest first: "Do", "APIClientPool.Do", "gaia.api.v1.APIClientPool.Do".
func (m *Method) Spellings() []string {
	return []string{
		string(m.Descriptor.Name()),
		string(m.Descriptor.Parent().Name()) + "." + string(m.Descriptor.Name()),
		string(m.Descriptor.FullName()),
	}
}

// Kind says in words which sides of the method are streams.
func (m *Method) Kind() string {
	switch {
	case m.ClientStreams && m.ServerStreams:
		return "bidi stream"
	case m.ClientStreams:
		return "client stream"
	case m.ServerStreams:
		return "server stream"
	default:
		return "unary"
	}
}

// Named returns the methods that a caller may mean by name, one of Spellings
// with "/" allowed before the last part; nil when there is none.
func (d *Description) Named(name string) []*Method {
	wanted := strings.Replace(name, "/", ".", 1)
	var found []*Method
	for _, m := range d.methods {
		if slices.Contains(m.Spellings(), wanted) {
			found = append(found, m)
		}
	}
	return found
}

// Spellings returns what all methods may be called.
func (d *Description) Spellings() []string {
	var all []string
	for _, m := range d.methods {
		all = append(all, m.Spellings()...)
	}
	return all
}

// CallName is the shortest name of m, one of the description's methods, that
// means no other one.
func (d *Description) CallName(m *Method) string {
	names := m.Spellings()
	for _, name := range names {
		if len(d.Named(name)) == 1 {
			return name
		}
	}
	return names[len(names)-1]
}

// Comment returns what the .proto says before d, or behind it; "" when the
// plugin was built without comments.
func Comment(d protoreflect.Descriptor) string {
	location := d.ParentFile().SourceLocations().ByDescriptor(d)
	text := location.LeadingComments
	if text == "" {
		text = location.TrailingComments
	}
	lines := strings.Split(strings.TrimRight(text, " \n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, " ")
	}
	return strings.Join(lines, "\n")
}

// Sentence returns the first sentence of a comment, in one line.
func Sentence(comment string) string {
	text := strings.Join(strings.Fields(comment), " ")
	if first, _, ok := strings.Cut(text, ". "); ok {
		return first + "."
	}
	return text
}
