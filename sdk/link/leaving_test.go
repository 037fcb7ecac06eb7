package link_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestACallerMayLeaveInTheMiddleOfAnAnswer(t *testing.T) {
	const callers, each, size = 8, 60, 700_000
	overEach(t, func(t arena) {
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			return bytes.Repeat(req, size/len(req)), nil
		})
		var answered, left atomic.Int64
		var faults tally
		var running sync.WaitGroup
		for caller := range callers {
			running.Go(func() {
				random := rand.New(rand.NewPCG(uint64(caller), 3))
				for i := range each {
					req := []byte(strconv.Itoa(1_000_000 + caller*each + i))
					ctx, leave := context.WithTimeout(t.Context(), time.Duration(random.IntN(40_000))*time.Microsecond)
					got, err := call(ctx, conn, req, anySize())
					leave()
					switch {
					case status.Code(err) == codes.DeadlineExceeded:
						left.Add(1)
					case err != nil:
						faults.add("got %v", err)
					case !bytes.Equal(got, bytes.Repeat(req, size/len(req))):
						faults.add("an answer with parts of another")
					default:
						answered.Add(1)
					}
				}
			})
		}
		running.Wait()
		faults.report(t)
		t.Logf("%d answers, %d callers left", answered.Load(), left.Load())
		if got, err := call(patiently(t), conn, []byte("after"), anySize()); err != nil || len(got) != size {
			t.Errorf("after that: got %d bytes, %v", len(got), err)
		}
	})
}
