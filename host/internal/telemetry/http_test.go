package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

func newTestHTTP(t *testing.T, states []State, sources ...Source) *HTTP {
	t.Helper()
	return NewHTTP(HTTPConfig{
		Metrics:    NewMerger(New("v9"), func() []Source { return sources }, hclog.NewNullLogger()),
		Subsystems: func() []State { return states },
		Token:      "s3cret",
		Host:       "Gaia.Internal",
		Logger:     hclog.NewNullLogger(),
	})
}

func get(t *testing.T, h http.Handler, path string, header ...[2]string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Host = "127.0.0.1:4242"
	for _, h := range header {
		if h[0] == "Host" {
			r.Host = h[1]
			continue
		}
		r.Header.Set(h[0], h[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestLivenessDoesNotDependOnSubsystems(t *testing.T) {
	h := newTestHTTP(t, []State{{Name: "a", State: "failed"}}).Handler()
	if w := get(t, h, "/livez"); w.Code != http.StatusOK || w.Body.String() != "ok\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
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
		w := get(t, newTestHTTP(t, c.given).Handler(), "/readyz")
		if got := strings.TrimSpace(w.Body.String()); w.Code != c.code || got != c.want {
			t.Errorf("got %d %s\nwant %d %s", w.Code, got, c.code, c.want)
		}
		if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("content type %q", w.Header().Get("Content-Type"))
		}
	}
}

func TestMetricsOfHostAndPluginsAreOnOnePage(t *testing.T) {
	h := newTestHTTP(t, nil, text("s", "# TYPE jobs gauge\njobs 3\n")).Handler()
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
	h := newTestHTTP(t, nil, Source{"s", func(context.Context) (string, []byte, error) {
		entered <- struct{}{}
		<-leave
		return textType, nil, nil
	}}).Handler()
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

func TestProfilesNeedTheToken(t *testing.T) {
	h := newTestHTTP(t, nil).Handler()
	for _, c := range []struct {
		authorization string
		want          int
	}{
		{"", 401}, {"Bearer", 401}, {"Bearer ", 401}, {"Bearer wrong", 401}, {"Bearer s3cret2", 401}, {"Basic s3cret", 401},
		{"s3cret", 401}, {"Bearer s3cret", 200}, {"bearer s3cret", 200},
	} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine"} {
			if w := get(t, h, path, [2]string{"Authorization", c.authorization}); w.Code != c.want {
				t.Errorf("%s with %q: got %d, want %d", path, c.authorization, w.Code, c.want)
			}
		}
	}
	if w := get(t, h, "/debug/pprof/"); w.Header().Get("WWW-Authenticate") == "" {
		t.Error("no WWW-Authenticate")
	}
	none := NewHTTP(HTTPConfig{Metrics: NewMerger(New(""), nil, hclog.NewNullLogger()), Subsystems: func() []State { return nil }, Logger: hclog.NewNullLogger()})
	if w := get(t, none.Handler(), "/debug/pprof/", [2]string{"Authorization", "Bearer "}); w.Code != http.StatusUnauthorized {
		t.Errorf("without a token: got %d", w.Code)
	}
}

func TestAForeignHostIsRefused(t *testing.T) {
	h := newTestHTTP(t, nil).Handler()
	for host, want := range map[string]int{
		"":                          200, // HTTP/1.0
		"localhost":                 200,
		"localhost.":                200,
		"LOCALHOST:4242":            200,
		"app.localhost:80":          200,
		"127.0.0.1":                 200,
		"10.1.2.3:4242":             200,
		"[::1]:4242":                200,
		"[::1]":                     200,
		"gaia.internal:4242":        200,
		"evil.example":              403,
		"evil.example:4242":         403,
		"127.0.0.1.evil.example":    403,
		"localhost.evil.example":    403,
		"notlocalhost":              403,
		"gaia.internal.evil:4242":   403,
		"xgaia.internal":            403,
		"evil.example:80:127.0.0.1": 403,
	} {
		for _, path := range []string{"/livez", "/metrics", "/readyz"} {
			if w := get(t, h, path, [2]string{"Host", host}); w.Code != want {
				t.Errorf("%s at host %q: got %d, want %d", path, host, w.Code, want)
			}
		}
	}
}

func TestOnlyReadingIsAllowed(t *testing.T) {
	h := newTestHTTP(t, nil).Handler()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/metrics", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", w.Code)
	}
}

func TestTheServerEndsWithItsContext(t *testing.T) {
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hanging := make(chan struct{})
	h := newTestHTTP(t, nil, Source{"s", func(ctx context.Context) (string, []byte, error) {
		close(hanging)
		<-ctx.Done() // ends with the server, long before the timeout
		return "", nil, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, lis) }()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	fetch := func(path string) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+lis.Addr().String()+path, nil)
		if err != nil {
			return 0, err
		}
		w, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, w.Body)
		return w.StatusCode, errors.Join(err, w.Body.Close())
	}
	if code, err := fetch("/livez"); err != nil || code != http.StatusOK {
		t.Fatalf("got %d, %v", code, err)
	}
	scraped := make(chan int, 1)
	go func() {
		code, err := fetch("/metrics")
		if err != nil {
			t.Error(err)
		}
		scraped <- code
	}()
	<-hanging
	cancel()
	if code := <-scraped; code != http.StatusOK {
		t.Errorf("the scrape under way: got %d", code)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := fetch("/livez"); err == nil {
		t.Error("it still answers")
	}
}

func TestServeReportsAListenerThatIsGone(t *testing.T) {
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	err = newTestHTTP(t, nil).Serve(t.Context(), lis)
	if err == nil || !strings.HasPrefix(err.Error(), "http: ") {
		t.Errorf("got %v", err)
	}
}

func TestTokensAreComparedWhole(t *testing.T) {
	got := []bool{sameToken("abc", "abc"), sameToken("ab", "abc"), sameToken("abcd", "abc"), sameToken("", "")}
	if diff := cmp.Diff([]bool{true, false, false, false}, got); diff != "" {
		t.Error(diff)
	}
}
