package request

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/nearest"
)

// maxJSONDepth is how deep JSON may be nested. protobuf's own bound for
// decoding what is sent is 10,000; this leaves room for the path around it.
const maxJSONDepth = 1000

// ParseJSON returns the message of type md that data holds in protobuf's JSON
// mapping. Errors are of type *Error.
func (p Parser) ParseJSON(md protoreflect.MessageDescriptor, data []byte) (*dynamicpb.Message, error) {
	m := dynamicpb.NewMessage(md)
	if err := p.unmarshal(m, place{}, data); err != nil {
		return nil, err
	}
	return m, nil
}

func (p Parser) unmarshal(m protoreflect.Message, at place, data []byte) error {
	err := protojson.UnmarshalOptions{Resolver: p.Types, RecursionLimit: maxJSONDepth}.Unmarshal(data, m.Interface())
	if err == nil {
		return nil
	}
	problem := at.errorf("%s", withoutPrefix(err))
	if name, ok := unknownName(problem.Problem); ok {
		problem.Hint = nestedFieldHint(m.Descriptor(), name)
		return problem
	}
	if at.sensitive || holdsSensitive(m.Descriptor()) {
		problem.Problem = withoutValue(problem.Problem)
	}
	return problem
}

// withoutPrefix drops protobuf's "proto: ", whose space varies on purpose.
func withoutPrefix(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return strings.ReplaceAll(text, "proto: ", "")
}

// unknownName reads the name out of protojson's `(line 1:2): unknown field
// "x"`.
func unknownName(problem string) (string, bool) {
	match := regexp.MustCompile(`^\(line \d+:\d+\): unknown field "([^"]*)"$`).FindStringSubmatch(problem)
	if match == nil {
		return "", false
	}
	return match[1], true
}

// nestedFieldHint looks in all of the request: protojson does not say which
// message it was in.
func nestedFieldHint(md protoreflect.MessageDescriptor, name string) string {
	ways := make(map[string]string) // to the nearest field of each name
	reachable(md, func(md protoreflect.MessageDescriptor, way string) {
		for i := range md.Fields().Len() {
			if name := md.Fields().Get(i).JSONName(); ways[name] == "" {
				ways[name] = way + name
			}
		}
	})
	if way, ok := ways[name]; ok { // of another message
		return fmt.Sprintf("did you mean %q of the request?", way)
	}
	if best, ok := nearest.Name(name, slices.Sorted(maps.Keys(ways))); ok {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return fieldsHint(md, name)
}

func holdsSensitive(md protoreflect.MessageDescriptor) bool {
	found := false
	reachable(md, func(md protoreflect.MessageDescriptor, _ string) {
		for i := range md.Fields().Len() {
			found = found || Sensitive(md.Fields().Get(i))
		}
	})
	return found
}

// withoutValue keeps of protojson's message the position and the field, and
// drops what it quotes from the input.
func withoutValue(problem string) string {
	keep := regexp.MustCompile(`^(syntax error )?\(line \d+:\d+\)(: invalid value for \w+ field \w+)?`).FindString(problem)
	if keep == "" {
		return "not the JSON of this request"
	}
	return keep + ": not what is allowed here"
}
