package link_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type noteKey struct{}

func TestAnInterceptorSeesTheCallAndMayChangeAllOfIt(t *testing.T) {
	overAll(t, func(t arena) {
		intercept := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if _, ok := info.Server.(station); !ok || info.FullMethod != methodEcho {
				t.Errorf("got the method %q of %T, want %q of a station", info.FullMethod, info.Server, methodEcho)
			}
			asked := string(req.(*wrapperspb.BytesValue).GetValue())
			switch asked {
			case "refuse":
				return nil, status.Error(codes.PermissionDenied, "refused")
			case "answer":
				return wrapperspb.Bytes([]byte("answered by the interceptor")), nil
			}
			answer, err := next(context.WithValue(ctx, noteKey{}, "note"), wrapperspb.Bytes([]byte(asked+"+req")))
			if setErr := grpc.SetTrailer(ctx, metadata.Pairs("x-t", "interceptor")); setErr != nil {
				t.Error(setErr)
			}
			if err != nil {
				return nil, status.Errorf(codes.Aborted, "was %v", status.Code(err))
			}
			return wrapperspb.Bytes(append(answer.(*wrapperspb.BytesValue).GetValue(), "+answer"...)), nil
		}
		var handled []string
		conn := t.serveStation(station{echo: func(ctx context.Context, req []byte) ([]byte, error) {
			handled = append(handled, string(req))
			if ctx.Value(noteKey{}) != "note" {
				t.Error("the handler does not see the interceptor's context")
			}
			if err := grpc.SetTrailer(ctx, metadata.Pairs("x-t", "handler")); err != nil {
				t.Error(err)
			}
			if string(req) == "fail+req" {
				return nil, status.Error(codes.NotFound, "no")
			}
			return append(req, "+handler"...), nil
		}}, intercept)
		for _, c := range []struct {
			req, answer string
			code        codes.Code
			trailer     pairs
		}{
			{"go", "go+req+handler+answer", codes.OK, pairs{"x-t": {"handler", "interceptor"}}},
			{"refuse", "", codes.PermissionDenied, pairs{}},
			{"answer", "answered by the interceptor", codes.OK, pairs{}},
			{"fail", "", codes.Aborted, pairs{"x-t": {"handler", "interceptor"}}},
		} {
			var trailer metadata.MD
			got, err := call(patiently(t), conn, []byte(c.req), grpc.Trailer(&trailer))
			if string(got) != c.answer || status.Code(err) != c.code {
				t.Errorf("%s: got %q, %v; want %q, %v", c.req, got, err, c.answer, c.code)
			}
			wantMetadata(t, c.req+": trailer", trailer, c.trailer)
		}
		if len(handled) != 2 {
			t.Errorf("the handler got %q, want go and fail only", handled)
		}
	})
}

func TestAnInterceptorDoesNotSeeWhatCannotBeCalled(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serveStation(station{echo: echo}, func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
			t.Error("the interceptor was called")
			return nil, nil
		})
		wantCode(t, conn.Invoke(patiently(t), "/nobody/Nothing", new(emptypb.Empty), new(emptypb.Empty)), codes.Unimplemented)
		var answer []byte
		err := conn.Invoke(patiently(t), methodEcho, []byte("\x0a\xff"), &answer, grpc.ForceCodecV2(rawCodec{}))
		wantCode(t, err, codes.Internal)
	})
}
