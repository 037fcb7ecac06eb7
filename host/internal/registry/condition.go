package registry

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

// condition is a test of one field of a message. Immutable.
type condition struct {
	field field
	in    map[string]bool // nil: any text but ""
}

// newConditions compiles conditions of which one has to hold. One that leads
// through types which the descriptors lack, or says more than this version
// knows of, is left out: it never holds.
func newConditions(message protoreflect.MessageDescriptor, declared []*optionsv1.Condition) ([]condition, error) {
	var all []condition
	for i, c := range declared {
		if len(c.ProtoReflect().GetUnknown()) > 0 {
			continue
		}
		compiled, err := newCondition(message, c)
		if errors.Is(err, errUnresolved) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("[%d]: field %q: %w", i, c.GetField(), err)
		}
		all = append(all, compiled)
	}
	return all, nil
}

func newCondition(message protoreflect.MessageDescriptor, c *optionsv1.Condition) (condition, error) {
	switch {
	case c.GetIsSet() && len(c.GetIn()) > 0:
		return condition{}, errors.New("both in and is_set are given, one is needed")
	case !c.GetIsSet() && len(c.GetIn()) == 0:
		return condition{}, errors.New("neither in nor is_set is given, one is needed")
	}
	f, err := newField(message, c.GetField())
	if err != nil {
		return condition{}, err
	}
	compiled := condition{field: f}
	for _, text := range c.GetIn() {
		if compiled.in == nil {
			compiled.in = make(map[string]bool, len(c.GetIn()))
		}
		compiled.in[text] = true
	}
	return compiled, nil
}

// holds is false for bytes that are no message.
func (c *condition) holds(message []byte) bool {
	// A longer name of an enum value is allocated.
	var scratch [128]byte
	text, ok := c.field.text(message, scratch[:])
	switch {
	case !ok:
		return false
	case c.in == nil:
		return len(text) > 0
	default:
		return c.in[string(text)]
	}
}

func anyHolds(conditions []condition, message []byte) bool {
	return slices.ContainsFunc(conditions, func(c condition) bool { return c.holds(message) })
}
