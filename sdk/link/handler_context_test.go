package link_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

func TestAHandlerKnowsItsCall(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			if method, ok := grpc.Method(ctx); !ok || method != methodEcho {
				t.Errorf("grpc.Method: got %q, want %q", method, methodEcho)
			}
			if stream := grpc.ServerTransportStreamFromContext(ctx); stream == nil || stream.Method() != methodEcho {
				t.Errorf("grpc.ServerTransportStreamFromContext: got %v, want one of %q", stream, methodEcho)
			}
			if ctx.Err() != nil || context.Cause(ctx) != nil {
				t.Errorf("the context of a call that runs has ended: %v", ctx.Err())
			}
			return nil, nil
		})
		if _, err := call(patiently(t), conn, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestAHandlerKnowsItsPeer(t *testing.T) {
	overAll(t, func(t arena) {
		var got *peer.Peer
		conn := t.serve(func(ctx context.Context, _ []byte) (_ []byte, err error) {
			var ok bool
			if got, ok = peer.FromContext(ctx); !ok {
				return nil, status.Error(codes.Internal, "no peer")
			}
			return nil, nil
		})
		if _, err := call(patiently(t), conn, nil); err != nil {
			t.Fatal(err)
		}
		if got.Addr == nil || got.Addr.Network() != "unix" {
			t.Errorf("got the address %v, want a unix socket's", got.Addr)
		}
		if want := conn.ends.server.LocalAddr(); got.LocalAddr == nil || got.LocalAddr.String() != want.String() {
			t.Errorf("got the local address %v, want %v", got.LocalAddr, want)
		}
	})
}

func TestAHandlersContextHasNothingOfTheCallers(t *testing.T) {
	type key struct{}
	overAll(t, func(t arena) {
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			if v := ctx.Value(key{}); v != nil {
				t.Errorf("got the value %v of the caller's context", v)
			}
			return nil, nil
		})
		if _, err := call(context.WithValue(patiently(t), key{}, "here"), conn, nil); err != nil {
			t.Error(err)
		}
	})
}
