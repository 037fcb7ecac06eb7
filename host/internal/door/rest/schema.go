package rest

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/request"
)

// schemas are the JSON schemas of messages and enums, of all subsystems. Those
// of two plugins that define the same name alike are one; where they differ,
// the second one has the name of its subsystem behind its own.
type schemas struct {
	all    jsonObject
	owners map[string]protoreflect.Descriptor // by name in all

	subsystem *subsystem
	answered  map[protoreflect.FullName]bool // messages of the subsystem that are within answers
}

func newSchemas() *schemas {
	return &schemas{all: jsonObject{}, owners: make(map[string]protoreflect.Descriptor)}
}

// enter goes on with the messages of a subsystem.
func (s *schemas) enter(r *subsystem) {
	s.subsystem, s.answered = r, make(map[protoreflect.FullName]bool)
	for _, m := range r.all {
		reachable(m.Descriptor.Output(), s.answered, func(protoreflect.MessageDescriptor) {})
	}
}

// name returns the name of the schema of d, and whether it is to be made.
func (s *schemas) name(d protoreflect.Descriptor) (name string, isNew bool) {
	name = string(d.FullName())
	for {
		owner, taken := s.owners[name]
		switch {
		case !taken:
			s.owners[name] = d
			return name, true
		case owner == d || alike(owner, d):
			return name, false
		}
		name += "." + s.subsystem.name
	}
}

// alike reports whether two descriptors of one name say the same, with all that
// they lead to.
func alike(a, b protoreflect.Descriptor) bool {
	switch a := a.(type) {
	case protoreflect.EnumDescriptor:
		b, ok := b.(protoreflect.EnumDescriptor)
		return ok && proto.Equal(protodesc.ToEnumDescriptorProto(a), protodesc.ToEnumDescriptorProto(b))
	case protoreflect.MessageDescriptor:
		b, ok := b.(protoreflect.MessageDescriptor)
		return ok && alikeMessages(a, b, make(map[protoreflect.FullName]bool))
	}
	return false
}

func alikeMessages(a, b protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[a.FullName()] {
		return true
	}
	seen[a.FullName()] = true
	if !proto.Equal(protodesc.ToDescriptorProto(a), protodesc.ToDescriptorProto(b)) {
		return false
	}
	for i := range a.Fields().Len() {
		one, two := a.Fields().Get(i), b.Fields().Get(i)
		if one.Message() != nil && !alikeMessages(one.Message(), two.Message(), seen) || one.Enum() != nil && !alike(one.Enum(), two.Enum()) {
			return false
		}
	}
	return true
}

// message refers to the schema of a message, which is made if there is none.
func (s *schemas) message(md protoreflect.MessageDescriptor) jsonObject {
	if schema, ok := wellKnown(md); ok {
		return schema
	}
	name, isNew := s.name(md)
	if isNew {
		s.all[name] = nil // for those within that lead back
		s.all[name] = s.describe(md)
	}
	return ref("schemas", name)
}

func (s *schemas) describe(md protoreflect.MessageDescriptor) jsonObject {
	properties, required := jsonObject{}, jsonList{}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		properties[fd.JSONName()] = s.field(fd, s.answered[md.FullName()])
		if rulesOf(fd).GetRequired() {
			required = append(required, fd.JSONName())
		}
	}
	schema := jsonObject{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = required
	}
	if all := oneofs(md); len(all) > 0 {
		schema["allOf"] = all
	}
	return described(schema, registry.Comment(md))
}

// oneofs say that of the members of a oneof there is at most one.
func oneofs(md protoreflect.MessageDescriptor) jsonList {
	var all jsonList
	for i := range md.Oneofs().Len() {
		oneof := md.Oneofs().Get(i)
		if oneof.IsSynthetic() || oneof.Fields().Len() < 2 {
			continue
		}
		var each, either jsonList
		for j := range oneof.Fields().Len() {
			is := jsonObject{"required": jsonList{oneof.Fields().Get(j).JSONName()}}
			each, either = append(each, is), append(either, is)
		}
		all = append(all, jsonObject{"oneOf": append(each, jsonObject{"not": jsonObject{"anyOf": either}})})
	}
	return all
}

// field is the schema of a field of a message that is in answers or is not.
func (s *schemas) field(fd protoreflect.FieldDescriptor, answered bool) jsonObject {
	schema := s.shape(fd)
	if request.IsSize(fd) {
		schema["x-unit"] = "bytes"
	}
	if request.Sensitive(fd) {
		schema["x-sensitive"] = true
		if fd.Kind() == protoreflect.StringKind && !fd.IsList() {
			schema["format"] = "password"
		}
		if !answered {
			schema["writeOnly"] = true
		}
	}
	return described(schema, registry.Comment(fd))
}

func (s *schemas) shape(fd protoreflect.FieldDescriptor) jsonObject {
	rules := rulesOf(fd)
	switch {
	case fd.IsMap():
		schema := jsonObject{"type": "object", "additionalProperties": constrained(s.value(fd.MapValue()), fd.MapValue(), rules.GetMap().GetValues())}
		return pairs(schema, rules.GetMap())
	case fd.IsList():
		schema := jsonObject{"type": "array", "items": constrained(s.value(fd), fd, rules.GetRepeated().GetItems())}
		return items(schema, rules.GetRepeated())
	}
	return constrained(s.value(fd), fd, rules)
}

// value is the schema of one value of a field, by protobuf's mapping to JSON.
func (s *schemas) value(fd protoreflect.FieldDescriptor) jsonObject {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return s.message(fd.Message())
	case protoreflect.EnumKind:
		return s.enum(fd.Enum())
	default:
		return scalar(fd.Kind())
	}
}

func scalar(kind protoreflect.Kind) jsonObject {
	switch kind {
	case protoreflect.BoolKind:
		return jsonObject{"type": "boolean"}
	case protoreflect.StringKind:
		return jsonObject{"type": "string"}
	case protoreflect.BytesKind:
		return jsonObject{"type": "string", "contentEncoding": "base64"}
	case protoreflect.FloatKind:
		return jsonObject{"type": "number", "format": "float"}
	case protoreflect.DoubleKind:
		return jsonObject{"type": "number", "format": "double"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return jsonObject{"type": "integer", "format": "int32"}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return jsonObject{"type": "integer", "minimum": 0, "maximum": uint32(1<<32 - 1)}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return jsonObject{"type": "string", "format": "uint64", "pattern": "^[0-9]+$"}
	default:
		return jsonObject{"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
	}
}

func (s *schemas) enum(ed protoreflect.EnumDescriptor) jsonObject {
	if ed.FullName() == "google.protobuf.NullValue" {
		return jsonObject{"type": "null"}
	}
	name, isNew := s.name(ed)
	if isNew {
		values, text := jsonList{}, registry.Comment(ed)
		for i := range ed.Values().Len() {
			value := ed.Values().Get(i)
			values = append(values, string(value.Name()))
			if comment := registry.Comment(value); comment != "" {
				text = join(text, string(value.Name())+": "+comment)
			}
		}
		s.all[name] = described(jsonObject{"type": "string", "enum": values}, text)
	}
	return ref("schemas", name)
}

// wellKnown is the schema of a message that JSON has a form of its own for.
func wellKnown(md protoreflect.MessageDescriptor) (schema jsonObject, ok bool) {
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		return jsonObject{"type": "string", "format": "date-time"}, true
	case "google.protobuf.Duration":
		return jsonObject{"type": "string", "pattern": `^-?[0-9]+(\.[0-9]{1,9})?s$`, "examples": jsonList{"1.5s"}}, true
	case "google.protobuf.FieldMask":
		return jsonObject{"type": "string"}, true
	case "google.protobuf.Struct":
		return jsonObject{"type": "object"}, true
	case "google.protobuf.ListValue":
		return jsonObject{"type": "array", "items": jsonObject{}}, true
	case "google.protobuf.Value":
		return jsonObject{}, true
	case "google.protobuf.Empty":
		return jsonObject{"type": "object", "additionalProperties": false}, true
	case "google.protobuf.Any":
		return jsonObject{"type": "object", "required": jsonList{"@type"}, "properties": jsonObject{"@type": jsonObject{"type": "string"}}}, true
	case "google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.Int32Value", "google.protobuf.Int64Value", "google.protobuf.UInt32Value",
		"google.protobuf.UInt64Value", "google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		if value := md.Fields().ByNumber(1); value != nil {
			schema := scalar(value.Kind())
			schema["type"] = jsonList{schema["type"], "null"}
			return schema, true
		}
	}
	return nil, false
}
