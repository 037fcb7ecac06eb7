package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	maxBatch         = 1000
	batchConcurrency = 16       // unless the caller says otherwise
	maxBatchBytes    = 32 << 20 // of the responses together
)

// Batch sends the requests as Do does, so many at once, and returns what became
// of each. It returns when all have ended: at the end of the call's context
// those under way are cancelled, and the rest is not begun.
func (p *Pool) Batch(ctx context.Context, message *apiv1.BatchRequest) (*apiv1.BatchResponse, error) {
	requests, concurrency := message.GetRequests(), int(message.GetConcurrency())
	var faults faults
	if n := len(requests); n == 0 || n > maxBatch {
		faults.add("requests", "%d; a batch has 1 to %d", n, maxBatch)
	}
	if concurrency > maxBatch {
		faults.add("concurrency", "%d is above %d", concurrency, maxBatch)
	}
	if err := faults.err(); err != nil {
		return nil, err
	}
	if concurrency == 0 {
		concurrency = batchConcurrency
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &batch{pool: p, results: make([]*apiv1.BatchResult, len(requests)), full: cancel}
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(concurrency, len(requests)) {
		wg.Go(func() {
			for i := range next {
				b.results[i] = b.do(ctx, requests[i])
			}
		})
	}
	for i := range requests {
		next <- i // the workers take what is left at the end of ctx, too, and only note it
	}
	close(next)
	wg.Wait()
	return &apiv1.BatchResponse{Results: b.results}, b.ended(ctx)
}

// batch is one Batch under way.
type batch struct {
	pool    *Pool
	results []*apiv1.BatchResult
	full    context.CancelCauseFunc // ends all requests under way

	mu   sync.Mutex
	size int // of the responses so far
}

// errBatchFull is why a batch's rest is not sent.
type errBatchFull struct{}

func (errBatchFull) Error() string {
	return fmt.Sprintf("the batch's responses together are over %d bytes; ask for fewer at once, or one by one", maxBatchBytes)
}

// do makes one request and returns what became of it.
func (b *batch) do(ctx context.Context, request *apiv1.DoRequest) *apiv1.BatchResult {
	if ctx.Err() != nil {
		return b.rest(ctx)
	}
	response, err := b.pool.Do(ctx, request)
	switch {
	case err == nil && b.take(proto.Size(response)):
		return &apiv1.BatchResult{Response: response}
	case err != nil && ctx.Err() == nil:
		return failed(status.Convert(err))
	}
	return b.rest(ctx)
}

// take counts a response in and reports whether there is room for it. The first
// one for which there is none ends the batch.
func (b *batch) take(size int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size+size > maxBatchBytes {
		b.full(errBatchFull{})
		return false
	}
	b.size += size
	return true
}

// rest is the result of a request that the batch has no room or time for.
func (b *batch) rest(ctx context.Context) *apiv1.BatchResult {
	if errors.Is(context.Cause(ctx), errBatchFull{}) {
		return failed(status.New(codes.ResourceExhausted, errBatchFull{}.Error()))
	}
	return failed(status.FromContextError(ctx.Err()))
}

// ended is nil if each request had its turn, or the batch was full before.
func (b *batch) ended(ctx context.Context) error {
	if ctx.Err() == nil || errors.Is(context.Cause(ctx), errBatchFull{}) {
		return nil
	}
	return status.FromContextError(ctx.Err()).Err()
}

func failed(s *status.Status) *apiv1.BatchResult {
	return &apiv1.BatchResult{Code: uint32(s.Code()), Message: s.Message()}
}
