// Package bodies bounds the memory that the requests by HTTP take together: one
// message may have 64 MiB, and ten thousand of them do not fit anywhere.
package bodies

import (
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// Size is how many bytes the requests of a host may hold: four messages of the
	// largest size.
	Size = 256 << 20
	// free is what each may have whatever the others have: small calls go on
	// though large ones have taken everything.
	free = 16 << 10
	// retryAfter is when a place may be free again, more or less.
	retryAfter = time.Second
)

// Budget is the memory for all requests. Safe for concurrent use.
type Budget struct {
	size  int64
	taken atomic.Int64
}

// New returns a budget of size bytes, of which nothing is taken.
func New(size int64) *Budget { return &Budget{size: size} }

// Share returns what one request has of the budget, which is nothing yet.
// Whoever asks for it closes it.
func (b *Budget) Share() *Share { return &Share{budget: b} }

func (b *Budget) take(n int64) error {
	if b.taken.Add(n) <= b.size {
		return nil
	}
	b.taken.Add(-n)
	text := "the requests under way hold %d MiB together, which is the limit; call again later, or send large content by a method that takes a stream"
	s := status.Newf(codes.ResourceExhausted, text, b.size>>20)
	detailed, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	if err != nil { // the details cannot be encoded; the text says the same
		return s.Err()
	}
	return detailed.Err()
}

// Share is what one request holds. Used by one goroutine at a time.
type Share struct {
	budget *Budget
	held   int64
}

// Add takes n bytes more, or returns a gRPC status, ResourceExhausted.
func (s *Share) Add(n int) error { return s.set(s.held + int64(n)) }

// Hold makes it n bytes, whatever they were. The error is as that of Add; there
// is none where they were more.
func (s *Share) Hold(n int) error { return s.set(int64(n)) }

// Close gives everything back. The share may be used again.
func (s *Share) Close() { _ = s.set(0) }

func (s *Share) set(n int64) error {
	if more := charged(n) - charged(s.held); more > 0 {
		if err := s.budget.take(more); err != nil {
			return err
		}
	} else {
		s.budget.taken.Add(more)
	}
	s.held = n
	return nil
}

func charged(held int64) int64 { return max(held-free, 0) }
