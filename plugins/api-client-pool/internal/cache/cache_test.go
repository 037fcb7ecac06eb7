package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
)

// roundTripper is a function that is one.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAStaleResponseIsRefreshedBehindTheCallersBack(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{})
	w.tell([]step{{answer: "Cache-Control: max-age=10, stale-while-revalidate=60", want: miss}, {after: 20, want: old, body: "1"}})
	w.cache.refreshers.Wait()
	w.tell([]step{{want: fresh, body: "2"}})
}

func TestOneRefreshIsUnderWayAtATimeAndEndsWithTheCache(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{})
	w.tell([]step{{answer: "Cache-Control: max-age=10, stale-while-revalidate=60", want: miss}})
	begun := make(chan bool, 10)
	w.cache.next = roundTripper(func(r *http.Request) (*http.Response, error) {
		begun <- true
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	for range 5 {
		w.tell([]step{{after: 11, want: old, body: "1"}})
	}
	<-begun
	if err := w.cache.Close(); err != nil {
		t.Fatal(err)
	}
	if len(begun) != 0 {
		t.Errorf("%d more refreshes", len(begun))
	}
	w.tell([]step{{want: old}}) // no refresh after Close
	if len(begun) != 0 {
		t.Error("a refresh after Close")
	}
}

func TestWhatIsTooLargeIsNotKept(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{MaxResponse: 100})
	w.tell([]step{
		{ask: "GET /a", answer: "Cache-Control: max-age=60 | Body: " + strings.Repeat("x", 101), want: miss}, {ask: "GET /a", want: miss},
		{ask: "GET /b", answer: "Cache-Control: max-age=60 | Body: " + strings.Repeat("x", 100), want: miss}, {ask: "GET /b", want: fresh},
	})
	if w.cache.filling.Load() != 0 || len(w.cache.fills) != 0 {
		t.Errorf("%d bytes and %d fills are left", w.cache.filling.Load(), len(w.cache.fills))
	}
}

func TestABodyOfUnknownLengthThatIsTooLargeCostsNoMoreThanTheBound(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{MaxResponse: 1 << 20, Memory: 1 << 20})
	w.cache.next = roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1, TransferEncoding: []string{"chunked"},
			Header: http.Header{"Cache-Control": {"max-age=60"}}, Request: r, Body: io.NopCloser(io.LimitReader(zeros{}, 100<<20)),
		}, nil
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "http://h/", nil)
	response, err := w.cache.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if n, err := io.Copy(io.Discard, response.Body); n != 100<<20 || err != nil {
		t.Fatal(n, err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAResponseThatIsNotReadToItsEndIsNotKept(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{})
	w.answers("Cache-Control: max-age=60 | Body: " + strings.Repeat("x", 1000))
	request, _ := http.NewRequestWithContext(t.Context(), "GET", w.server.URL+"/", nil)
	response, err := w.cache.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(response.Body, make([]byte, 999))
	response.Body.Close()
	w.tell([]step{{want: miss}})
	if w.cache.filling.Load() != 0 || len(w.cache.fills) != 0 {
		t.Errorf("%d bytes and %d fills are left", w.cache.filling.Load(), len(w.cache.fills))
	}
}

func TestAGETThatBeganBeforeAPOSTIsNotKeptAfterIt(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{})
	w.answers("Cache-Control: max-age=60")
	request, _ := http.NewRequestWithContext(t.Context(), "GET", w.server.URL+"/", nil)
	response, err := w.cache.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	w.tell([]step{{ask: "POST /", want: none}})
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	w.tell([]step{{want: miss}, {want: fresh}})
}

func TestWhatACallerDoesToAResponseIsNotInTheNext(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{})
	w.tell([]step{{answer: "Cache-Control: max-age=60 | X-A: 1 | Body: body", want: miss}})
	for range 2 {
		got := w.ask("")
		if got.header.Get("X-A") != "1" || got.body != "body" {
			t.Fatalf("got %v %q", got.header, got.body)
		}
		got.header["X-A"][0] = "2"
		got.header.Add("X-A", "3")
		got.header.Del("Cache-Control")
	}
}

func TestTrailersAreKept(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{})
	w.server.Config.Handler = http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Cache-Control", "max-age=60")
		out.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(out, "body")
		out.Header().Set("X-Sum", "1")
	})
	for _, want := range []apiv1.CacheStatus{miss, fresh} {
		c := &call.Call{}
		request, _ := http.NewRequestWithContext(call.With(t.Context(), c), "GET", w.server.URL+"/", nil)
		response, err := w.cache.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if got := response.Trailer.Get("X-Sum"); got != "1" || c.Outcome().Cache != want {
			t.Errorf("%v: trailer %q", c.Outcome().Cache, got)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const room = 1 << 20
	w := newWorld(t, &apiv1.Cache{Memory: room, MaxResponse: 10 << 10})
	w.answers("Cache-Control: max-age=60 | Body: " + strings.Repeat("x", 10<<10))
	for i := range 300 {
		w.ask(fmt.Sprintf("GET /%d", i))
	}
	if got := w.cache.memory.entries.size; got > room || got < room/2 {
		t.Errorf("got %d bytes, room for %d", got, room)
	}
	w.tell([]step{{ask: "GET /299", want: fresh}})
}

func TestTheVariantsOfOneURLAreBounded(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{})
	w.answers("Cache-Control: max-age=60 | Vary: X")
	for i := range 200 {
		w.ask(fmt.Sprintf("X: %d", i))
	}
	if got := len(w.cache.memory.entries.keys); got != 1 {
		t.Fatalf("got %d keys", got)
	}
	for _, same := range w.cache.memory.entries.keys {
		if len(same) != maxVariants {
			t.Errorf("got %d variants, want %d", len(same), maxVariants)
		}
	}
	w.tell([]step{{ask: "X: 199", want: fresh}, {ask: "X: 0", want: miss}})
}

func TestManyCallersAtOnce(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{Memory: 100 << 10, Dir: t.TempDir() + "/cache", Disk: 200 << 10})
	w.answers(`Cache-Control: max-age=1, stale-while-revalidate=1 | Vary: X | ETag: "a" | Body: ` + strings.Repeat("x", 5000))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				ask := fmt.Sprintf("GET /%d | X: %d", i%20, i%3)
				switch {
				case i%50 == 10:
					ask = fmt.Sprintf("POST /%d", i%20)
				case i%7 == worker%7:
					w.pass(time.Second)
				}
				if got := w.ask(ask); got.err != nil || got.status != 200 {
					t.Errorf("%s: %v", ask, got)
				}
			}
		})
	}
	wg.Wait()
	if err := w.cache.Close(); err != nil {
		t.Error(err)
	}
	if w.cache.filling.Load() != 0 || len(w.cache.fills) != 0 {
		t.Errorf("%d bytes and %d fills are left", w.cache.filling.Load(), len(w.cache.fills))
	}
}

func TestACallerWhoGaveUpGetsNoStaleResponse(t *testing.T) {
	w := newWorld(t, &apiv1.Cache{})
	w.tell([]step{{answer: "Cache-Control: max-age=10, stale-if-error=60", want: miss}})
	w.pass(20 * time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	request, _ := http.NewRequestWithContext(ctx, "GET", w.server.URL+"/", nil)
	response, err := w.cache.RoundTrip(request)
	if err == nil {
		response.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

func TestAFaultyConfigSaysWhichFieldItIs(t *testing.T) {
	open := t.TempDir() // 0755 or so
	tests := map[string]*apiv1.Cache{
		"cache.max_response": {Memory: 10, MaxResponse: 20},
		"cache.dir":          {Dir: open},
	}
	for path, config := range tests {
		_, err := Open(config, Options{})
		if field, is := errors.AsType[*sdk.FieldError](err); !is || field.Path != path {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func FuzzDirectives(f *testing.F) {
	for _, seed := range []string{"max-age=1", `a="b, \"c", no-store`, `a="`, ",,=,", "=", `a=b"c"`, `a="\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name := range parseDirectives(http.Header{"Cache-Control": {text}}) {
			if name == "" || strings.Contains(name, ",") {
				t.Errorf("a directive %q", name)
			}
		}
	})
}

func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			w := newWorld(b, &apiv1.Cache{})
			w.answers("Cache-Control: max-age=60 | Content-Type: application/json | ETag: \"a\" | Body: " + strings.Repeat("x", size))
			w.ask("GET /v1/items/17?fields=all")
			c := &call.Call{}
			request, _ := http.NewRequestWithContext(call.With(b.Context(), c), "GET", w.server.URL+"/v1/items/17?fields=all", nil)
			buffer := make([]byte, 128<<10)
			b.ReportAllocs()
			for b.Loop() {
				response, err := w.cache.RoundTrip(request)
				if err != nil || c.Outcome().Cache != fresh {
					b.Fatal(err, c.Outcome())
				}
				_, _ = io.ReadFull(response.Body, buffer)
				response.Body.Close()
			}
		})
	}
}
