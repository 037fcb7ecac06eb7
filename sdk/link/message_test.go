package link_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// biggest bounds messages here. An answer of that size has to arrive.
const biggest = 64 << 20

// smallest is what each transport has to carry in both directions; larger
// requests may be refused.
const smallest = 64 << 10

// anySize lets gRPC, which refuses answers of more than 4 MiB, take all.
func anySize() grpc.CallOption { return grpc.MaxCallRecvMsgSize(biggest) }

func TestAnEmptyMessageIsAMessage(t *testing.T) {
	overAll(t, func(t arena) {
		calls := 0
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			calls++
			if len(req) != 0 {
				t.Errorf("got the request %q, want none", req)
			}
			return nil, nil
		})
		answer := wrapperspb.Bytes([]byte("of another call"))
		if err := conn.Invoke(patiently(t), methodEcho, new(wrapperspb.BytesValue), answer); err != nil {
			t.Fatal(err)
		}
		if calls != 1 || len(answer.GetValue()) != 0 {
			t.Errorf("got %d calls and the answer %q, want 1 and nothing of an earlier answer", calls, answer.GetValue())
		}
	})
}

func TestAMessageOfAnySizeComesBack(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(echo)
		for _, size := range []int{0, 1, 2, 127, 128, 16383, 16384, 63 << 10, smallest - 256, smallest - 1, smallest, smallest + 1, 1 << 20, 5 << 20} {
			want := noise(size)
			got, err := call(patiently(t), conn, want, anySize())
			switch {
			case size > smallest-256 && t.refuses != nil && err != nil: // the request's envelope counts too
				if !t.refuses(err) {
					t.Errorf("%d bytes: got %v, want an answer or the documented refusal", size, err)
				}
			case err != nil:
				t.Errorf("%d bytes: %v", size, err)
			case !bytes.Equal(got, want):
				t.Errorf("%d bytes: got other bytes back (%d of them)", size, len(got))
			}
		}
		if got, err := call(patiently(t), conn, []byte("after")); err != nil || string(got) != "after" {
			t.Errorf("the connection did not survive: got %q, %v", got, err)
		}
	})
}

func TestAnAnswerOfAnySizeArrives(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			return noise(int(binary.LittleEndian.Uint32(req))), nil
		})
		const overhead = 16 // tag and length of BytesValue
		for _, size := range []int{0, 1, 63 << 10, smallest - 1, smallest, smallest + 1, 1 << 20, 5 << 20, biggest - overhead} {
			got, err := call(patiently(t), conn, binary.LittleEndian.AppendUint32(nil, uint32(size)), anySize())
			if err != nil {
				t.Errorf("%d bytes: %v", size, err)
			} else if !bytes.Equal(got, noise(size)) {
				t.Errorf("%d bytes: got other bytes (%d of them)", size, len(got))
			}
		}
	})
}

// noise is size bytes, the same each time and others for another size. They
// repeat, but at no distance at which a transport would cut them.
func noise(size int) []byte {
	block := randomBlock()
	begin := size % len(block)
	return bytes.Repeat(block, size/len(block)+2)[begin : begin+size]
}

var randomBlock = sync.OnceValue(func() []byte {
	b := make([]byte, 65_521) // a prime
	random := rand.New(rand.NewPCG(7, 7))
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
})

func TestARequestThatCannotBeDecodedIsInternal(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(context.Context, []byte) ([]byte, error) {
			t.Error("the handler was called")
			return nil, nil
		})
		var answer []byte
		err := conn.Invoke(patiently(t), methodEcho, []byte("\x0a\xff"), &answer, grpc.ForceCodecV2(rawCodec{}))
		wantCode(t, err, codes.Internal)
	})
}

func TestAnAnswerOfAnotherTypeIsInternal(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(context.Context, []byte) ([]byte, error) { return []byte("\xff no UTF-8"), nil })
		err := conn.Invoke(patiently(t), methodEcho, new(emptypb.Empty), new(wrapperspb.StringValue))
		wantCode(t, err, codes.Internal)
	})
}

func TestAnAnswerThatIsNoMessageIsInternal(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serveStation(station{anything: func(context.Context) (any, error) { return "a string", nil }}, nil)
		err := conn.Invoke(patiently(t), methodAny, new(emptypb.Empty), new(emptypb.Empty))
		wantCode(t, err, codes.Internal)
	})
}

func TestNoAnswerAndNoErrorIsAnEmptyAnswer(t *testing.T) {
	overAll(t, func(t arena) {
		for _, nothing := range []any{nil, (*wrapperspb.BytesValue)(nil)} {
			conn := t.serveStation(station{anything: func(context.Context) (any, error) { return nothing, nil }}, nil)
			answer := wrapperspb.Bytes([]byte("of another call"))
			if err := conn.Invoke(patiently(t), methodAny, new(emptypb.Empty), answer); err != nil {
				t.Errorf("%T: %v", nothing, err)
			}
			if len(answer.GetValue()) != 0 {
				t.Errorf("%T: got the answer %q, want an empty one", nothing, answer.GetValue())
			}
		}
	})
}

func TestARequestThatIsNoMessageIsNotSent(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(context.Context, []byte) ([]byte, error) {
			t.Error("the handler was called")
			return nil, nil
		})
		err := conn.Invoke(patiently(t), methodEcho, "a string", new(emptypb.Empty))
		wantCode(t, err, codes.Internal)
	})
}

func TestNoRequestIsAnEmptyRequest(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			return append(req, "answered"...), nil
		})
		for _, nothing := range []any{nil, (*wrapperspb.BytesValue)(nil)} {
			answer := new(wrapperspb.BytesValue)
			if err := conn.Invoke(patiently(t), methodEcho, nothing, answer); err != nil || string(answer.GetValue()) != "answered" {
				t.Errorf("%T: got %q, %v; want an answer", nothing, answer.GetValue(), err)
			}
		}
	})
}
