package rpc

import (
	"bytes"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gaia-go/gaia/host/internal/request"
)

// message is one of a call, as the codec has left it: a request in the form in
// which it came, or an answer in the binary one.
type message struct {
	data   []byte
	inJSON bool
	method *method // of an answer
}

// binary returns a request in protobuf's binary form.
func (m *message) binary(of *method) ([]byte, error) {
	if !m.inJSON {
		return m.data, nil
	}
	parsed, err := request.Parser{Types: of.types}.ParseJSON(of.Descriptor.Input(), m.data)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "JSON: "+withHint(err))
	}
	data, err := proto.Marshal(parsed)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "JSON: %v", err)
	}
	return data, nil
}

// appendJSON appends an answer in JSON.
func (m *message) appendJSON(b []byte) ([]byte, error) {
	parsed := dynamicpb.NewMessage(m.method.Descriptor.Output())
	if err := (proto.UnmarshalOptions{Resolver: m.method.types, AllowPartial: true}).Unmarshal(m.data, parsed); err != nil {
		return nil, fmt.Errorf("the plugin's answer is no %s: %w", parsed.Descriptor().FullName(), err)
	}
	return request.AppendJSON(b, parsed, m.method.types)
}

// passing is the codec that passes messages through. It has to know typed ones,
// too: connect sends the status of gRPC by it.
type passing struct{}

// Name implements connect.Codec.
func (passing) Name() string { return "proto" }

// Marshal implements connect.Codec.
func (c passing) Marshal(v any) ([]byte, error) { return c.MarshalAppend(nil, v) }

// MarshalAppend lets connect reuse its buffers.
func (passing) MarshalAppend(b []byte, v any) ([]byte, error) {
	if m, ok := v.(*message); ok {
		return append(b, m.data...), nil
	}
	typed, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("internal: a %T is no message", v)
	}
	return proto.MarshalOptions{}.MarshalAppend(b, typed)
}

// Unmarshal implements connect.Codec. It copies, because data is connect's.
func (passing) Unmarshal(data []byte, v any) error { return keep(data, false, v) }

// inJSON is the codec of JSON. Requests are left to be parsed where an error
// can be told in full.
type inJSON struct{ name string }

// Name implements connect.Codec.
func (c inJSON) Name() string { return c.name }

// Marshal implements connect.Codec.
func (c inJSON) Marshal(v any) ([]byte, error) { return c.MarshalAppend(nil, v) }

// MarshalAppend lets connect reuse its buffers.
func (inJSON) MarshalAppend(b []byte, v any) ([]byte, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("internal: a %T is no message", v)
	}
	return m.appendJSON(b)
}

// Unmarshal implements connect.Codec.
func (inJSON) Unmarshal(data []byte, v any) error { return keep(data, true, v) }

func keep(data []byte, inJSON bool, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("internal: a %T is no message", v)
	}
	m.data, m.inJSON = bytes.Clone(data), inJSON
	return nil
}

// withHint is a fault of a request in one line, with the remedy.
func withHint(err error) string {
	if e, ok := err.(*request.Error); ok && e.Hint != "" { //nolint:errorlint // ParseJSON's own type
		return e.Error() + "; " + e.Hint
	}
	return err.Error()
}

// detail is one of an error's details, with its content in JSON where that can
// be had. On the wire it is what it was.
func detail(from *anypb.Any, types protoregistry.MessageTypeResolver) *connect.ErrorDetail {
	if kind, err := types.FindMessageByURL(from.GetTypeUrl()); err == nil {
		typed := kind.New().Interface()
		if proto.Unmarshal(from.GetValue(), typed) == nil {
			d, err := connect.NewErrorDetail(typed)
			if err == nil && bytes.Equal(d.Bytes(), from.GetValue()) {
				return d
			}
		}
	}
	d, err := connect.NewErrorDetail(from)
	if err != nil {
		return nil // never: what is encoded is not encoded again
	}
	return d
}
