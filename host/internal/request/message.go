package request

import (
	"bytes"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// message fills the empty message m from value: in the short form of the
// well-known types, or else as JSON.
func (b *builder) message(m protoreflect.Message, at place, value string) error {
	switch m.Descriptor().FullName() {
	case "google.protobuf.Duration":
		return duration(m, at, value)
	case "google.protobuf.Timestamp":
		return timestamp(m, at, value)
	case "google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.Int32Value", "google.protobuf.Int64Value", "google.protobuf.UInt32Value",
		"google.protobuf.UInt64Value", "google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		return b.wrapped(m, at, value)
	case "google.protobuf.Value", "google.protobuf.FieldMask":
		return b.textOrJSON(m, at, value)
	}
	content, err := b.content(at, value)
	if err != nil {
		return err
	}
	want := "{"
	if m.Descriptor().FullName() == "google.protobuf.ListValue" {
		want = "["
	}
	if !bytes.HasPrefix(bytes.TrimSpace(content), []byte(want)) {
		problem := at.errorf("is a %s, written as JSON that starts with %s", m.Descriptor().FullName(), want)
		if want == "{" {
			problem.Hint = nestedHint(m.Descriptor(), at)
		}
		return problem
	}
	return b.unmarshal(m, at, content)
}

func nestedHint(md protoreflect.MessageDescriptor, at place) string {
	names := fieldNames(md)
	if len(names) == 0 {
		return "it has no fields: " + at.path + "='{}'"
	}
	return "or give its fields one by one, such as " + at.path + "." + names[0] + "=…"
}

func duration(m protoreflect.Message, at place, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil {
		return at.refuse(value, "a duration: write it like 5s, 250ms or 1h30m")
	}
	return transfer(m, at, durationpb.New(d))
}

func timestamp(m protoreflect.Message, at place, value string) error {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || timestamppb.New(t).CheckValid() != nil {
		return at.refuse(value, "a time as in RFC 3339, like 2006-01-02T15:04:05Z")
	}
	return transfer(m, at, timestamppb.New(t))
}

// transfer copies by way of bytes: m is dynamic, and its descriptor is the
// plugin's own copy of the type.
func transfer(m protoreflect.Message, at place, from proto.Message) error {
	raw, err := proto.Marshal(from)
	if err == nil {
		err = proto.Unmarshal(raw, m.Interface())
	}
	if err != nil {
		return at.errorf("internal: %s", withoutPrefix(err))
	}
	return nil
}

// wrapped fills a wrapper type, such as google.protobuf.Int64Value.
func (b *builder) wrapped(m protoreflect.Message, at place, value string) error {
	fd := m.Descriptor().Fields().ByNumber(1)
	if fd == nil || fd.Message() != nil || fd.IsList() {
		return at.errorf("internal: the plugin's %s is not the well-known one", m.Descriptor().FullName())
	}
	v, err := b.scalar(fd, at, value)
	if err != nil {
		return err
	}
	m.Set(fd, v)
	return nil
}

// textOrJSON takes what is no JSON as a JSON string.
func (b *builder) textOrJSON(m protoreflect.Message, at place, value string) error {
	content, err := b.content(at, value)
	if err != nil {
		return err
	}
	if !json.Valid(content) {
		if content, err = json.Marshal(string(content)); err != nil {
			return at.errorf("internal: %v", err)
		}
	}
	return b.unmarshal(m, at, content)
}
