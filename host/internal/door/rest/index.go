package rest

import (
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/request"
)

// indexed is what GET /v1 says.
type indexed struct {
	Version    string             `json:"version"` // of the host
	OpenAPI    string             `json:"openapi"`
	Subsystems []indexedSubsystem `json:"subsystems"`
}

// indexedSubsystem is what is known of a subsystem.
type indexedSubsystem struct {
	Name     string          `json:"name"`
	Plugin   string          `json:"plugin"`
	Version  string          `json:"version,omitempty"` // of the plugin
	State    string          `json:"state"`
	Reason   string          `json:"reason,omitempty"`
	Path     string          `json:"path"`
	Services []string        `json:"services"`
	Methods  []indexedMethod `json:"methods"`
}

// indexedMethod is a method in a list.
type indexedMethod struct {
	Name    string `json:"name"`
	Service string `json:"service"`
	Kind    string `json:"kind"`
	Path    string `json:"path"`
	Summary string `json:"summary,omitempty"`
}

func (h *handler) index(known *snapshot) indexed {
	all := indexed{Version: h.Version, OpenAPI: "/v1/openapi.json", Subsystems: []indexedSubsystem{}}
	for _, state := range h.Subsystems() {
		all.Subsystems = append(all.Subsystems, indexSubsystem(state, known.byName[state.Name]))
	}
	return all
}

// indexSubsystem lists a subsystem; s is nil if it was never described.
func indexSubsystem(state State, s *subsystem) indexedSubsystem {
	one := indexedSubsystem{
		Name: state.Name, Plugin: state.Plugin, State: state.State, Reason: state.Reason,
		Path: "/v1/" + state.Name, Services: []string{}, Methods: []indexedMethod{},
	}
	if s == nil {
		return one
	}
	one.Version, one.Services = s.description.Version, s.description.Services
	for _, m := range s.all {
		one.Methods = append(one.Methods, indexMethod(s, m))
	}
	return one
}

func indexMethod(s *subsystem, m *method) indexedMethod {
	return indexedMethod{
		Name:    string(m.Descriptor.Name()),
		Service: string(m.Descriptor.Parent().FullName()),
		Kind:    m.Kind(),
		Path:    s.path(m),
		Summary: registry.Sentence(registry.Comment(m.Descriptor)),
	}
}

func (h *handler) serveSubsystem(w http.ResponseWriter, known *snapshot, name string) {
	for _, state := range h.Subsystems() {
		if state.Name == name {
			writeJSON(w, http.StatusOK, indexSubsystem(state, known.byName[name]))
			return
		}
	}
	_, err := h.Registry.Route("", name)
	writeError(w, err, nil)
}

// describedMethod is all that there is to say of a method.
type describedMethod struct {
	indexedMethod

	Comment    string           `json:"comment,omitempty"`
	Idempotent bool             `json:"idempotent,omitempty"` // whatever the request
	Keys       []string         `json:"keys,omitempty"`       // by which policies are kept apart
	Request    describedMessage `json:"request"`
	Response   describedMessage `json:"response"`
}

// describedMessage is a message of a method.
type describedMessage struct {
	Message string           `json:"message"`
	Comment string           `json:"comment,omitempty"`
	Fields  []describedField `json:"fields"`
	// Raw are the fields that a raw body can be; the first one is meant where
	// none is named.
	Raw []string `json:"raw,omitempty"`
}

// describedField is a field, with those of the message that it is.
type describedField struct {
	Name      string           `json:"name"` // in JSON
	Type      string           `json:"type"`
	Unit      string           `json:"unit,omitempty"`
	Sensitive bool             `json:"sensitive,omitempty"`
	OneOf     string           `json:"one_of,omitempty"`
	Values    []string         `json:"values,omitempty"` // of an enum
	Comment   string           `json:"comment,omitempty"`
	Fields    []describedField `json:"fields,omitempty"`
}

func describeMethod(s *subsystem, m *method) describedMethod {
	d := describedMethod{
		indexedMethod: indexMethod(s, m),
		Comment:       registry.Comment(m.Descriptor),
		Idempotent:    m.Idempotent(nil),
		Request:       describeMessage(m.Descriptor.Input(), m.rawIn),
		Response:      describeMessage(m.Descriptor.Output(), m.rawOut),
	}
	for _, key := range m.Keys() {
		d.Keys = append(d.Keys, key.Name)
	}
	return d
}

func describeMessage(md protoreflect.MessageDescriptor, raw []request.BytesField) describedMessage {
	d := describedMessage{
		Message: string(md.FullName()), Comment: registry.Comment(md), Fields: describeFields(md, nil),
	}
	for _, f := range raw {
		d.Raw = append(d.Raw, f.Path)
	}
	return d
}

// describeFields describes the fields of md, which lies within other messages.
// Those of a message within itself are left out.
func describeFields(md protoreflect.MessageDescriptor, within []protoreflect.FullName) []describedField {
	within = append(slices.Clip(within), md.FullName())
	all := []describedField{}
	for i := range md.Fields().Len() {
		all = append(all, describeField(md.Fields().Get(i), within))
	}
	return all
}

func describeField(fd protoreflect.FieldDescriptor, within []protoreflect.FullName) describedField {
	f := describedField{
		Name: fd.JSONName(), Type: typeName(fd), Sensitive: request.Sensitive(fd), Comment: registry.Comment(fd),
	}
	if request.IsSize(fd) {
		f.Unit = "bytes"
	}
	if oneof := fd.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
		f.OneOf = string(oneof.Name())
	}
	value := fd
	if fd.IsMap() {
		value = fd.MapValue()
	}
	if value.Enum() != nil {
		for i := range value.Enum().Values().Len() {
			f.Values = append(f.Values, string(value.Enum().Values().Get(i).Name()))
		}
	}
	if md := value.Message(); md != nil && !isWellKnown(md) && len(within) < maxDescribedDepth {
		if !slices.Contains(within, md.FullName()) {
			f.Fields = describeFields(md, within)
		}
	}
	return f
}

// maxDescribedDepth is how deep messages are described within each other; what
// is deeper is in the OpenAPI document.
const maxDescribedDepth = 5

// typeName is the type of a field as its .proto has it.
func typeName(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.IsMap():
		return "map<" + typeName(fd.MapKey()) + ", " + typeName(fd.MapValue()) + ">"
	case fd.IsList():
		return "repeated " + elementName(fd)
	default:
		return elementName(fd)
	}
}

func elementName(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.Message() != nil:
		return string(fd.Message().FullName())
	case fd.Enum() != nil:
		return string(fd.Enum().FullName())
	default:
		return fd.Kind().String()
	}
}

// isWellKnown reports whether JSON has a form of its own for a message.
func isWellKnown(md protoreflect.MessageDescriptor) bool {
	return strings.HasPrefix(string(md.FullName()), "google.protobuf.")
}
