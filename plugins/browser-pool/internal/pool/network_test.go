package pool

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// host answers for all names of a test: with a page of pages, a redirect at /to?URL,
// a WebSocket at /socket, and with nothing elsewhere. It writes down what it was
// asked for, "name/path?query".
type host struct {
	*httptest.Server
	pages map[string]string

	mu   sync.Mutex
	seen []string
}

func serveHost(t *testing.T, pages map[string]string) *host {
	t.Helper()
	h := &host{pages: pages}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.seen = append(h.seen, r.Host+r.URL.RequestURI())
	h.mu.Unlock()
	w.Header().Set("Access-Control-Allow-Origin", "*")
	types := map[string]string{".js": "text/javascript", ".css": "text/css"}
	switch page, ok := h.pages[r.URL.Path]; {
	case r.URL.Path == "/to":
		http.Redirect(w, r, r.URL.RawQuery, http.StatusFound) //nolint:gosec // G710: redirects are what is tested
	case r.URL.Path == "/socket":
		if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}); err == nil {
			_ = c.Close(websocket.StatusNormalClosure, "")
		}
	case ok:
		w.Header().Set("Content-Type", "text/html")
		if at := strings.LastIndexByte(r.URL.Path, '.'); at >= 0 {
			w.Header().Set("Content-Type", types[r.URL.Path[at:]])
		}
		_, _ = fmt.Fprint(w, page)
	}
}

func (h *host) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen)
}

func (h *host) address() string { return h.Listener.Addr().String() }

// forbidden is a server that nobody may connect to.
func forbidden(t *testing.T) (address string, connections *atomic.Int64) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int64)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().String(), connections
}

func TestEgressRulesHoldForAllThatAPageAsksFor(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"one process": nil, "a process each": {"--site-per-process"}} {
		t.Run(name, func(t *testing.T) {
			h := serveHost(t, map[string]string{
				"/": `<link rel=preconnect href=http://denied.test><link rel=prefetch href=http://denied.test/prefetch>
					<img src=http://denied.test/image><img src=http://localhost/to?http://denied.test/redirected>
					<iframe src=http://denied.test/frame></iframe><iframe src=http://other.test/frame></iframe><script>
					const tell = (who) => () => fetch("/told?" + who)
					for (const name of ["denied.test", "localhost"]) {
						const socket = new WebSocket("ws://" + name + "/socket")
						socket.onopen = tell("open-" + name)
						socket.onerror = tell("refused-" + name)
					}
					fetch("http://denied.test/fetch", { mode: "no-cors" }).catch(tell("fetch"))
					fetch("/to?http://denied.test/fetch", { mode: "no-cors" }).catch(tell("redirect"))
					navigator.sendBeacon("http://denied.test/beacon", "x")
					new EventSource("http://denied.test/events")
					new Worker("/worker.js?worker"); new SharedWorker("/worker.js?shared"); navigator.serviceWorker.register("/worker.js?service")
					</script>`,
				"/frame":     `<iframe src=http://denied.test/frame></iframe><script>fetch("http://denied.test/fetch", { mode: "no-cors" }).catch(() => fetch("/told?frame"))</script>`,
				"/worker.js": `fetch("http://denied.test/worker", { mode: "no-cors" }).catch(() => fetch("/told?" + location.search.slice(1)))`,
			})
			at, connections := forbidden(t)
			p := start(t, &browserv1.Config{
				Args:    args,
				Egress:  &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_DENY, Hosts: []string{"denied.test"}}}},
				Resolve: map[string]string{"localhost:80": h.address(), "other.test:80": h.address(), "denied.test:80": at},
			})
			_, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: "http://localhost/", Page: &browserv1.Page{Wait: &browserv1.Wait{Until: browserv1.Wait_NETWORK_IDLE}}})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{
				"localhost/told?fetch", "localhost/told?open-localhost", "localhost/told?redirect", "localhost/told?refused-denied.test",
				"localhost/told?service", "localhost/told?shared", "localhost/told?worker", "other.test/told?frame",
			}
			got := slices.DeleteFunc(h.asked(), func(s string) bool { return !strings.Contains(s, "/told?") })
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			_, err = p.Content(t.Context(), &browserv1.ContentRequest{Url: "http://localhost/to?http://denied.test/"})
			if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "denied.test") {
				t.Errorf("a redirect of the page itself: got %v, want PermissionDenied", err)
			}
			if got := connections.Load(); got != 0 {
				t.Errorf("%d connections were made to what is denied", got)
			}
			if got := metric(t, p, "gaia_browser_egress_denied_total"); got < 8 {
				t.Errorf("denied: got %v, want 8 at least", got)
			}
		})
	}
}

func TestTypesAndPatternsOfRequestsAreBlocked(t *testing.T) {
	t.Parallel()
	h := serveHost(t, map[string]string{
		"/": `<link rel=stylesheet href=/style.css><img src=/image><script src=/script.js></script><iframe src=/document></iframe>
			<video src=/media></video><style>@font-face { font-family: f; src: url(/font) } p { font-family: f }</style><p>text</p>
			<script>
				fetch("/fetch?q=1")
				const xhr = new XMLHttpRequest(); xhr.open("GET", "/xhr"); xhr.send()
				new WebSocket("ws://" + location.host + "/socket")
			</script>`,
		"/style.css": " ", "/script.js": " ", "/document": "d",
	})
	p := start(t, nil)
	all := []string{"/", "/document", "/fetch?q=1", "/font", "/image", "/media", "/script.js", "/socket", "/style.css", "/xhr"}
	for name, test := range map[string]struct {
		rules *browserv1.Rules
		gone  []string
	}{
		"none":       {nil, nil},
		"image":      {&browserv1.Rules{BlockTypes: []string{"image"}}, []string{"/image"}},
		"media":      {&browserv1.Rules{BlockTypes: []string{"media"}}, []string{"/media"}},
		"font":       {&browserv1.Rules{BlockTypes: []string{"font"}}, []string{"/font"}},
		"stylesheet": {&browserv1.Rules{BlockTypes: []string{"stylesheet"}}, []string{"/style.css"}},
		"script":     {&browserv1.Rules{BlockTypes: []string{"script"}}, []string{"/script.js"}},
		"xhr":        {&browserv1.Rules{BlockTypes: []string{"xhr"}}, []string{"/fetch?q=1", "/xhr"}}, // one cannot be told from the other
		"fetch":      {&browserv1.Rules{BlockTypes: []string{"fetch"}}, []string{"/fetch?q=1", "/xhr"}},
		"websocket":  {&browserv1.Rules{BlockTypes: []string{"websocket"}}, []string{"/socket"}},
		"document":   {&browserv1.Rules{BlockTypes: []string{"document"}}, []string{"/document"}},
		"two":        {&browserv1.Rules{BlockTypes: []string{"image", "font"}}, []string{"/font", "/image"}},
		"a pattern":  {&browserv1.Rules{BlockUrls: []string{"*/fetch?q=*", "*/nothing", "http*.css"}}, []string{"/fetch?q=1", "/style.css"}},
		"a socket":   {&browserv1.Rules{BlockUrls: []string{"ws://*/socket"}}, []string{"/socket"}},
		"both":       {&browserv1.Rules{BlockTypes: []string{"image"}, BlockUrls: []string{"*.js"}}, []string{"/image", "/script.js"}},
	} {
		before := len(h.asked())
		_, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: h.URL + "/", Page: &browserv1.Page{
			Rules: test.rules, Wait: &browserv1.Wait{Until: browserv1.Wait_NETWORK_IDLE},
		}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, s := range h.asked()[before:] {
			got = append(got, strings.TrimPrefix(s, h.address()))
		}
		slices.Sort(got)
		want := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(test.gone, s) })
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestAPageMayBeOfflineOrOnASlowNetwork(t *testing.T) {
	t.Parallel()
	h := serveHost(t, map[string]string{"/": `<img src=/image>`})
	p := start(t, nil)
	_, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: h.URL, Page: &browserv1.Page{Rules: &browserv1.Rules{Offline: true}}})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the page's rules say offline") || len(h.asked()) > 0 {
		t.Errorf("offline: got %v, %q", err, h.asked())
	}
	begin := time.Now()
	_, err = p.Content(t.Context(), &browserv1.ContentRequest{Url: h.URL, Page: &browserv1.Page{Rules: &browserv1.Rules{
		Throttle: &browserv1.Throttle{Latency: durationpb.New(200 * time.Millisecond)},
	}}})
	if took := time.Since(begin); err != nil || took < 400*time.Millisecond { // the page and its picture
		t.Errorf("slow: got %v after %v", err, took)
	}
}

// gate is a proxy for tunnels that asks for "user" and "password", and leads
// everything to one address.
type gate struct {
	to string

	mu   sync.Mutex
	seen []string
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	inner := http.Header{"Authorization": r.Header["Proxy-Authorization"]}
	user, password, _ := (&http.Request{Header: inner}).BasicAuth()
	if r.Method != http.MethodConnect || user != "user" || password != "password" {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	g.mu.Lock()
	g.seen = append(g.seen, r.Host)
	g.mu.Unlock()
	out, err := new(net.Dialer).DialContext(r.Context(), "tcp", g.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out)
}

func TestAPageGoesThroughItsOwnProxy(t *testing.T) {
	t.Parallel()
	h := serveHost(t, map[string]string{"/": `<title>proxied</title><iframe src=http://framed.test/></iframe><script>new WebSocket("ws://socket.test/socket")</script>`})
	g := &gate{to: h.address()}
	proxy := httptest.NewServer(g)
	defer proxy.Close()
	p := start(t, nil)
	at := strings.TrimPrefix(proxy.URL, "http://")
	response, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: "http://page.test/", Page: &browserv1.Page{
		Proxy: "http://user:password@" + at, Wait: &browserv1.Wait{Until: browserv1.Wait_NETWORK_IDLE},
	}})
	if err != nil || response.GetPage().GetTitle() != "proxied" {
		t.Fatalf("got %v, %v", response.GetPage(), err)
	}
	g.mu.Lock()
	for _, want := range []string{"page.test:80", "framed.test:80", "socket.test:80"} {
		if !slices.Contains(g.seen, want) {
			t.Errorf("no tunnel to %s in %q", want, g.seen)
		}
	}
	g.mu.Unlock()
	_, err = p.Content(t.Context(), &browserv1.ContentRequest{Url: "http://page.test/", Page: &browserv1.Page{Proxy: "http://user:mistaken@" + at}})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "407") || strings.Contains(err.Error(), "mistaken") {
		t.Errorf("wrong password: got %v", err)
	}
}

func TestNamesAreFoundWhereTheConfigSays(t *testing.T) {
	t.Parallel()
	h := serveHost(t, map[string]string{"/": `<title>here</title>`})
	p := start(t, &browserv1.Config{Resolve: map[string]string{"example.test:8080": h.address()}})
	response, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: "http://example.test:8080/"})
	if err != nil || response.GetPage().GetTitle() != "here" || response.GetPage().GetUrl() != "http://example.test:8080/" {
		t.Errorf("got %v, %v", response.GetPage(), err)
	}
	if got, want := h.asked(), []string{"example.test:8080/"}; !slices.Equal(got, want) {
		t.Errorf("asked: got %q, want %q", got, want)
	}
}
