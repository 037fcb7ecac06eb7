package link_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestOptionsThatChangeNothingChangeNothing(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(echo)
		for name, option := range map[string]grpc.CallOption{
			"StaticMethod":          grpc.StaticMethod(),
			"WaitForReady":          grpc.WaitForReady(true),
			"CallContentSubtype":    grpc.CallContentSubtype("proto"),
			"MaxRetryRPCBufferSize": grpc.MaxRetryRPCBufferSize(0),
			"EmptyCallOption":       grpc.EmptyCallOption{},
		} {
			got, err := call(patiently(t), conn, []byte("a"), option)
			if name == "CallContentSubtype" && t.refuses != nil && t.refuses(err) {
				continue
			}
			if err != nil || string(got) != "a" {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
		}
	})
}

func TestPeerTellsTheCallerWhoAnswers(t *testing.T) {
	overAll(t, func(t arena) {
		var failure error
		conn := t.serve(func(context.Context, []byte) ([]byte, error) { return nil, failure })
		for _, failure = range []error{nil, status.Error(codes.NotFound, "no")} {
			var p peer.Peer
			if _, err := call(patiently(t), conn, nil, grpc.Peer(&p)); status.Code(err) != status.Code(failure) {
				t.Fatal(err)
			}
			if p.Addr == nil || p.Addr.Network() != "unix" || p.Addr.String() != conn.ends.client.RemoteAddr().String() {
				t.Errorf("got the peer %v, want the other end, %v", &p, conn.ends.client.RemoteAddr())
			}
		}
	})
}

func TestOnFinishIsToldTheResultBeforeTheCallReturns(t *testing.T) {
	overAll(t, func(t arena) {
		var failure error
		conn := t.serve(func(context.Context, []byte) ([]byte, error) { return nil, failure })
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for name, c := range map[string]struct {
			ctx     context.Context //nolint:containedctx // one of the cases
			failure error
			method  string
			options []grpc.CallOption
		}{
			"an answer":            {ctx: patiently(t)},
			"an error":             {ctx: patiently(t), failure: status.Error(codes.NotFound, "no")},
			"no method":            {ctx: patiently(t), method: "/nobody/Nothing"},
			"a cancelled context":  {ctx: ended},
			"too big an answer":    {ctx: patiently(t), options: []grpc.CallOption{grpc.MaxCallRecvMsgSize(1)}},
			"too big a request":    {ctx: patiently(t), options: []grpc.CallOption{grpc.MaxCallSendMsgSize(1)}},
			"impossible metadata":  {ctx: metadata.AppendToOutgoingContext(patiently(t), "x-a", "\n")},
			"an answer of no type": {ctx: patiently(t), options: []grpc.CallOption{grpc.ForceCodecV2(brokenCodec{decode: true})}},
		} {
			failure = c.failure
			method := methodEcho
			if c.method != "" {
				method = c.method
			}
			var told []error
			tell := func(err error) { told = append(told, err) }
			var answer []byte
			options := append([]grpc.CallOption{grpc.ForceCodecV2(rawCodec{}), grpc.OnFinish(tell), grpc.OnFinish(tell)}, c.options...)
			err := conn.Invoke(c.ctx, method, []byte("\x0a\x00"), &answer, options...)
			if len(told) != 2 || status.Code(told[0]) != status.Code(err) || status.Code(told[1]) != status.Code(err) {
				t.Errorf("%s: got %v, told %v; want the same, once to each", name, err, told)
			}
		}
	})
}

func TestAnAnswerMayBeAsBigAsTheCallerAllows(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(echo)
		req := make([]byte, 1000)
		size := protowire.SizeTag(1) + protowire.SizeBytes(len(req))
		if _, err := call(patiently(t), conn, req, grpc.MaxCallRecvMsgSize(size)); err != nil {
			t.Errorf("%d bytes allowed and needed: %v", size, err)
		}
		_, err := call(patiently(t), conn, req, grpc.MaxCallRecvMsgSize(size-1))
		wantCode(t, err, codes.ResourceExhausted)
		_, err = call(patiently(t), conn, nil, grpc.MaxCallRecvMsgSize(0))
		wantCode(t, err, codes.OK)
		if _, err := call(patiently(t), conn, req); err != nil {
			t.Errorf("the next call: %v", err)
		}
	})
}

func TestARequestMayBeAsBigAsTheCallerAllows(t *testing.T) {
	overAll(t, func(t arena) {
		var handled atomic.Int32
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			handled.Add(1)
			return req, nil
		})
		req := make([]byte, 1000)
		size := protowire.SizeTag(1) + protowire.SizeBytes(len(req))
		if _, err := call(patiently(t), conn, req, grpc.MaxCallSendMsgSize(size)); err != nil {
			t.Errorf("%d bytes allowed and needed: %v", size, err)
		}
		_, err := call(patiently(t), conn, req, grpc.MaxCallSendMsgSize(size-1))
		wantCode(t, err, codes.ResourceExhausted)
		if n := handled.Load(); n != 1 {
			t.Errorf("got %d calls in the handler, want 1", n)
		}
	})
}

// token is a caller's credential.
type token struct{ needsTLS bool }

func (token) GetRequestMetadata(_ context.Context, uri ...string) (map[string]string, error) {
	return map[string]string{"x-token": "secret"}, nil
}
func (t token) RequireTransportSecurity() bool { return t.needsTLS }

func TestPerRPCCredentialsAreNotLost(t *testing.T) {
	overAll(t, func(t arena) {
		var seen metadata.MD
		conn := t.serve(incoming(&seen))
		ctx := metadata.AppendToOutgoingContext(patiently(t), "x-a", "1")
		_, err := call(ctx, conn, nil, grpc.PerRPCCredentials(token{}))
		if t.refuses != nil && t.refuses(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(pairs{"x-a": {"1"}, "x-token": {"secret"}}, ours(seen)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		_, err = call(patiently(t), conn, nil, grpc.PerRPCCredentials(token{needsTLS: true}))
		wantCode(t, err, codes.Unauthenticated)
	})
}

func TestALaterOptionWins(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(echo)
		if _, err := call(patiently(t), conn, make([]byte, 100), grpc.MaxCallRecvMsgSize(1), grpc.MaxCallRecvMsgSize(1000)); err != nil {
			t.Error(err)
		}
		_, err := call(patiently(t), conn, make([]byte, 100), grpc.MaxCallRecvMsgSize(1000), grpc.MaxCallRecvMsgSize(1))
		wantCode(t, err, codes.ResourceExhausted)
	})
}
