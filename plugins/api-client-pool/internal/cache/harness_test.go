package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

const (
	miss        = apiv1.CacheStatus_MISS
	fresh       = apiv1.CacheStatus_HIT
	old         = apiv1.CacheStatus_STALE
	revalidated = apiv1.CacheStatus_REVALIDATED
	none        = apiv1.CacheStatus_CACHE_STATUS_UNSPECIFIED
)

// world is a cache before a real server, on a clock of their own.
type world struct {
	tb     testing.TB
	cache  *Cache
	server *httptest.Server

	mu     sync.Mutex
	now    time.Time
	answer string        // see write
	asked  []http.Header // of all requests that reached the server
	served int           // bodies
}

func newWorld(tb testing.TB, config *apiv1.Cache) *world {
	tb.Helper()
	w := &world{tb: tb, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.server = httptest.NewServer(http.HandlerFunc(w.serve))
	tb.Cleanup(w.server.Close)
	w.open(config)
	return w
}

// open opens a cache in the place of the one before.
func (w *world) open(config *apiv1.Cache) {
	w.tb.Helper()
	c, err := Open(config, Options{Now: w.time})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = c.Close() })
	c.Over(w.server.Client().Transport)
	w.cache = c
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) answers(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = text
}

func (w *world) requests() []http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// serve answers as w.answer says: `404 | ETag: "a" | Expires: {+60}`. The status
// may be left out, "break" breaks off, "Body: …" is the body, which is else the
// number of the answer, and {+60} is the time in 60 seconds.
func (w *world) serve(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, r.Header)
	w.served++
	status, body := 200, strconv.Itoa(w.served)
	out.Header().Set("Date", w.now.Format(http.TimeFormat))
	for part := range strings.SplitSeq(w.answer, " | ") {
		name, value, is := strings.Cut(part, ": ")
		if n, err := strconv.Atoi(part); err == nil {
			status = n
		} else if part == "break" {
			panic(http.ErrAbortHandler)
		} else if name == "Body" {
			body = value
		} else if is {
			if name == "Date" {
				out.Header().Del("Date")
			}
			out.Header().Add(name, w.dates(value))
		}
	}
	if out.Header().Get("Date") == "none" {
		out.Header()["Date"] = nil
	}
	out.WriteHeader(status)
	if status != http.StatusNotModified && status != http.StatusNoContent {
		_, _ = io.WriteString(out, body)
	}
}

func (w *world) dates(value string) string {
	before, rest, found := strings.Cut(value, "{")
	if !found {
		return value
	}
	text, after, _ := strings.Cut(rest, "}")
	seconds, err := strconv.Atoi(text)
	if err != nil {
		w.tb.Error(err)
	}
	return before + w.now.Add(time.Duration(seconds)*time.Second).Format(http.TimeFormat) + after
}

// answered is what came of a request.
type answered struct {
	status int
	cache  apiv1.CacheStatus
	header http.Header
	body   string
	err    error
}

// ask sends `HEAD /path | Name: value`; "GET /" may be left out, "Profile: p"
// and "Mode: BYPASS" are for the call.
func (w *world) ask(text string) answered {
	w.tb.Helper()
	c := &call.Call{Idempotent: true, MaxBody: 1 << 20}
	method, path, body := "GET", "/", io.Reader(nil)
	headers := http.Header{}
	for part := range strings.SplitSeq(text, " | ") {
		name, value, is := strings.Cut(part, ": ")
		switch {
		case name == "Profile":
			c.Profile = value
		case name == "Mode":
			c.Cache = apiv1.CacheMode(apiv1.CacheMode_value[value])
		case is:
			headers.Add(name, value)
		case part != "":
			method, path, _ = strings.Cut(part, " ")
		}
	}
	if method == "POST" {
		body = strings.NewReader("body")
	}
	ctx, cancel := context.WithTimeout(w.tb.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(call.With(ctx, c), method, w.server.URL+path, body)
	if err != nil {
		w.tb.Fatal(err)
	}
	request.Header = headers
	response, err := w.cache.RoundTrip(request)
	if err != nil {
		return answered{cache: c.Outcome().Cache, err: err}
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if response.Request == nil {
		err = errors.Join(err, errors.New("the response has no request"))
	}
	return answered{response.StatusCode, c.Outcome().Cache, response.Header, string(content), err}
}

// step is one request of a story.
type step struct {
	after  int    // seconds since the one before
	ask    string // see world.ask
	answer string // see world.serve; "" is the one before
	want   apiv1.CacheStatus
	status int    // 0 is 200
	body   string // "" is not compared
	header string // "Name: value" of the response; "Name: " is none
	sees   string // the same of the server's last request
}

func (w *world) tell(steps []step) {
	w.tb.Helper()
	for i, s := range steps {
		w.pass(time.Duration(s.after) * time.Second)
		if s.answer != "" {
			w.answers(s.answer)
		}
		before := len(w.requests())
		got := w.ask(s.ask)
		at := fmt.Sprintf("step %d", i+1)
		if s.status == -1 {
			if got.err == nil {
				w.tb.Errorf("%s: got %d %v, want an error", at, got.status, got.cache)
			}
			continue
		}
		if got.err != nil {
			w.tb.Fatalf("%s: %v", at, got.err)
		}
		if want := max(s.status, 200); got.status != want || got.cache != s.want {
			w.tb.Errorf("%s: got %d %v, want %d %v", at, got.status, got.cache, want, s.want)
		}
		if s.body != "" && got.body != s.body {
			w.tb.Errorf("%s: body %q, want %q", at, got.body, s.body)
		}
		w.compare(at, got.header, s.header)
		switch asked := w.requests(); {
		case s.sees != "":
			w.compare(at+", the server", asked[len(asked)-1], s.sees)
		case s.want == fresh && len(asked) != before:
			w.tb.Errorf("%s: the server was asked", at)
		}
	}
}

func (w *world) compare(at string, headers http.Header, want string) {
	w.tb.Helper()
	name, value, _ := strings.Cut(want, ": ")
	if want != "" && headers.Get(name) != value {
		w.tb.Errorf("%s: %s is %q, want %q", at, name, headers.Get(name), value)
	}
}
