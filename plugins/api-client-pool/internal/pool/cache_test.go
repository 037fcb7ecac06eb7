package pool

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

func TestACachedResponseIsTheResponseWithoutAnExchange(t *testing.T) {
	var asked atomic.Int32
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/moved" {
			w.Header().Set("Cache-Control", "max-age=60")
			http.Redirect(w, r, "/", http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, strings.Repeat("body", 1000))
	})
	for _, path := range []string{"/", "/moved"} {
		p := open(t, &apiv1.Config{Cache: &apiv1.Cache{}})
		first := mustDo(t, p, &apiv1.DoRequest{Url: server.URL + path})
		before := asked.Load()
		second := mustDo(t, p, &apiv1.DoRequest{Url: server.URL + path})
		if asked.Load() != before {
			t.Errorf("%s: the server was asked", path)
		}
		if first.GetFromCache() || first.GetCacheStatus() != apiv1.CacheStatus_MISS || first.GetAttempts() != 1 {
			t.Errorf("%s: the first has from_cache %v, %v, %d attempts", path, first.GetFromCache(), first.GetCacheStatus(), first.GetAttempts())
		}
		if !second.GetFromCache() || second.GetCacheStatus() != apiv1.CacheStatus_HIT || second.GetAttempts() != 0 || second.GetTiming().GetFirstByte() != nil {
			t.Errorf("%s: the second has from_cache %v, %v, %d attempts, %v", path, second.GetFromCache(), second.GetCacheStatus(), second.GetAttempts(), second.GetTiming())
		}
		first.GetBody()[0] = 'x' // a caller's own
		second.GetBody()[0] = 'y'
		if third := mustDo(t, p, &apiv1.DoRequest{Url: server.URL + path}); string(third.GetBody()) != strings.Repeat("body", 1000) {
			t.Errorf("%s: the third has %.8q…", path, third.GetBody())
		}
		ignored := protocmp.IgnoreFields(&apiv1.DoResponse{}, "from_cache", "cache_status", "attempts", "timing", "reused_connection", "body", "headers")
		if diff := cmp.Diff(first, second, protocmp.Transform(), ignored); diff != "" {
			t.Errorf("%s (-first +second):\n%s", path, diff)
		}
		if got := values(second, "Age"); len(got) != 1 || got[0] != "0" {
			t.Errorf("%s: Age: got %v", path, got)
		}
	}
}

func TestAStreamIsKeptAndAnsweredFromTheCache(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write(make([]byte, 500<<10))
	})
	p := open(t, &apiv1.Config{Cache: &apiv1.Cache{}})
	for _, want := range []apiv1.CacheStatus{apiv1.CacheStatus_MISS, apiv1.CacheStatus_HIT} {
		stream := begin(t, p, &apiv1.DoRequest{Url: server.URL})
		halfClose(t, stream)
		r := finish(t, stream)
		if r.err != nil || r.head.GetCacheStatus() != want || len(r.body) != 500<<10 {
			t.Errorf("got %v, %v, %d bytes; want %v", r.err, r.head.GetCacheStatus(), len(r.body), want)
		}
	}
	got := gather(t, p)
	if got[`gaia_api_cache_requests_total{result="hit"}`] != 1 || got[`gaia_api_cache_bytes{place="memory"}`] < 500<<10 {
		t.Errorf("metrics: got %v", got)
	}
}

func TestTrailersOfDoAreReturned(t *testing.T) {
	server := serve(t, echo)
	response := mustDo(t, open(t, nil), &apiv1.DoRequest{Method: "POST", Url: server.URL, Body: []byte("body")})
	if got := response.GetTrailers(); len(got) != 1 || got[0].GetName() != "X-Sum" || got[0].GetValue() != "4" {
		t.Errorf("got %v", got)
	}
}

func TestAReconfiguredPoolWithADirectoryKeepsItsCache(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "max-age=60") })
	config := &apiv1.Config{Cache: &apiv1.Cache{Dir: t.TempDir() + "/cache"}}
	p := open(t, config)
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL})
	if err := p.Configure(t.Context(), local(config)); err != nil {
		t.Fatal(err)
	}
	if got := mustDo(t, p, &apiv1.DoRequest{Url: server.URL}); !got.GetFromCache() {
		t.Errorf("got %v", got.GetCacheStatus())
	}
}
