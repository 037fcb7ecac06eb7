package resend

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"github.com/prometheus/client_golang/prometheus"
)

// script answers requests with statuses in turn, the last one for ever; each
// response has the header. It notes when they came.
type script struct {
	statuses []int
	header   http.Header
	came     []time.Time
}

func (s *script) RoundTrip(request *http.Request) (*http.Response, error) {
	s.came = append(s.came, time.Now())
	status := s.statuses[min(len(s.came), len(s.statuses))-1]
	header := s.header
	if status == 200 {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: request}, nil
}

// ask sends a GET with so many retries.
func ask(ctx context.Context, t *testing.T, r *Resender, c *call.Call) (int, error) {
	t.Helper()
	c.MaxBody = 1 << 20
	request, err := http.NewRequestWithContext(call.With(ctx, c), http.MethodGet, "http://h/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}

func options(next http.RoundTripper) Options {
	return Options{
		Next: next, Budget: 0.1, BaseDelay: 100 * time.Millisecond, MaxDelay: 5 * time.Second, MaxPause: time.Minute,
		Metrics: NewMetrics(prometheus.NewRegistry()),
	}
}

func TestTheWaitsGrowAndAreBounded(t *testing.T) {
	r := New(options(nil))
	for n := 1; n <= 100; n++ {
		bound := 5 * time.Second
		if n < 7 {
			bound = 100 * time.Millisecond << (n - 1)
		}
		var longest time.Duration
		for range 1000 {
			wait := r.jitter(n)
			if wait < 0 || wait >= bound {
				t.Fatalf("repetition %d: got %v, want below %v", n, wait, bound)
			}
			longest = max(longest, wait)
		}
		if longest < bound*9/10 {
			t.Errorf("repetition %d: the longest of 1000 waits is %v, want nearly %v", n, longest, bound)
		}
	}
}

func TestARepetitionAndAllOtherRequestsWaitOutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &script{statuses: []int{503, 200}, header: http.Header{"Retry-After": {"30"}}}
		r := New(options(next))
		begun := time.Now()
		go func() {
			if status, err := ask(t.Context(), t, r, &call.Call{}); status != 503 || err != nil {
				t.Errorf("no retries: got %d, %v", status, err)
			}
		}()
		synctest.Wait()
		status, err := ask(t.Context(), t, r, &call.Call{})
		if status != 200 || err != nil {
			t.Errorf("got %d, %v; want 200", status, err)
		}
		if waited := next.came[1].Sub(begun); waited < 30*time.Second || waited > 31*time.Second {
			t.Errorf("waited %v, want 30s and some jitter", waited)
		}
	})
}

func TestAServerCannotPauseLongerThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &script{statuses: []int{503, 200}, header: http.Header{"Retry-After": {"999999"}}}
		begun := time.Now()
		status, err := ask(t.Context(), t, New(options(next)), &call.Call{Retries: 1})
		if status != 200 || err != nil {
			t.Errorf("got %d, %v; want 200", status, err)
		}
		if waited := time.Since(begun); waited < time.Minute || waited > 62*time.Second {
			t.Errorf("waited %v, want 1m and some jitter", waited)
		}
	})
}

func TestNothingIsWaitedForThatEndsAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &script{statuses: []int{503}, header: http.Header{"Retry-After": {"30"}}}
		r := New(options(next))
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if status, err := ask(ctx, t, r, &call.Call{Retries: 5}); status != 503 || err != nil {
			t.Errorf("got %d, %v; want the 503 itself", status, err)
		}
		_, err := ask(ctx, t, r, &call.Call{Retries: 5})
		failure, ok := errors.AsType[*call.Failure](err)
		if !ok || failure.RetryAfter != 30*time.Second {
			t.Errorf("got %v, want a failure with 30s", err)
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("waited %v, want to know at once", waited)
		}
	})
}

func TestAnExhaustedBudgetLeavesTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &script{statuses: []int{503}, header: http.Header{}}
		r := New(options(next))
		for range 100 {
			if status, err := ask(t.Context(), t, r, &call.Call{Retries: 10}); status != 503 || err != nil {
				t.Fatalf("got %d, %v; want 503", status, err)
			}
		}
		if got := len(next.came); got > 100+10+10 || got < 100+19 {
			t.Errorf("100 requests became %d, want 120: one in ten and ten", got)
		}
	})
}

// hang answers the first request when its context ends, and others at once.
type hang struct{ seen atomic.Int64 }

func (h *hang) RoundTrip(request *http.Request) (*http.Response, error) {

	if h.seen.Add(1) == 1 {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: request}, nil
}

func TestASecondCopyIsDueAtThe95thPercentile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(options(&hang{}))
		domain := r.domains.enter("h:80")
		for i := range 100 {
			domain.observe(time.Duration(i+1) * time.Millisecond)
		}
		begun := time.Now()
		if status, err := ask(t.Context(), t, r, &call.Call{Hedge: true}); status != 200 || err != nil {
			t.Errorf("got %d, %v; want 200", status, err)
		}
		if waited := time.Since(begun); waited != 96*time.Millisecond {
			t.Errorf("the second copy came after %v, want 96ms", waited)
		}
	})
}

func TestNoSecondCopyIsSentInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &hang{}
		r := New(options(next))
		domain := r.domains.enter("h:80")
		time.AfterFunc(time.Second, func() { domain.pause(time.Now().Add(time.Hour)) })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := ask(ctx, t, r, &call.Call{Hedge: true, HedgeAfter: 2 * time.Second})
		if !errors.Is(err, context.DeadlineExceeded) || next.seen.Load() != 1 {
			t.Errorf("got %v after %d copies, want the deadline after one", err, next.seen.Load())
		}
	})
}
