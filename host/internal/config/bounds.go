package config

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

// bounds says which values the rules of a number, size, duration or enum
// allow, such as "above 0s and at most 1h"; "" when they say nothing of the
// kind. rules is a buf.validate message such as UInt32Rules; fd is the field
// whose values it bounds.
func bounds(fd protoreflect.FieldDescriptor, rules protoreflect.Message) string {
	fields := rules.Descriptor().Fields()
	if fd.Kind() == protoreflect.EnumKind {
		return enumBounds(fd.Enum(), rules)
	}
	var parts []string
	for _, rule := range []struct {
		name  protoreflect.Name
		words string
	}{
		{"const", "exactly "}, {"gt", "above "}, {"gte", "at least "}, {"lt", "below "}, {"lte", "at most "},
	} {
		if field := fields.ByName(rule.name); field != nil && rules.Has(field) {
			parts = append(parts, rule.words+boundText(fd, rules.Get(field)))
		}
	}
	if field := fields.ByName("in"); field != nil && rules.Has(field) {
		allowed := rules.Get(field).List()
		var all []string
		for i := range allowed.Len() {
			all = append(all, boundText(fd, allowed.Get(i)))
		}
		parts = append(parts, "one of "+inWords(all))
	}
	return strings.Join(parts, " and ")
}

// boundText writes a bound as the field itself is written.
func boundText(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch x := v.Interface().(type) {
	case protoreflect.Message:
		if d, ok := durationOf(x); ok {
			return FormatDuration(d)
		}
	case string:
		return fmt.Sprintf("%q", x)
	case uint64, uint32, int64, int32:
		if fieldOptions(fd).GetUnit() == optionsv1.Unit_BYTES && !strings.HasPrefix(v.String(), "-") {
			return asBytes(v).String()
		}
	}
	return v.String()
}

// asBytes reads an integer that is not negative as a size.
func asBytes(v protoreflect.Value) Bytes {
	switch x := v.Interface().(type) {
	case uint64:
		return Bytes(x)
	case uint32:
		return Bytes(x)
	default:
		return Bytes(max(v.Int(), 0))
	}
}

func durationOf(m protoreflect.Message) (time.Duration, bool) {
	d := &durationpb.Duration{}
	if m.Descriptor().FullName() != durationMessage {
		return 0, false
	}
	wire, err := proto.Marshal(m.Interface())
	if err != nil || proto.Unmarshal(wire, d) != nil {
		return 0, false
	}
	return d.AsDuration(), true
}

// enumBounds lists the names that the rules of an enum allow; "" for all.
func enumBounds(ed protoreflect.EnumDescriptor, rules protoreflect.Message) string {
	fields := rules.Descriptor().Fields()
	numbers := func(name protoreflect.Name) (map[int64]bool, bool) {
		set := map[int64]bool{}
		field := fields.ByName(name)
		if field == nil || !rules.Has(field) {
			return set, false
		}
		if !field.IsList() {
			return map[int64]bool{rules.Get(field).Int(): true}, true
		}
		for i := range rules.Get(field).List().Len() {
			set[rules.Get(field).List().Get(i).Int()] = true
		}
		return set, true
	}
	only, isConst := numbers("const")
	in, hasIn := numbers("in")
	not, hasNot := numbers("not_in")
	if !isConst && !hasIn && !hasNot {
		return ""
	}
	var names []string
	for i := range ed.Values().Len() {
		n := int64(ed.Values().Get(i).Number())
		if (!isConst || only[n]) && (!hasIn || in[n]) && !not[n] {
			names = append(names, fmt.Sprintf("%q", strings.ToLower(string(ed.Values().Get(i).Name()))))
		}
	}
	return "one of " + inWords(names)
}
