package page

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// modes are whether frames of other sites are processes of their own.
func modes() map[string][]string {
	return map[string][]string{"one process": nil, "a process each": {apart}}
}

// web serves pages, answers to /secret only to "user" with "password", and writes
// down what it was asked for.
type web struct {
	html map[string]string

	mu       sync.Mutex
	requests []*http.Request
}

func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	s.mu.Unlock()
	w.Header().Set("Access-Control-Allow-Origin", "*")
	switch user, password, _ := r.BasicAuth(); {
	case r.URL.Path == "/hangs":
		<-r.Context().Done()
	case r.URL.Path == "/slow": // so slow that who does not wait for it finds the network idle
		<-time.After(2 * quietTime)
	case r.URL.Path == "/secret" && (user != "user" || password != "password"):
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasSuffix(r.URL.Path, ".js"):
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = fmt.Fprint(w, s.html[r.URL.Path])
	case s.html[r.URL.Path] != "":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, s.html[r.URL.Path])
	}
}

// asked are the requests until now: "b.test/path?query".
func (s *web) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.requests {
		all = append(all, r.Host+r.URL.RequestURI())
	}
	return all
}

func idle() *browserv1.Wait { return &browserv1.Wait{Until: browserv1.Wait_NETWORK_IDLE} }

// shown opens a page with options and waits.
func shown(t *testing.T, tab *Tab, address string, wait *browserv1.Wait, options *browserv1.Page) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	if err := tab.Set(ctx, options); err != nil {
		t.Fatal(err)
	}
	if err := tab.Open(ctx, address, wait, nil); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func TestOptionsHoldInAllPartsOfAPage(t *testing.T) {
	// Each part asks for one thing that is blocked, and tells who it is when that
	// has failed.
	const asks = `const tell = (who) => fetch("/blocked?" + who).catch(() => fetch("/told?" + who)); `
	part := func(name, rest string) string {
		return `<script>` + asks + `tell("` + name + `"); new WebSocket("ws://" + location.host + "/blocked?socket"); new Worker("/worker.js?` + name + `"); globalThis.SharedWorker && new SharedWorker("/shared.js")</script>` + rest
	}
	for name, args := range modes() {
		t.Run(name, func(t *testing.T) {
			s := &web{html: map[string]string{
				"/": part("main", `<iframe src=http://b.test/1></iframe><script>
					navigator.serviceWorker.register("/service.js")</script>`),
				"/1":          part("one", `<iframe src=http://c.test/2></iframe>`),
				"/2":          part("two", `<iframe src=http://a.test/3></iframe>`),
				"/3":          part("three", ``),
				"/worker.js":  asks + `new WebSocket("ws://" + location.host + "/blocked?socket"); tell("worker of " + location.search.slice(1)); location.search.length > 1 && new Worker("/worker.js")`,
				"/service.js": asks + `addEventListener("install", (e) => e.waitUntil(tell("service worker")))`,
				"/shared.js":  asks + `tell("shared worker")`,
			}}
			tab := tabOn(t, s.ServeHTTP, args...)
			shown(t, tab, "http://localhost/", idle(), &browserv1.Page{
				Headers: map[string]string{"X-Test": "yes"}, UserAgent: "tester/1",
				Rules: &browserv1.Rules{BlockUrls: []string{"*/blocked*"}},
			})
			asked := s.asked()
			for _, want := range []string{
				"localhost/told?main", "b.test/told?one", "c.test/told?two", "a.test/told?three", "localhost/told?worker%20of%20main",
				"b.test/told?worker%20of%20one", "c.test/told?worker%20of%20two", "a.test/told?worker%20of%20three",
				"a.test/told?worker%20of", "localhost/told?service%20worker",
			} {
				if !slices.Contains(asked, want) {
					t.Errorf("no %s in %q", want, asked)
				}
			}
			for _, r := range s.requests {
				if strings.HasPrefix(r.URL.Path, "/blocked") {
					t.Errorf("%s%s: the rule does not hold", r.Host, r.URL)
				}
				if r.URL.Path == "/service.js" || r.URL.Path == "/worker.js" && r.URL.RawQuery == "" {
					continue // the one's headers and the other's user agent are the browser's own
				}
				if r.Header.Get("X-Test") != "yes" || r.UserAgent() != "tester/1" {
					t.Errorf("%s%s: headers: got %v", r.Host, r.URL, r.Header)
				}
			}
		})
	}
}

func TestOptionsAreGoneWithThePage(t *testing.T) {
	s := &web{html: map[string]string{"/": "1"}}
	tab := tabOn(t, s.ServeHTTP, apart)
	ctx := shown(t, tab, "http://a.test/", nil, &browserv1.Page{Headers: map[string]string{"X-Test": "yes"}, Rules: &browserv1.Rules{BlockTypes: []string{"websocket", "image"}}})
	if err := tab.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if err := tab.Set(ctx, &browserv1.Page{}); err != nil {
		t.Fatal(err)
	}
	const html = `<img src=http://a.test/image><iframe src=http://b.test/></iframe><script>new WebSocket("ws://a.test/socket"); new SharedWorker("data:,1")</script>`
	if err := tab.Write(ctx, html, idle()); err != nil {
		t.Fatal(err)
	}
	got := s.asked()[1:]
	slices.Sort(got)
	if want := []string{"a.test/image", "a.test/socket", "b.test/"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, r := range s.requests[1:] {
		if r.Header.Get("X-Test") != "" {
			t.Errorf("%s%s has the header of the page before", r.Host, r.URL)
		}
	}
}

func TestTypesAreBlockedInFramesAndDocumentsOnlyThere(t *testing.T) {
	for name, args := range modes() {
		t.Run(name, func(t *testing.T) {
			s := &web{html: map[string]string{
				"/":      `<iframe src=/near></iframe><iframe src=http://b.test/far></iframe><img src=/image?main>`,
				"/near":  `<img src=/image?near>`,
				"/far":   `<img src=/image?far><iframe src=http://c.test/deep></iframe>`,
				"/other": `<iframe src=http://b.test/far></iframe>`,
			}}
			tab := tabOn(t, s.ServeHTTP, args...)
			ctx := shown(t, tab, "http://a.test/", idle(), &browserv1.Page{Rules: &browserv1.Rules{BlockTypes: []string{"document"}}})
			if got, want := s.asked(), []string{"a.test/", "a.test/image?main"}; !slices.Equal(got, want) {
				t.Errorf("documents: got %q, want %q", got, want)
			}
			if err := tab.Reset(ctx); err != nil {
				t.Fatal(err)
			}
			shown(t, tab, "http://a.test/other", idle(), &browserv1.Page{Rules: &browserv1.Rules{BlockTypes: []string{"image"}}})
			if got, want := s.asked()[2:], []string{"a.test/other", "b.test/far", "c.test/deep"}; !slices.Equal(got, want) {
				t.Errorf("images: got %q, want %q", got, want)
			}
		})
	}
}

func TestCredentialsAreGivenInFrames(t *testing.T) {
	for name, args := range modes() {
		t.Run(name, func(t *testing.T) {
			s := &web{html: map[string]string{
				"/":        `<iframe src=http://b.test/1></iframe>`,
				"/1":       `<iframe src=http://c.test/2></iframe><script>fetch("/secret").then((r) => fetch("/one?" + r.status))</script>`,
				"/2":       `<script>fetch("/secret").then((r) => fetch("/two?" + r.status)); new Worker("/work.js")</script><img src=http://b.test/secret?image>`,
				"/work.js": `fetch("/secret").then((r) => fetch("/work?" + r.status))`,
			}}
			tab := tabOn(t, s.ServeHTTP, args...)
			shown(t, tab, "http://a.test/", idle(), &browserv1.Page{Credentials: map[string]*browserv1.Credentials{
				"b.test": {User: "user", Password: "password"}, "c.test:80": {User: "user", Password: "wrong"},
			}})
			asked := s.asked()
			for _, want := range []string{"b.test/one?200", "c.test/two?401", "c.test/work?401"} {
				if !slices.Contains(asked, want) {
					t.Errorf("no %s in %q", want, asked)
				}
			}
		})
	}
}

func TestAnOfflinePageReachesNothing(t *testing.T) {
	for name, args := range modes() {
		t.Run(name, func(t *testing.T) {
			s := &web{}
			tab := tabOn(t, s.ServeHTTP, args...)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := tab.Set(ctx, &browserv1.Page{Rules: &browserv1.Rules{Offline: true}}); err != nil {
				t.Fatal(err)
			}
			const html = `<iframe src=http://b.test/></iframe><img src=http://a.test/image><script>
				const ask = (who) => fetch("http://c.test/" + who, { mode: "no-cors" }).catch(() => 0)
				const worker = new Worker(URL.createObjectURL(new Blob(["fetch('http://c.test/worker', { mode: 'no-cors' }).catch(() => postMessage('offline'))"])))
				worker.onmessage = (e) => { document.title = e.data }
				ask("main")</script>`
			if err := tab.Write(ctx, html, &browserv1.Wait{Until: browserv1.Wait_NETWORK_IDLE, Expression: `document.title === "offline"`}); err != nil {
				t.Fatal(err)
			}
			if got := s.asked(); len(got) > 0 {
				t.Errorf("asked for: %q", got)
			}
			if err := tab.Reset(ctx); err != nil {
				t.Fatal(err)
			}
			shown(t, tab, "http://a.test/", nil, &browserv1.Page{})
		})
	}
}

func TestAThrottledPageIsSlowInItsFramesToo(t *testing.T) {
	const measure = `<script>(async () => {
		const begin = performance.now()
		await (await fetch("/kilobytes")).text()
		document.title = performance.now() - begin
	})()</script>`
	for name, args := range modes() {
		t.Run(name, func(t *testing.T) {
			s := &web{html: map[string]string{
				"/": `<iframe src=http://b.test/1></iframe>`, "/1": measure + `<iframe name=inner src=http://c.test/2></iframe>`, "/2": measure,
				"/kilobytes": strings.Repeat("x", 20_000),
			}}
			tab := tabOn(t, s.ServeHTTP, args...)
			ctx := shown(t, tab, "http://a.test/", idle(), &browserv1.Page{Rules: &browserv1.Rules{
				Throttle: &browserv1.Throttle{Latency: durationpb.New(100 * time.Millisecond), Down: 100_000},
			}})
			for _, name := range []string{"http://b.test/1", "inner"} {
				f, err := tab.frame(ctx, name)
				if err != nil {
					t.Fatal(err)
				}
				var took float64
				if err := f.call(ctx, ownWorld, `function() { return Number(document.title) }`, &took); err != nil || took < 250 {
					t.Errorf("%s: got %v ms, %v, want 300 and more", name, took, err)
				}
			}
		})
	}
}
