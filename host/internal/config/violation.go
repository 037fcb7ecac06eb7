package config

import (
	"errors"
	"fmt"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"github.com/hashicorp/hcl/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// validate checks msg against its constraints and places each violation where
// the field is written.
func (d *messageDecoder) validate(msg proto.Message, p *pluginConfig) {
	// Not the package's own validator: it would keep the rules of every
	// descriptor that a plugin ever sent.
	validator, err := protovalidate.New(protovalidate.WithMessageDescriptors(msg.ProtoReflect().Descriptor()))
	if err == nil {
		err = validator.Validate(msg)
	}
	var violations *protovalidate.ValidationError
	switch {
	case err == nil:
	case errors.As(err, &violations):
		for _, v := range violations.Violations {
			d.violation(v, p)
		}
	default:
		d.report(warning(p.plugin, "Config not checked",
			fmt.Sprintf("The constraints of %s cannot be evaluated: %v. That is a fault of the plugin.", msg.ProtoReflect().Descriptor().FullName(), err)))
	}
}

// violation reports v, unless it may only follow from a fault that is reported
// already.
func (d *messageDecoder) violation(v *protovalidate.Violation, p *pluginConfig) {
	path := protovalidate.FieldPathString(v.Proto.GetField())
	for failed := range d.failed {
		if isWithin(failed, path) || isWithin(path, failed) {
			return
		}
	}
	at, written := p.start(), false
	if p.block != nil {
		at, written = locate(p.block, path)
	}
	d.report(violationFault(v, path, at, written))
}

// isWithin reports whether the field at path is outer or a part of it.
func isWithin(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (outer == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// violationFault says in a sentence what a constraint demands.
func violationFault(v *protovalidate.Violation, path string, at hcl.Range, written bool) *hcl.Diagnostic {
	message := strings.TrimSuffix(v.Proto.GetMessage(), ".")
	if message == "" {
		message = "must satisfy " + v.Proto.GetRuleId()
	}
	name := path // of a field that is not written, all of it
	if written {
		name = path[strings.LastIndexByte(path, '.')+1:]
	}
	if v.FieldDescriptor != nil && v.Proto.GetRuleId() == "required" {
		if !written {
			return fault(at, "Missing argument", strings.TrimSpace(fmt.Sprintf("%s is required. %s", path, comment(v.FieldDescriptor))))
		}
		return fault(at, "Empty value", strings.TrimSpace(fmt.Sprintf("%s is required and must not be empty. %s", name, comment(v.FieldDescriptor))))
	}
	if v.FieldDescriptor != nil {
		elements := v.Proto.GetRule().GetElements()
		if bound := bound(v.FieldDescriptor, elements); bound != "" {
			return fault(at, "Value out of range", fmt.Sprintf("%s must be %s.", name, bound))
		}
	}
	if name != "" && strings.HasPrefix(message, "must ") {
		message = name + " " + message
	}
	return fault(at, "Invalid value", message+".")
}

// bound returns the bounds of a number, size, duration or enum, when the rule
// that the elements lead to is one of them; "" otherwise.
func bound(fd protoreflect.FieldDescriptor, elements []*validate.FieldPathElement) string {
	rules, err := protovalidate.ResolveFieldRules(fd)
	if err != nil || rules == nil || len(elements) < 2 {
		return ""
	}
	// The path runs from FieldRules over, for example, repeated and items to
	// uint32 and lte.
	m := rules.ProtoReflect()
	for _, e := range elements[:len(elements)-1] {
		field := m.Descriptor().Fields().ByName(protoreflect.Name(e.GetFieldName()))
		if field == nil || field.Message() == nil || field.IsList() || field.IsMap() {
			return ""
		}
		if m.Descriptor().Name() == "MapRules" {
			if field.Name() == "keys" {
				fd = fd.MapKey()
			} else {
				fd = fd.MapValue()
			}
		}
		m = m.Get(field).Message()
	}
	switch elements[len(elements)-1].GetFieldName() {
	case "gt", "gte", "lt", "lte", "in", "not_in", "const":
		return bounds(fd, m)
	}
	return ""
}
