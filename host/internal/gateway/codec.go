package gateway

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // callers may compress; without it their calls are Unimplemented
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// frame is one message as bytes, never decoded. Its buffers are counted: who
// holds a frame that RecvMsg or Invoke filled calls free once, when the last
// SendMsg of it has returned.
type frame struct {
	data mem.BufferSlice
}

// free gives the buffers back. A frame without any stays as it is.
func (f *frame) free() {
	f.data.Free()
	f.data = nil
}

// ref returns the message once more, with a reference of its own: both are to
// be freed. Of no message it is none.
func (f *frame) ref() *frame {
	if f == nil {
		return nil
	}
	f.data.Ref()
	return &frame{data: f.data}
}

// bytes returns the message in one piece, which is made if there are several.
// It is valid until free, and not written.
func (f *frame) bytes() []byte {
	if len(f.data) == 0 {
		return nil
	}
	if len(f.data) > 1 {
		whole := f.data.MaterializeToBuffer(mem.DefaultBufferPool())
		f.data.Free()
		f.data = mem.BufferSlice{whole}
	}
	return f.data[0].ReadOnlyData()
}

// codec passes frames through and leaves all other messages, those of the
// host's own services, to the protobuf codec.
//
// It has the name of the protobuf codec, because the name becomes the content
// subtype on the wire and a server of another language may refuse one that it
// does not know.
type codec struct {
	typed encoding.CodecV2
}

func newCodec() codec { return codec{typed: encoding.GetCodecV2(proto.Name)} }

// Marshal gives gRPC a reference of its own, which gRPC frees when the bytes
// are on their way; without it the owner's free would be one too many, and
// gRPC panics.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return c.typed.Marshal(v)
	}
	f.data.Ref()
	return f.data, nil
}

// Unmarshal takes a reference, because gRPC frees data when it returns.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.typed.Unmarshal(data, v)
	}
	data.Ref()
	f.data = data
	return nil
}

// Name implements encoding.CodecV2.
func (codec) Name() string { return proto.Name }
