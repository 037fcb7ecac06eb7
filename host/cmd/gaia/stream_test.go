package main

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/sdk"
)

// chunkSize of a stream: the one for which sockets and pipes are about as fast
// as they get.
const chunkSize = 1 << 20

// streamService has a method for each direction. Down sends chunks of the size
// that it is asked for, until the caller has enough. Up takes chunks and answers
// with how many bytes there were.
func streamService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "fleet.Stream",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			{StreamName: "Down", ServerStreams: true, Handler: serveDown},
			{StreamName: "Up", ClientStreams: true, Handler: serveUp},
		},
	}
}

func serveDown(_ any, s grpc.ServerStream) error {
	size := new(wrapperspb.Int64Value)
	if err := s.RecvMsg(size); err != nil {
		return err
	}
	chunk := wrapperspb.Bytes(make([]byte, size.GetValue()))
	for {
		if err := s.SendMsg(chunk); err != nil {
			return err
		}
	}
}

func serveUp(_ any, s grpc.ServerStream) error {
	total := new(wrapperspb.Int64Value)
	for {
		chunk := new(wrapperspb.BytesValue)
		err := s.RecvMsg(chunk)
		if errors.Is(err, io.EOF) {
			return s.SendMsg(total)
		}
		if err != nil {
			return err
		}
		total.Value += int64(len(chunk.GetValue()))
	}
}

// serveStream serves it by the sdk, which wants to know its descriptor.
func serveStream() {
	const wrappers = "google/protobuf/wrappers.proto"
	method := func(name, input, output string, up, down bool) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: new(".google.protobuf." + input), OutputType: new(".google.protobuf." + output),
			ClientStreaming: &up, ServerStreaming: &down,
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("fleet/stream.proto"), Package: new("fleet"), Syntax: new("proto3"), Dependency: []string{wrappers},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: new("Stream"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Down", "Int64Value", "BytesValue", false, true),
			method("Up", "BytesValue", "Int64Value", true, false),
		}}},
	}, protoregistry.GlobalFiles)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(file)
	}
	if err != nil {
		panic(err)
	}
	sdk.Serve(func(r grpc.ServiceRegistrar) { r.RegisterService(streamService(), &struct{}{}) })
}

// BenchmarkStream is one stream of 1 MiB chunks: through the whole house, and
// beside it on plain go-plugin with its defaults. Compare the two of one run.
func BenchmarkStream(b *testing.B) {
	house := open(b, newHouse(b), fleetConfig("", "stream"), "stream")
	plain := startPlain(b, "fleet-plain-stream")
	b.Run("down/house", func(b *testing.B) { benchmarkDown(b, house.conn) })
	b.Run("down/plain-go-plugin", func(b *testing.B) { benchmarkDown(b, plain) })
	b.Run("up/house", func(b *testing.B) { benchmarkUp(b, house.conn) })
	b.Run("up/plain-go-plugin", func(b *testing.B) { benchmarkUp(b, plain) })
}

func benchmarkDown(b *testing.B, conn grpc.ClientConnInterface) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/fleet.Stream/Down")
	if err == nil {
		err = errors.Join(s.SendMsg(wrapperspb.Int64(chunkSize)), s.CloseSend())
	}
	if err != nil {
		b.Fatal(err)
	}
	receive := func() error {
		chunk := new(wrapperspb.BytesValue)
		err := s.RecvMsg(chunk)
		if err == nil && len(chunk.GetValue()) != chunkSize {
			b.Errorf("got %d bytes, want %d", len(chunk.GetValue()), chunkSize)
		}
		return err
	}
	b.SetBytes(chunkSize)
	for b.Loop() {
		if err := receive(); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	for err == nil {
		err = receive()
	}
	if status.Code(err) != codes.Canceled {
		b.Errorf("the stream ended with %v", err)
	}
}

func benchmarkUp(b *testing.B, conn grpc.ClientConnInterface) {
	b.Helper()
	s, err := conn.NewStream(b.Context(), &grpc.StreamDesc{ClientStreams: true}, "/fleet.Stream/Up")
	if err != nil {
		b.Fatal(err)
	}
	chunk, sent, total := wrapperspb.Bytes(make([]byte, chunkSize)), int64(0), new(wrapperspb.Int64Value)
	b.SetBytes(chunkSize)
	for b.Loop() {
		if err := s.SendMsg(chunk); err != nil {
			b.Fatal(err)
		}
		sent += chunkSize
	}
	if err := errors.Join(s.CloseSend(), s.RecvMsg(total)); err != nil || total.GetValue() != sent {
		b.Errorf("the other end has %d bytes (%v), want %d", total.GetValue(), err, sent)
	}
}
