package pool

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestIdenticalGETsShareOneExchange(t *testing.T) {
	for range 5 {
		if shareOne(t) == 0 {
			return
		}
	}
	t.Error("in each of five attempts a call came too late to share")
}

// shareOne has six calls share an exchange, of which the first gives up, and returns
// how many came when it was over: a busy machine may hold a call up between its
// beginning, which can be waited for, and its joining the others.
func shareOne(t *testing.T) (late int) {
	t.Helper()
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		w.Header().Set("X-Trace", "1")
		_, _ = io.WriteString(w, "body")
	})
	p := open(t, quick())
	same := &apiv1.DoRequest{Url: server.URL, Headers: map[string]string{"Authorization": "a"}}
	ctx, giveUp := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // it begins the exchange, and gives up
		_, err := p.Do(ctx, same)
		wantError(t, err, codes.Canceled)
	})
	<-arrived
	responses := make([]*apiv1.DoResponse, 5)
	for i := range responses {
		wg.Go(func() { responses[i], _ = do(t, p, same) })
	}
	wg.Go(func() { // another's credentials
		other := mustDo(t, p, &apiv1.DoRequest{Url: server.URL, Headers: map[string]string{"Authorization": "b"}})
		if other.GetShared() {
			t.Error("a response went to another's credentials")
		}
	})
	<-arrived
	waitFor(t, func() bool { return waiting(p) == 7 })
	giveUp()
	<-arrived // one of the others has begun anew
	waitFor(t, func() bool { return waiting(p) == 6 })
	close(release)
	wg.Wait()
	shared := 0
	for i, response := range responses {
		if response.GetShared() {
			shared++
		}
		if string(response.GetBody()) != "body" || response.GetAttempts() != 1 {
			t.Errorf("response %d: got %v", i, response)
		}
		response.GetBody()[0] = byte('0' + i) // is nobody else's
		response.GetHeaders()[0].Value = "mine"
	}
	late = len(arrived)
	if got := gather(t, p)["gaia_api_shared_total"]; shared != 4-late || got != float64(4-late) {
		t.Errorf("shared: got %d responses and %v in the metric, want %d: all but the one that began anew", shared, got, 4-late)
	}
	return late
}

// waiting is how many calls are under way.
func waiting(p *Pool) int {
	p.client.mu.Lock()
	defer p.client.mu.Unlock()
	return p.client.calls
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(bound); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %v", bound)
		}
	}
}

func TestTheLastWhoGivesUpEndsTheExchange(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	})
	p := open(t, quick())
	ctx, giveUp := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, err := p.Do(ctx, &apiv1.DoRequest{Url: server.URL})
			wantError(t, err, codes.Canceled, "canceled by the caller")
		})
	}
	<-began
	waitFor(t, func() bool { return waiting(p) == 3 })
	giveUp()
	wg.Wait()
	<-ended
	noGoroutines(t, "coalesce.(*Group)")
}

func TestADomainsRateHoldsForRedirectsAndRepetitionsToo(t *testing.T) {
	var seen atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		switch r.URL.Path {
		case "/move":
			http.Redirect(w, r, "/busy", http.StatusFound)
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	config := quick()
	config.Domain = map[string]*apiv1.Domain{"127.0.0.1": {Rate: rateOf(1, time.Hour), Burst: 3}}
	p := open(t, config)
	// Three may go: the request, its redirect, and a repetition.
	response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL + "/move"})
	if response.GetStatus() != 503 || response.GetAttempts() != 2 || seen.Load() != 3 {
		t.Errorf("got %d after %d attempts and %d requests, want 503 after 2 and 3", response.GetStatus(), response.GetAttempts(), seen.Load())
	}
	_, err := do(t, p, &apiv1.DoRequest{Url: server.URL})
	wantError(t, err, codes.ResourceExhausted, `: connect: the next request to domain "127.0.0.1" may leave in `, "rate of 1 per 1h0m0s")
	if got := info(t, err).GetMetadata()["processed"]; got != "no" {
		t.Errorf("processed: got %q, want no", got)
	}
}

func TestADomainsConnectionsAreItsOwn(t *testing.T) {
	release := make(chan struct{})
	server, census := counted(t, func(http.ResponseWriter, *http.Request) { <-release })
	config := quick()
	config.Domain = map[string]*apiv1.Domain{"127.0.0.1": {Connections: 1}}
	p := open(t, config)
	var wg sync.WaitGroup
	wg.Go(func() { mustDo(t, p, &apiv1.DoRequest{Url: server.URL}) })
	waitFor(t, func() bool { now, _, _ := census.numbers(); return now == 1 })
	_, err := do(t, p, &apiv1.DoRequest{Url: server.URL + "/other", Timeout: durationpb.New(short)})
	wantError(t, err, codes.DeadlineExceeded, `waiting for one of 1 connections (domain["127.0.0.1"].connections)`)
	close(release)
	wg.Wait()
}
