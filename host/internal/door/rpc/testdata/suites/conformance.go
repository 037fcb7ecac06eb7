package main

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	pb "github.com/gaia-go/gaia/host/internal/door/rpc/testdata/suites/conformancev1"
)

// conformance answers as each request says, with all that came of it.
type conformance struct {
	pb.UnimplementedConformanceServiceServer
}

func (conformance) Unary(ctx context.Context, r *pb.UnaryRequest) (*pb.UnaryResponse, error) {
	payload, err := one(ctx, r.GetResponseDefinition(), serverStream(ctx), r)
	return &pb.UnaryResponse{Payload: payload}, err
}

func (conformance) IdempotentUnary(ctx context.Context, r *pb.IdempotentUnaryRequest) (*pb.IdempotentUnaryResponse, error) {
	payload, err := one(ctx, r.GetResponseDefinition(), serverStream(ctx), r)
	return &pb.IdempotentUnaryResponse{Payload: payload}, err
}

func (conformance) ClientStream(stream grpc.ClientStreamingServer[pb.ClientStreamRequest, pb.ClientStreamResponse]) error {
	var definition *pb.UnaryResponseDefinition
	var requests []proto.Message
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if len(requests) == 0 {
			definition = r.GetResponseDefinition()
		}
		requests = append(requests, r)
	}
	payload, err := one(stream.Context(), definition, stream, requests...)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&pb.ClientStreamResponse{Payload: payload})
}

func (conformance) ServerStream(r *pb.ServerStreamRequest, stream grpc.ServerStreamingServer[pb.ServerStreamResponse]) error {
	a := answers{definition: r.GetResponseDefinition(), send: func(p *pb.ConformancePayload) error {
		return stream.Send(&pb.ServerStreamResponse{Payload: p})
	}}
	if err := begin(stream, a.definition.GetResponseHeaders(), a.definition.GetResponseTrailers()); err != nil {
		return err
	}
	return a.rest(stream.Context(), r)
}

func (conformance) BidiStream(stream grpc.BidiStreamingServer[pb.BidiStreamRequest, pb.BidiStreamResponse]) error {
	a := answers{send: func(p *pb.ConformancePayload) error { return stream.Send(&pb.BidiStreamResponse{Payload: p}) }}
	var requests []proto.Message
	duplex := false
	for received := 0; ; received++ {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if received == 0 {
			a.definition, duplex = r.GetResponseDefinition(), r.GetFullDuplex()
			if err := begin(stream, a.definition.GetResponseHeaders(), a.definition.GetResponseTrailers()); err != nil {
				return err
			}
		}
		requests = append(requests, r)
		if !duplex {
			continue
		}
		if a.sent >= len(a.definition.GetResponseData()) {
			break
		}
		if err := a.next(stream.Context(), requests...); err != nil {
			return err
		}
		requests = nil
	}
	return a.rest(stream.Context(), requests...)
}

// one is the only answer, or the error, that a definition asks for.
func one(ctx context.Context, d *pb.UnaryResponseDefinition, stream metadataSender, requests ...proto.Message) (*pb.ConformancePayload, error) {
	if err := begin(stream, d.GetResponseHeaders(), d.GetResponseTrailers()); err != nil {
		return nil, err
	}
	if err := wait(ctx, d.GetResponseDelayMs()); err != nil {
		return nil, err
	}
	if d.GetError() != nil {
		return nil, failure(d.GetError(), came(ctx, requests))
	}
	return &pb.ConformancePayload{Data: d.GetResponseData(), RequestInfo: came(ctx, requests)}, nil
}

// answers are those of a stream.
type answers struct {
	definition *pb.StreamResponseDefinition
	send       func(*pb.ConformancePayload) error
	sent       int
}

// next sends one: the first with all that came, later ones with new requests.
func (a *answers) next(ctx context.Context, requests ...proto.Message) error {
	p := &pb.ConformancePayload{Data: a.definition.GetResponseData()[a.sent]}
	switch info := came(ctx, requests); {
	case a.sent == 0:
		p.RequestInfo = info
	case len(requests) > 0:
		p.RequestInfo = &pb.ConformancePayload_RequestInfo{Requests: info.GetRequests()}
	}
	if err := wait(ctx, a.definition.GetResponseDelayMs()); err != nil {
		return err
	}
	a.sent++
	return a.send(p)
}

// rest sends those that are left, and the error.
func (a *answers) rest(ctx context.Context, requests ...proto.Message) error {
	for a.sent < len(a.definition.GetResponseData()) {
		if err := a.next(ctx, requests...); err != nil {
			return err
		}
		requests = nil
	}
	switch {
	case a.definition.GetError() == nil:
		return nil
	case a.sent == 0:
		return failure(a.definition.GetError(), came(ctx, requests))
	default:
		return failure(a.definition.GetError(), nil)
	}
}

type metadataSender interface {
	SendHeader(metadata.MD) error
	SetTrailer(metadata.MD)
}

// unaryStream sends the metadata of a unary call.
type unaryStream struct{ grpc.ServerTransportStream }

func (u unaryStream) SetTrailer(md metadata.MD) { _ = u.ServerTransportStream.SetTrailer(md) }

func serverStream(ctx context.Context) metadataSender {
	return unaryStream{grpc.ServerTransportStreamFromContext(ctx)}
}

func begin(stream metadataSender, header, trailer []*pb.Header) error {
	stream.SetTrailer(toMetadata(trailer))
	return stream.SendHeader(toMetadata(header))
}

func toMetadata(headers []*pb.Header) metadata.MD {
	md := metadata.MD{}
	for _, h := range headers {
		md.Append(h.GetName(), h.GetValue()...)
	}
	return md
}

func wait(ctx context.Context, milliseconds uint32) error {
	select {
	case <-time.After(time.Duration(milliseconds) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// came is what came to the server.
func came(ctx context.Context, requests []proto.Message) *pb.ConformancePayload_RequestInfo {
	info := &pb.ConformancePayload_RequestInfo{}
	md, _ := metadata.FromIncomingContext(ctx)
	for name, values := range md {
		info.RequestHeaders = append(info.RequestHeaders, &pb.Header{Name: name, Value: values})
	}
	if deadline, ok := ctx.Deadline(); ok {
		info.TimeoutMs = proto.Int64(max(0, time.Until(deadline).Milliseconds()))
	}
	for _, r := range requests {
		info.Requests = append(info.Requests, anyOf(r))
	}
	return info
}

func failure(e *pb.Error, info *pb.ConformancePayload_RequestInfo) error {
	p := status.New(codes.Code(e.GetCode()), e.GetMessage()).Proto()
	p.Details = e.GetDetails()
	if info != nil {
		p.Details = append(p.Details, anyOf(info))
	}
	return status.ErrorProto(p)
}

func anyOf(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err) // the callers of tests send text only
	}
	return a
}
