package link_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// wantMetadata compares a header or a trailer that a caller got.
func wantMetadata(tb testing.TB, what string, got metadata.MD, want pairs) {
	tb.Helper()
	if diff := cmp.Diff(want, ours(got)); diff != "" {
		tb.Errorf("%s: -want +got:\n%s", what, diff)
	}
}

func TestTheCallerSeesTheHandlersHeaderAndTrailer(t *testing.T) {
	set := func(ctx context.Context) error {
		return errors.Join(
			grpc.SetHeader(ctx, metadata.Pairs("X-H", "1", "x-h-bin", everyByte())),
			grpc.SetHeader(ctx, nil),
			grpc.SetTrailer(ctx, metadata.Pairs("X-T", "1", "x-t-bin", everyByte())),
			grpc.SetHeader(ctx, metadata.Pairs("x-h", "2", "x-empty", "")),
			grpc.SetTrailer(ctx, metadata.Pairs("x-t", "2", "x-empty", "")),
			grpc.SetTrailer(ctx, nil),
		)
	}
	header := pairs{"x-h": {"1", "2"}, "x-h-bin": {everyByte()}, "x-empty": {""}}
	trailer := pairs{"x-t": {"1", "2"}, "x-t-bin": {everyByte()}, "x-empty": {""}}
	sent := pairs{"x-h": {"1", "2", "3"}, "x-h-bin": {everyByte()}, "x-empty": {""}}
	none := pairs{}
	failure := status.Error(codes.NotFound, "no")

	overAll(t, func(t arena) {
		for name, c := range map[string]struct {
			do              func(ctx context.Context) error
			err             error
			header, trailer pairs
		}{
			"none":        {func(context.Context) error { return nil }, nil, none, none},
			"none, error": {func(context.Context) error { return nil }, failure, none, none},
			"both":        {set, nil, header, trailer},
			"both, error": {set, failure, header, trailer},
			"sent": {func(ctx context.Context) error {
				return errors.Join(set(ctx), grpc.SendHeader(ctx, metadata.Pairs("x-h", "3")))
			}, nil, sent, trailer},
			"sent, error": {func(ctx context.Context) error {
				return errors.Join(set(ctx), grpc.SendHeader(ctx, metadata.Pairs("x-h", "3")))
			}, failure, sent, trailer},
			"sent without any": {func(ctx context.Context) error { return grpc.SendHeader(ctx, nil) }, nil, none, none},
			"a trailer only":   {func(ctx context.Context) error { return grpc.SetTrailer(ctx, metadata.Pairs("x-t", "1")) }, failure, none, pairs{"x-t": {"1"}}},
			"a header only":    {func(ctx context.Context) error { return grpc.SetHeader(ctx, metadata.Pairs("x-h", "1")) }, nil, pairs{"x-h": {"1"}}, none},
			"the same in both": {func(ctx context.Context) error {
				return errors.Join(grpc.SetHeader(ctx, metadata.Pairs("x", "1")), grpc.SetTrailer(ctx, metadata.Pairs("x", "1")))
			}, nil, none, none},
			"trailer when sent": {func(ctx context.Context) error {
				return errors.Join(grpc.SendHeader(ctx, nil), grpc.SetTrailer(ctx, metadata.Pairs("x-t", "1")))
			}, nil, none, pairs{"x-t": {"1"}}},
		} {
			conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
				if err := c.do(ctx); err != nil {
					return nil, status.Errorf(codes.Internal, "in the handler: %v", err)
				}
				return nil, c.err
			})
			gotHeader, gotTrailer := metadata.Pairs("x-old", "1"), metadata.Pairs("x-old", "1")
			_, err := call(patiently(t), conn, nil, grpc.Header(&gotHeader), grpc.Trailer(&gotTrailer))
			if status.Code(err) != status.Code(c.err) {
				t.Errorf("%s: got %v, want %v", name, err, c.err)
			}
			wantMetadata(t, name+": header", gotHeader, c.header)
			wantMetadata(t, name+": trailer", gotTrailer, c.trailer)
		}
	})
}

func TestAHeaderIsSentOnce(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			if err := grpc.SendHeader(ctx, metadata.Pairs("x-h", "1")); err != nil {
				t.Errorf("SendHeader: %v", err)
			}
			if grpc.SendHeader(ctx, metadata.Pairs("x-h", "2")) == nil {
				t.Error("SendHeader worked twice")
			}
			if grpc.SetHeader(ctx, metadata.Pairs("x-h", "3")) == nil {
				t.Error("SetHeader worked after SendHeader")
			}
			return req, nil
		})
		var header metadata.MD
		if got, err := call(patiently(t), conn, []byte("a"), grpc.Header(&header)); err != nil || string(got) != "a" {
			t.Errorf("got %q, %v", got, err)
		}
		wantMetadata(t, "header", header, pairs{"x-h": {"1"}})
	})
}

func TestWhatTheHandlerHasSetIsItsOwnAgain(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			md := metadata.Pairs("x-a", "1")
			if err := errors.Join(grpc.SetHeader(ctx, md), grpc.SetTrailer(ctx, md)); err != nil {
				return nil, err
			}
			md.Set("x-b", "2")
			return nil, nil
		})
		var header, trailer metadata.MD
		if _, err := call(patiently(t), conn, nil, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		wantMetadata(t, "header", header, pairs{"x-a": {"1"}})
		wantMetadata(t, "trailer", trailer, pairs{"x-a": {"1"}})
		header.Set("x-a", "spoilt") // and the caller's: the next call's is another
		var next metadata.MD
		if _, err := call(patiently(t), conn, nil, grpc.Header(&next)); err != nil {
			t.Fatal(err)
		}
		wantMetadata(t, "the next header", next, pairs{"x-a": {"1"}})
	})
}

func TestAHandlersGoroutinesMaySetTrailersAtOnce(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			var setters sync.WaitGroup
			for range 8 {
				setters.Go(func() {
					if err := errors.Join(grpc.SetHeader(ctx, metadata.Pairs("x-h", "1")), grpc.SetTrailer(ctx, metadata.Pairs("x-t", "1"))); err != nil {
						t.Error(err)
					}
				})
			}
			setters.Wait()
			return nil, nil
		})
		var header, trailer metadata.MD
		if _, err := call(patiently(t), conn, nil, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		if h, tr := len(header["x-h"]), len(trailer["x-t"]); h != 8 || tr != 8 {
			t.Errorf("got %d in the header and %d in the trailer, want 8 of each", h, tr)
		}
	})
}

func TestAHeaderThatHTTPCannotCarryFailsItsCall(t *testing.T) {
	overAll(t, func(t arena) {
		var md metadata.MD
		var set func(context.Context, metadata.MD) error
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			_ = set(ctx, md) // gRPC does not notice before it sends
			return req, nil
		})
		for name, setter := range map[string]func(context.Context, metadata.MD) error{
			"SetHeader": grpc.SetHeader, "SendHeader": grpc.SendHeader, "SetTrailer": grpc.SetTrailer,
		} {
			set = setter
			for fault, invalid := range map[string]metadata.MD{
				"an empty key":       {"": {"1"}},
				"a key in capitals":  {"X-A": {"1"}},
				"a key with a space": {"x a": {"1"}},
				"two lines":          {"x-a": {"1\n2"}},
			} {
				md = invalid
				if _, err := call(patiently(t), conn, nil); status.Code(err) != codes.Internal {
					t.Errorf("%s of %s: got %v, want Internal", name, fault, err)
				}
			}
			md = nil
			if _, err := call(patiently(t), conn, nil); err != nil {
				t.Errorf("%s: the next call: %v", name, err)
			}
		}
	})
}

func TestAKeyThatIsGRPCsOwnIsNotTheHandlers(t *testing.T) {
	overAll(t, func(t arena) {
		reserved := metadata.MD{"x-a": {"1"}}
		for _, key := range []string{"content-type", "user-agent", "te", "grpc-status", "grpc-message", "grpc-encoding", "grpc-timeout", ":status"} {
			reserved.Set(key, "5")
		}
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			return req, errors.Join(grpc.SetHeader(ctx, reserved), grpc.SetTrailer(ctx, reserved))
		})
		var header, trailer metadata.MD
		if _, err := call(patiently(t), conn, nil, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		for what, md := range map[string]metadata.MD{"header": header, "trailer": trailer} {
			wantMetadata(t, what, md, pairs{"x-a": {"1"}})
			for key, values := range md {
				if key != "x-a" && slices.Contains(values, "5") {
					t.Errorf("%s: got the handler's value of %s", what, key)
				}
			}
		}
	})
}

func TestAHeadersValueNeedNotBeASCII(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			return req, errors.Join(grpc.SetHeader(ctx, metadata.Pairs("x-h", "größer")), grpc.SetTrailer(ctx, metadata.Pairs("x-t", "\xff")))
		})
		var header, trailer metadata.MD
		if _, err := call(patiently(t), conn, nil, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		wantMetadata(t, "header", header, pairs{"x-h": {"größer"}})
		wantMetadata(t, "trailer", trailer, pairs{"x-t": {"\xff"}})
	})
}

func TestBigMetadataArrivesOrIsRefused(t *testing.T) {
	overAll(t, func(t arena) {
		for _, size := range []int{4 << 10, 8 << 10, 16 << 10, 70 << 10, 200 << 10} {
			value := strings.Repeat("v", size)
			var seen metadata.MD
			conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
				seen, _ = metadata.FromIncomingContext(ctx)
				if string(req) != "set" {
					return req, nil
				}
				return req, errors.Join(grpc.SetHeader(ctx, metadata.Pairs("x-h", value)), grpc.SetTrailer(ctx, metadata.Pairs("x-t", value)))
			})
			switch _, err := call(metadata.AppendToOutgoingContext(patiently(t), "x-a", value), conn, nil); {
			case t.refuses != nil && err != nil:
				if !t.refuses(err) {
					t.Errorf("%d bytes of the caller's: got %v, want the documented refusal", size, err)
				}
			case err != nil || len(seen["x-a"]) != 1 || seen["x-a"][0] != value:
				t.Errorf("%d bytes of the caller's: got other bytes, %v", size, err)
			}
			var header, trailer metadata.MD
			switch _, err := call(patiently(t), conn, []byte("set"), grpc.Header(&header), grpc.Trailer(&trailer)); {
			case t.refuses != nil && err != nil:
				wantCode(t, err, codes.ResourceExhausted) // the handler has run; gRPC would do no better
			case err != nil || len(header["x-h"]) != 1 || header["x-h"][0] != value || len(trailer["x-t"]) != 1 || trailer["x-t"][0] != value:
				t.Errorf("%d bytes of the handler's: got other bytes, %v", size, err)
			}
			if _, err := call(patiently(t), conn, nil); err != nil {
				t.Errorf("after %d bytes: %v", size, err)
			}
		}
	})
}
