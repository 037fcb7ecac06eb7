package rest

import (
	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// rulesOf are what protovalidate holds a field to; nil for nothing, or for what
// this version does not know.
func rulesOf(fd protoreflect.FieldDescriptor) *validate.FieldRules {
	rules, err := protovalidate.ResolveFieldRules(fd)
	if err != nil {
		return nil
	}
	return rules
}

// keywords are the names of JSON Schema for rules of one value, by those of
// protovalidate.
func keywords(fd protoreflect.FieldDescriptor) map[protoreflect.Name]string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return map[protoreflect.Name]string{"const": "const", "in": "enum", "min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind,
		protoreflect.FloatKind, protoreflect.DoubleKind:
		return map[protoreflect.Name]string{
			"const": "const", "in": "enum", "gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum",
		}
	default: // 64 bits are text in JSON, and other rules have no keyword
		return nil
	}
}

// constrained adds to the schema of a value what rules say of it.
func constrained(schema jsonObject, fd protoreflect.FieldDescriptor, rules *validate.FieldRules) jsonObject {
	if rules == nil {
		return schema
	}
	m := rules.ProtoReflect()
	kind := m.WhichOneof(m.Descriptor().Oneofs().ByName("type"))
	if kind == nil {
		return schema
	}
	known := keywords(fd)
	m.Get(kind).Message().Range(func(rule protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if keyword, ok := known[rule.Name()]; ok {
			schema[keyword] = ruleValue(rule, v)
		}
		return true
	})
	return schema
}

func ruleValue(rule protoreflect.FieldDescriptor, v protoreflect.Value) any {
	if !rule.IsList() {
		return v.Interface()
	}
	values := jsonList{}
	for i := range v.List().Len() {
		values = append(values, v.List().Get(i).Interface())
	}
	return values
}

// items adds what rules say of a list.
func items(schema jsonObject, rules *validate.RepeatedRules) jsonObject {
	if rules.HasMinItems() {
		schema["minItems"] = rules.GetMinItems()
	}
	if rules.HasMaxItems() {
		schema["maxItems"] = rules.GetMaxItems()
	}
	if rules.GetUnique() {
		schema["uniqueItems"] = true
	}
	return schema
}

// pairs adds what rules say of a map.
func pairs(schema jsonObject, rules *validate.MapRules) jsonObject {
	if rules.HasMinPairs() {
		schema["minProperties"] = rules.GetMinPairs()
	}
	if rules.HasMaxPairs() {
		schema["maxProperties"] = rules.GetMaxPairs()
	}
	return schema
}
