package bodies

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestRequestsTakeNoMoreThanTheBudgetTogether(t *testing.T) {
	b := New(1 << 20)
	large, late, small := b.Share(), b.Share(), b.Share()
	if err := large.Add(1<<20 + free); err != nil {
		t.Fatal(err)
	}
	err := late.Add(free + 1)
	if status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) != 1 {
		t.Errorf("over the budget: %v, want ResourceExhausted with a RetryInfo", err)
	}
	if err := small.Add(free); err != nil {
		t.Errorf("what each has for free: %v", err)
	}
	if err := large.Hold(1 << 19); err != nil {
		t.Errorf("holding less: %v", err)
	}
	if err := late.Add(free + 1); err != nil {
		t.Errorf("within what was given back: %v", err)
	}
	for _, s := range []*Share{large, late, small} {
		s.Close()
		s.Close()
	}
	if left := b.taken.Load(); left != 0 {
		t.Errorf("%d bytes are still taken when all is closed", left)
	}
}
