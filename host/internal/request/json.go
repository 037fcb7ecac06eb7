package request

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/nearest"
)

// AppendJSON appends a message in protobuf's JSON mapping to b, in one line: without
// the space that protojson varies on purpose. What is required may be missing.
func AppendJSON(b []byte, m proto.Message, types Resolver) ([]byte, error) {
	raw, err := protojson.MarshalOptions{Resolver: types, AllowPartial: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	line := bytes.NewBuffer(b)
	line.Grow(len(raw) + 1) // and the end of the line, for who adds it
	err = json.Compact(line, raw)
	return line.Bytes(), err
}

// maxJSONDepth is how deep JSON may be nested. protobuf's own bound for
// decoding what is sent is 10,000; this leaves room for the path around it.
const maxJSONDepth = 1000

// maxJSONValues is how many values JSON may have. An empty message is three
// bytes of text, and valueSize of memory.
const (
	maxJSONValues = 1 << 18
	valueSize     = 320 // measured, with what is left of lists that have grown
)

// ParseJSON returns the message of type md that data holds in protobuf's JSON
// mapping. Errors are of type *Error.
func (p Parser) ParseJSON(md protoreflect.MessageDescriptor, data []byte) (*dynamicpb.Message, error) {
	if n := jsonValues(data); n > maxJSONValues {
		return nil, &Error{
			Problem: fmt.Sprintf("%d values, and at most %d may be in one JSON document", n, maxJSONValues),
			Hint:    "send them in parts, or in protobuf's binary form",
		}
	}
	m := dynamicpb.NewMessage(md)
	if err := p.unmarshal(m, place{}, data); err != nil {
		return nil, err
	}
	return m, nil
}

// ParsedSize is about how many bytes of memory ParseJSON takes for data beside
// the text in it.
func ParsedSize(data []byte) int { return min(jsonValues(data), maxJSONValues) * valueSize }

// jsonValues is how many values JSON has, without looking whether it is any.
func jsonValues(data []byte) (n int) {
	for len(data) > 0 {
		text := bytes.IndexByte(data, '"')
		if text < 0 {
			text = len(data)
		}
		for _, c := range data[:text] {
			if c == ',' || c == '[' || c == '{' {
				n++
			}
		}
		data = data[text:]
		data = data[stringEnd(data):]
	}
	return n
}

// stringEnd is where the JSON string ends that data begins with.
func stringEnd(data []byte) int {
	for at := 1; at < len(data); at++ {
		quote := bytes.IndexByte(data[at:], '"')
		if quote < 0 {
			break
		}
		escapes := 0
		for at += quote; data[at-1-escapes] == '\\'; escapes++ {
		}
		if escapes%2 == 0 {
			return at + 1
		}
	}
	return len(data)
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
