package pool

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// callers is how many goroutines share a benchmark's calls.
const callers = 64

// BenchmarkDoBesideTheClientItself sends half of its requests by Do and half by
// an http.Client with the same transport settings, in turns of a round each so
// that both see the same machine. x-client is the client's time for a request
// over Do's: 1 means that Do costs nothing.
func BenchmarkDoBesideTheClientItself(b *testing.B) {
	body := make([]byte, 1024)
	server := serve(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	p := open(b, nil)
	own := &http.Transport{MaxConnsPerHost: 64, MaxIdleConnsPerHost: 64, ReadBufferSize: 16 << 10, WriteBufferSize: 16 << 10}
	client := &http.Client{Transport: own}
	defer own.CloseIdleConnections()

	var calls atomic.Uint64 // each has its own URL, or they would share exchanges
	byPool := func(ctx context.Context) error {
		_, err := p.Do(ctx, &apiv1.DoRequest{Url: server.URL + "/" + strconv.FormatUint(calls.Add(1), 10)})
		return err
	}
	byClient := func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/"+strconv.FormatUint(calls.Add(1), 10), nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.ReadAll(response.Body)
		return err
	}
	const round = 20 * callers
	share(b, byPool, round) // warms both
	share(b, byClient, round)
	var pool, direct time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= round {
		n := min(left, round)
		pool += share(b, byPool, n)
		b.StopTimer()
		direct += share(b, byClient, n)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)/pool.Seconds(), "calls/s")
	b.ReportMetric(float64(b.N)/direct.Seconds(), "client-calls/s")
	b.ReportMetric(direct.Seconds()/pool.Seconds(), "x-client")
}

// share makes n calls by callers goroutines and returns the time it took.
func share(b *testing.B, call func(context.Context) error, n int) time.Duration {
	b.Helper()
	tickets := make(chan struct{}, n)
	for range n {
		tickets <- struct{}{}
	}
	close(tickets)
	begin := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range tickets {
				if err := call(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begin)
}

// BenchmarkDoAlone is one caller, for its allocations.
func BenchmarkDoAlone(b *testing.B) {
	server := serve(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	p := open(b, nil)
	message := &apiv1.DoRequest{Url: server.URL}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Do(b.Context(), message); err != nil {
			b.Fatal(err)
		}
	}
}
