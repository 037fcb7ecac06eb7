package telemetry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func testPages(t *testing.T, states []State, sources ...Source) http.Handler {
	t.Helper()
	return Pages(PagesConfig{
		Metrics:    NewMerger(New("v9"), func() []Source { return sources }, hclog.NewNullLogger()),
		Subsystems: func() []State { return states },
		Logger:     hclog.NewNullLogger(),
	})
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func TestLivenessDoesNotDependOnSubsystems(t *testing.T) {
	h := testPages(t, []State{{Name: "a", State: "failed"}})
	if w := get(t, h, "/livez"); w.Code != http.StatusOK || w.Body.String() != "ok\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

func TestTheFirstPageSaysWhatThereIs(t *testing.T) {
	pages := testPages(t, nil)
	w := get(t, pages, "/")
	for _, want := range []string{"gaia", "/v1", "/metrics", "Authorization: Bearer"} {
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("got %d %q, want 200 and %q", w.Code, w.Body, want)
		}
	}
	if w := get(t, pages, "/nothing"); w.Code != http.StatusNotFound {
		t.Errorf("/nothing: got %d, want 404", w.Code)
	}
}

func TestReadinessNamesEachSubsystem(t *testing.T) {
	ready := State{Name: "a", State: "ready", Ready: true}
	down := State{Name: "b", State: "backoff", Reason: "killed by signal 9"}
	for _, c := range []struct {
		given []State
		code  int
		want  string
	}{
		{nil, 200, `{"ready":true,"subsystems":[]}`},
		{[]State{ready}, 200, `{"ready":true,"subsystems":[{"name":"a","state":"ready","ready":true}]}`},
		{
			[]State{ready, down}, 503,
			`{"ready":false,"subsystems":[{"name":"a","state":"ready","ready":true},{"name":"b","state":"backoff","reason":"killed by signal 9","ready":false}]}`,
		},
	} {
		w := get(t, testPages(t, c.given), "/readyz")
		if got := strings.TrimSpace(w.Body.String()); w.Code != c.code || got != c.want {
			t.Errorf("got %d %s\nwant %d %s", w.Code, got, c.code, c.want)
		}
		if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("content type %q", w.Header().Get("Content-Type"))
		}
	}
}

func TestMetricsOfHostAndPluginsAreOnOnePage(t *testing.T) {
	h := testPages(t, nil, text("s", "# TYPE jobs gauge\njobs 3\n"))
	w := get(t, h, "/metrics")
	for _, want := range []string{`gaia_build_info{go_version="go1.`, `version="v9"} 1`, "go_goroutines ", `jobs{subsystem="s"} 3`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}

func TestScrapesAtOnceAreBounded(t *testing.T) {
	entered, leave := make(chan struct{}, maxScrapes), make(chan struct{})
	h := testPages(t, nil, Source{"s", func(context.Context) (string, []byte, error) {
		entered <- struct{}{}
		<-leave
		return textType, nil, nil
	}})
	done := make(chan int, maxScrapes)
	for range maxScrapes {
		go func() { done <- get(t, h, "/metrics").Code }()
		<-entered
	}
	if w := get(t, h, "/metrics"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "limit 4") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	close(leave)
	for range maxScrapes {
		if code := <-done; code != http.StatusOK {
			t.Errorf("got %d", code)
		}
	}
}

func TestOnlyReadingIsAllowed(t *testing.T) {
	h := testPages(t, nil)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/metrics", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", w.Code)
	}
}
