package pool

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// rateOf is a Rate of n per period.
func rateOf(n uint64, per time.Duration) *optionsv1.Rate {
	return &optionsv1.Rate{Events: n, Per: durationpb.New(per)}
}

func TestABatchHasAResultForEachRequestInTheirOrder(t *testing.T) {
	var now, most atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		if r.URL.Path == "/7" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = fmt.Fprint(w, r.URL.Path)
	})
	p := open(t, nil)
	batch := &apiv1.BatchRequest{Concurrency: 5}
	for i := range 100 {
		batch.Requests = append(batch.Requests, &apiv1.DoRequest{Url: fmt.Sprintf("%s/%d", server.URL, i)})
	}
	batch.Requests[3] = &apiv1.DoRequest{Url: "ftp://x/"}
	response, err := p.Batch(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range response.GetResults() {
		switch {
		case i == 3:
			if codes.Code(result.GetCode()) != codes.InvalidArgument || !strings.Contains(result.GetMessage(), "url: ") || result.Response != nil {
				t.Errorf("result 3: got %v, want InvalidArgument", result)
			}
		case string(result.GetResponse().GetBody()) != fmt.Sprintf("/%d", i) || result.GetCode() != 0:
			t.Errorf("result %d: got %v", i, result)
		}
	}
	if status := response.GetResults()[7].GetResponse().GetStatus(); status != http.StatusTeapot {
		t.Errorf("result 7: got status %d, want 418", status)
	}
	if most.Load() > 5 {
		t.Errorf("%d requests at once, want 5 at most", most.Load())
	}
	if got := gather(t, p); got[`gaia_api_requests_total{result="2xx"}`] != 98 || got[`gaia_api_requests_total{result="invalid"}`] != 1 {
		t.Errorf("metrics: got %v, want each request counted", got)
	}
}

func TestABatchIsBoundedInNumberAndInBytes(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 5<<20)) })
	p := open(t, nil)
	for n, field := range map[int]string{0: "requests: 0", 1001: "requests: 1001"} {
		_, err := p.Batch(t.Context(), &apiv1.BatchRequest{Requests: make([]*apiv1.DoRequest, n)})
		wantError(t, err, codes.InvalidArgument, field)
	}
	_, err := p.Batch(t.Context(), &apiv1.BatchRequest{Requests: make([]*apiv1.DoRequest, 1), Concurrency: 1001})
	wantError(t, err, codes.InvalidArgument, "concurrency: 1001 is above 1000")
	batch := &apiv1.BatchRequest{Concurrency: 1}
	for range 10 {
		batch.Requests = append(batch.Requests, &apiv1.DoRequest{Url: server.URL})
	}
	response, err := p.Batch(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range response.GetResults() {
		if fits := i < 6; fits != (result.GetResponse() != nil) || fits == (codes.Code(result.GetCode()) == codes.ResourceExhausted) {
			t.Errorf("result %d: got code %d %q; want responses of 30 MiB, then ResourceExhausted", i, result.GetCode(), result.GetMessage())
		}
	}
}

func TestTheEndOfABatchEndsItsRequests(t *testing.T) {
	began, ended := make(chan struct{}, 10), make(chan struct{}, 10)
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	p := open(t, nil)
	batch := &apiv1.BatchRequest{Concurrency: 2}
	for i := range 10 {
		batch.Requests = append(batch.Requests, &apiv1.DoRequest{Url: fmt.Sprintf("%s/%d", server.URL, i)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; <-began; cancel() }()
	_, err := p.Batch(ctx, batch)
	wantError(t, err, codes.Canceled)
	<-ended
	<-ended
	if len(began) != 0 {
		t.Error("requests began after the end")
	}
}
