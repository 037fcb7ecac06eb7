package gateway

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/sdk/link"
)

// largeAnswer is a multiple of nothing that the link reckons in.
const largeAnswer = 5<<20 + 17

// largeEcho answers "large" with much, and all else with itself.
func largeEcho() (e echo, large []byte) {
	large = make([]byte, largeAnswer)
	for i := range large {
		large[i] = byte(i>>16) ^ byte(i*31)
	}
	return echo{unary: func(_ context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		if string(r.GetValue()) == "large" {
			return wrapperspb.Bytes(large), nil
		}
		return r, nil
	}}, large
}

func TestALargeAnswerComesWhole(t *testing.T) { overEach(t, aLargeAnswerComesWhole) }

func aLargeAnswerComesWhole(t trial) {
	e, large := largeEcho()
	h := echoHost(t, e)
	var calling sync.WaitGroup
	for range 4 {
		calling.Go(func() {
			for range 5 {
				if got, err := h.call(t.Context(), []byte("large")); err != nil || !bytes.Equal(got, large) {
					t.Errorf("%d bytes came back of %d, %v", len(got), len(large), err)
				}
			}
		})
	}
	calling.Wait()
}

// slowReader takes an answer part by part, as it is told to.
type slowReader struct {
	handle link.Handle
	parts  chan part
}

// part is what comes of an answer at once.
type part struct {
	begins, ends bool
	code         codes.Code
	bytes        []byte
}

// echoRequest is a call of the test service.
func echoRequest(t testing.TB, payload string) *link.Request {
	t.Helper()
	message, err := proto.Marshal(wrapperspb.Bytes([]byte(payload)))
	if err != nil {
		t.Fatal(err)
	}
	return &link.Request{Method: unaryMethod, Payload: message}
}

// newSlowReader calls the echo service.
func newSlowReader(t testing.TB, l *link.Conn, payload string) *slowReader {
	t.Helper()
	r := &slowReader{parts: make(chan part, 1<<10)}
	if err := l.Start(echoRequest(t, payload), r, &r.handle, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// Receive implements link.Receiver.
func (r *slowReader) Receive(a *link.Answer) {
	r.parts <- part{!a.Part, !a.More, a.Code, bytes.Clone(a.Payload)}
}

// unpaid reads what comes without credit.
func (r *slowReader) unpaid() (got []byte) {
	for len(got) < 256<<10 {
		got = append(got, (<-r.parts).bytes...)
	}
	return got
}

// rest reads what follows after got, for credit, and returns all.
func (r *slowReader) rest(got []byte) ([]byte, codes.Code) {
	credit := len(got)
	for {
		for ; credit >= link.MaxPayload; credit -= link.MaxPayload {
			r.handle.Credit(link.MaxPayload, nil)
		}
		p := <-r.parts
		if p.begins {
			got = got[:0]
		}
		got, credit = append(got, p.bytes...), credit+len(p.bytes)
		if p.ends {
			return got, p.code
		}
	}
}

func TestASlowReaderOfALargeAnswerDelaysNobody(t *testing.T) {
	e, large := largeEcho()
	h := echoHost(overLink(t), e)
	slow := openLink(t, h.address)
	r := newSlowReader(t, slow, "large")
	got := r.unpaid()
	other := dialHost(overLink(t), h.address)
	for _, quick := range []struct {
		caller string
		call   func() error
	}{
		{"another caller", func() error {
			return other.Invoke(t.Context(), unaryMethod, wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
		}},
		{"the same one", func() error {
			return slow.Invoke(t.Context(), unaryMethod, wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
		}},
	} {
		for range 1000 {
			if err := quick.call(); err != nil {
				t.Fatalf("%s: %v", quick.caller, err)
			}
		}
	}
	if n := len(r.parts); n != 0 {
		t.Errorf("%d parts came without credit", n)
	}
	got, code := r.rest(got)
	if code != codes.OK {
		t.Errorf("it ended with %v", code)
	}
	response := new(wrapperspb.BytesValue)
	if err := proto.Unmarshal(got, response); err != nil || !bytes.Equal(response.GetValue(), large) {
		t.Errorf("%d bytes came back of %d, %v", len(response.GetValue()), len(large), err)
	}
}

// A call that is given up while a part of its answer passes the host ends once,
// and what is left of the part is not taken for the answer to another call.
func TestALargeAnswerThatIsGivenUpDisturbsNoOtherCall(t *testing.T) {
	overEach(t, aLargeAnswerThatIsGivenUpDisturbsNoOtherCall)
}

func aLargeAnswerThatIsGivenUpDisturbsNoOtherCall(t trial) {
	e, large := largeEcho()
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, e)), Gate: gate.New(gate.Config{Limits: gate.Limits{Concurrency: 100}}, nil)}
	h := startHost(t, Options{}, sub)
	var calling, quick sync.WaitGroup
	var done atomic.Bool
	quick.Go(func() {
		payload := make([]byte, 100)
		for i := 0; !done.Load(); i++ {
			payload[0], payload[1] = byte(i), byte(i>>8)
			if got, err := h.call(t.Context(), payload); err != nil || !bytes.Equal(got, payload) {
				t.Errorf("a quick call: %d bytes, %v", len(got), err)
				return
			}
		}
	})
	for caller := range 8 {
		calling.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), 1))
			for range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(30_000))*time.Microsecond)
				if caller%2 == 0 {
					timer := time.AfterFunc(time.Duration(random.IntN(30_000))*time.Microsecond, cancel)
					defer timer.Stop()
				}
				got, err := h.call(ctx, []byte("large"))
				cancel()
				switch code := status.Code(err); {
				case err == nil && !bytes.Equal(got, large):
					t.Errorf("%d bytes came back of %d", len(got), len(large))
				case code != codes.OK && code != codes.Canceled && code != codes.DeadlineExceeded:
					t.Errorf("got %v", err)
				}
			}
		})
	}
	calling.Wait()
	done.Store(true)
	quick.Wait()
}
