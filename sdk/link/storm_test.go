package link_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A storm's request is a number, an order to the handler and padding.
const (
	answerAtOnce = iota
	answerLater
	answerBig   // in several frames, if the transport has any
	answerNever // until the context ends
	failWithANumber
	orders
)

func stormRequest(random *rand.Rand, number uint64) (req []byte, order byte) {
	req = binary.BigEndian.AppendUint64(nil, number)
	order = byte(random.IntN(orders))
	size := random.IntN(200)
	if random.IntN(20) == 0 {
		size = random.IntN(60_000)
	}
	return append(append(req, order), noise(size)...), order
}

func stormAnswer(req []byte) []byte {
	times := 2
	if req[8] == answerBig {
		times += 200_000 / len(req)
	}
	return bytes.Repeat(req, times)
}

func ride(ctx context.Context, req []byte) ([]byte, error) {
	number := binary.BigEndian.Uint64(req)
	if id := idOf(ctx); id != fmt.Sprintf("[%d]", number) {
		return nil, status.Errorf(codes.DataLoss, "the metadata of call %s came with the request of call %d", id, number)
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-id", fmt.Sprint(number))); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadata.Pairs("x-id", fmt.Sprint(number))); err != nil {
		return nil, err
	}
	switch req[8] {
	case answerLater:
		late := time.NewTimer(time.Duration(number%1000) * time.Microsecond)
		defer late.Stop()
		<-late.C
	case answerNever:
		<-ctx.Done()
		return nil, ctx.Err()
	case failWithANumber:
		return nil, status.Error(codes.Aborted, fmt.Sprint(number))
	}
	return stormAnswer(req), nil
}

func TestInAStormOfCancellationsEachAnswerIsItsRequests(t *testing.T) {
	const callers, each = 64, 60
	overEach(t, func(t arena) {
		conn := t.serve(ride)
		var answered, failed, left atomic.Int64
		ctx := patiently(t)
		var storm sync.WaitGroup
		for caller := range callers {
			storm.Go(func() {
				random := rand.New(rand.NewPCG(uint64(caller), 2))
				for i := range each {
					number := uint64(caller*each + i)
					req, order := stormRequest(random, number)
					ctx, leave := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "x-id", fmt.Sprint(number)))
					patience := time.Duration(random.IntN(2000)) * time.Microsecond
					timed := false // a deadline may be seen to pass before ctx knows
					switch {
					case order != answerNever && random.IntN(2) == 0:
					case random.IntN(2) == 0:
						defer time.AfterFunc(patience, leave).Stop()
					default:
						timed = true
						ctx, leave = context.WithTimeout(ctx, patience)
					}
					var header, trailer metadata.MD
					got, err := call(ctx, conn, req, grpc.Header(&header), grpc.Trailer(&trailer))
					switch code := status.Code(err); {
					case code == codes.OK && order <= answerBig:
						answered.Add(1)
						if want := stormAnswer(req); !bytes.Equal(got, want) {
							t.Errorf("call %d: got the answer of another (%d bytes, want %d)", number, len(got), len(want))
						}
					case code == codes.Aborted && order == failWithANumber && status.Convert(err).Message() == fmt.Sprint(number):
						failed.Add(1)
					case timed && code == codes.DeadlineExceeded, ctx.Err() != nil && code == codes.Canceled:
						left.Add(1)
						leave()
						continue
					default:
						t.Errorf("call %d with order %d: got %v", number, order, err)
					}
					leave()
					want := pairs{"x-id": {fmt.Sprint(number)}}
					wantMetadata(t, "header", header, want)
					wantMetadata(t, "trailer", trailer, want)
				}
			})
		}
		storm.Wait()
		t.Logf("%d answers, %d errors, %d callers left", answered.Load(), failed.Load(), left.Load())
		if got, err := call(metadata.AppendToOutgoingContext(ctx, "x-id", "7"), conn, append(binary.BigEndian.AppendUint64(nil, 7), answerAtOnce)); err != nil || len(got) != 18 {
			t.Errorf("after the storm: got %d bytes, %v", len(got), err)
		}
	})
}
