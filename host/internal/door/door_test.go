package door

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// answering is a handler that says which one it is.
func answering(with string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, with) })
}

// testConfig has something behind every path.
func testConfig() Config {
	return Config{
		Pages:    answering("page"),
		Profiles: answering("profile"),
		RPC:      answering("rpc"),
		REST:     answering("rest"),
		Token:    "s3cret",
		Host:     "Gaia.Internal",
		Grace:    func() time.Duration { return time.Minute },
		Logger:   hclog.NewNullLogger(),
	}
}

// ask makes one request, each header as "Key: value".
func ask(t *testing.T, h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
	r.Host = "127.0.0.1:4242"
	for _, h := range header {
		key, value, _ := strings.Cut(h, ": ")
		if r.Header.Add(key, value); key == "Host" {
			r.Host = value
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get(t *testing.T, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	return ask(t, h, http.MethodGet, path, header...)
}

func TestEachPathLeadsToItsHandler(t *testing.T) {
	h := New(testConfig()).Handler()
	for path, want := range map[string]string{
		"/metrics":                          "page",
		"/":                                 "page",
		"/a":                                "page",
		"/a/b/c":                            "page",
		"/debug/pprof/":                     "profile",
		"/debug/pprof/heap":                 "profile",
		"/v1":                               "rest",
		"/v1/":                              "rest",
		"/v1/api_client_pool/Do":            "rest",
		"/v1beta.Service/Do":                "rpc",
		"/gaia.api.v1.APIClientPool/Do":     "rpc",
		"/Service/Do":                       "rpc",
		"/gaia.api.v1.APIClientPool/":       "page",
		"//Do":                              "page",
		"/gaia.api.v1.APIClientPool/Do/not": "page",
	} {
		if w := get(t, h, path, "Authorization: Bearer s3cret"); w.Body.String() != want {
			t.Errorf("%s: got %q, want %q", path, w.Body, want)
		}
	}
}

func TestAllButPagesNeedTheToken(t *testing.T) {
	h := New(testConfig()).Handler()
	for _, c := range []struct {
		authorization string
		want          int
	}{
		{"", 401}, {"Bearer", 401}, {"Bearer ", 401}, {"Bearer wrong", 401}, {"Bearer s3cret2", 401}, {"Basic s3cret", 401},
		{"s3cret", 401}, {"Bearer s3cret", 200}, {"bearer s3cret", 200},
	} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/v1", "/v1/a/B", "/a.B/C"} {
			w := get(t, h, path, "Authorization: "+c.authorization)
			if w.Code != c.want {
				t.Errorf("%s with %q: got %d, want %d", path, c.authorization, w.Code, c.want)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (challenge != "") != (c.want == 401) {
				t.Errorf("%s with %q: WWW-Authenticate %q", path, c.authorization, challenge)
			}
		}
	}
	c := testConfig()
	c.Token = ""
	if w := get(t, New(c).Handler(), "/v1", "Authorization", "Bearer "); w.Code != http.StatusUnauthorized {
		t.Errorf("without a token: got %d", w.Code)
	}
}

func TestARefusalHasTheFormOfTheProtocol(t *testing.T) {
	h := New(testConfig()).Handler()
	words := "this needs the header Authorization: Bearer with the token that the host writes to run/token"
	for _, c := range []struct {
		path, contentType string
		status            int
		body              string
		header            http.Header
	}{
		{"/v1/a/B", "application/json", 401, `{"code":16,"message":"` + words + `"}` + "\n", nil},
		{"/a.B/C", "application/json", 401, `{"code":"unauthenticated","message":"` + words + `"}`, nil},
		{"/a.B/C", "application/proto", 401, `{"code":"unauthenticated","message":"` + words + `"}`, nil},
		{"/a.B/C", "application/grpc", 200, "", http.Header{"Grpc-Status": {"16"}, "Grpc-Message": {words}}},
		{"/a.B/C", "application/grpc-web", 200, "", http.Header{"Grpc-Status": {"16"}, "Grpc-Message": {words}}},
		{"/a.B/C", "text/html", 401, words + "\n", nil},
	} {
		w := ask(t, h, http.MethodPost, c.path, "Content-Type: "+c.contentType)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s as %s: got %d %s\nwant %d %s", c.path, c.contentType, w.Code, w.Body, c.status, c.body)
		}
		for key := range c.header {
			if got, want := w.Header().Get(key), c.header.Get(key); got != want {
				t.Errorf("%s as %s: %s is %q, want %q", c.path, c.contentType, key, got, want)
			}
		}
	}
}

func TestForeignPagesAreRefused(t *testing.T) {
	h := New(testConfig()).Handler()
	for _, c := range []struct {
		key, value string
		want       int
	}{
		{"Origin", "http://127.0.0.1:4242", 200},
		{"Origin", "https://127.0.0.1:4242", 200}, // behind a proxy that ends TLS
		{"Origin", "http://127.0.0.1:3000", 403},
		{"Origin", "http://evil.example", 403},
		{"Origin", "http://127.0.0.1:4242.evil.example", 403},
		{"Origin", "null", 403},
		{"Origin", "", 403},
		{"Origin", "%", 403},
		{"Sec-Fetch-Site", "same-origin", 200},
		{"Sec-Fetch-Site", "none", 200},
		{"Sec-Fetch-Site", "same-site", 403},
		{"Sec-Fetch-Site", "cross-site", 403},
	} {
		for _, path := range []string{"/v1", "/v1/a/B", "/a.B/C", "/debug/pprof/"} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
				w := ask(t, h, method, path, "Authorization: Bearer s3cret", c.key+": "+c.value)
				if w.Code != c.want {
					t.Errorf("%s %s with %s %q: got %d, want %d", method, path, c.key, c.value, w.Code, c.want)
				}
			}
		}
		if w := get(t, h, "/metrics", c.key+": "+c.value); w.Code != http.StatusOK {
			t.Errorf("a page with %s %q: got %d", c.key, c.value, w.Code)
		}
	}
}

func TestFormsAreRefusedAndTheRemedyIsNamed(t *testing.T) {
	h := New(testConfig()).Handler()
	for kind, want := range map[string]int{
		"application/x-www-form-urlencoded":                415,
		"Application/X-WWW-Form-URLEncoded; charset=utf-8": 415,
		"multipart/form-data; boundary=x":                  415,
		"text/plain":                                       415,
		"application/json":                                 200,
		"":                                                 200,
	} {
		w := ask(t, h, http.MethodPost, "/a.B/C", "Authorization: Bearer s3cret", "Content-Type: "+kind)
		if w.Code != want || want == 415 && !strings.Contains(w.Body.String(), "curl --json") {
			t.Errorf("a call of %q: got %d %s", kind, w.Code, w.Body)
		}
		if w := ask(t, h, http.MethodPost, "/v1/a/B", "Authorization: Bearer s3cret", "Content-Type: "+kind); w.Body.String() != "rest" {
			t.Errorf("/v1 of %q: got %d %s; it refuses by itself, in JSON", kind, w.Code, w.Body)
		}
	}
}

func TestAForeignHostIsRefused(t *testing.T) {
	h := New(testConfig()).Handler()
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
		for _, path := range []string{"/livez", "/v1", "/a.B/C", "/debug/pprof/"} {
			if w := get(t, h, path, "Authorization: Bearer s3cret", "Host: "+host); w.Code != want {
				t.Errorf("%s at host %q: got %d, want %d", path, host, w.Code, want)
			}
		}
	}
}

// serve runs a server until stop, whose error is what Serve returned.
func serve(t *testing.T, c Config) (url string, stop func() error) {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- New(c).Serve(ctx, lis) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() { _ = stop() })
	return "http://" + lis.Addr().String(), stop
}

// fetch reads a page over a connection of its own, in one of HTTP's versions.
func fetch(t *testing.T, version int, url string) (code int, body string, err error) {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(version == 1)
	transport.Protocols.SetUnencryptedHTTP2(version == 2)
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer s3cret")
	w, err := transport.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer w.Body.Close()
	content, err := io.ReadAll(w.Body)
	return w.StatusCode, string(content), err
}

// hanging is a handler that says when it has begun, and answers when it may or
// when it is cancelled.
type hanging struct{ begun, may chan struct{} }

func newHanging() hanging { return hanging{make(chan struct{}, 2), make(chan struct{})} }

func (h hanging) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.begun <- struct{}{}
	select {
	case <-h.may:
		_, _ = io.WriteString(w, "whole")
	case <-r.Context().Done():
		_, _ = io.WriteString(w, "cut")
	}
}

func TestCallsUnderWayEndBeforeTheServer(t *testing.T) {
	for version := 1; version <= 2; version++ {
		c, call := testConfig(), newHanging()
		c.RPC = call
		url, stop := serve(t, c)
		answered := make(chan string, 1)
		go func() {
			code, body, err := fetch(t, version, url+"/a.B/C")
			answered <- fmt.Sprintln(code, body, err)
		}()
		<-call.begun
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		for { // until nobody is let in any more
			if _, _, err := fetch(t, version, url+"/livez"); err != nil {
				break
			}
		}
		close(call.may)
		if got, want := <-answered, "200 whole <nil>\n"; got != want {
			t.Errorf("HTTP/%d: got %s, want %s", version, got, want)
		}
		if err := <-stopped; err != nil {
			t.Errorf("HTTP/%d: Serve: %v", version, err)
		}
	}
}

func TestPagesAreNotWaitedFor(t *testing.T) {
	c, page := testConfig(), newHanging()
	c.Pages = page
	url, stop := serve(t, c)
	answered := make(chan string, 1)
	go func() {
		code, body, err := fetch(t, 1, url+"/metrics")
		answered <- fmt.Sprintln(code, body, err)
	}()
	<-page.begun
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if got, want := <-answered, "200 cut <nil>\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
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
	err = New(testConfig()).Serve(t.Context(), lis)
	if err == nil || !strings.HasPrefix(err.Error(), "http: ") {
		t.Errorf("got %v", err)
	}
}

func TestTokensAreComparedWhole(t *testing.T) {
	got := []bool{sameToken("abc", "abc"), sameToken("ab", "abc"), sameToken("abcd", "abc"), sameToken("", "")}
	if diff := gocmp.Diff([]bool{true, false, false, false}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPanicIsContainedAndLogged(t *testing.T) {
	var log strings.Builder
	c := testConfig()
	c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
	c.RPC = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
	url, stop := serve(t, c)
	if code, _, err := fetch(t, 1, url+"/a.B/C"); err == nil {
		t.Errorf("got an answer of status %d", code)
	}
	if code, _, err := fetch(t, 1, url+"/v1"); err != nil || code != http.StatusOK {
		t.Errorf("the next request: got %d, %v", code, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, "panic in a request: path=/a.B/C panic=boom") || !strings.Contains(got, "door_test.go") {
		t.Errorf("log: %s", got)
	}
}

func TestABodyThatNobodyAskedForIsNotWaitedFor(t *testing.T) {
	for _, c := range []struct{ name, path, header string }{
		{"a page", "/livez", ""},
		{"a refusal", "/v1/a/B", ""},
		{"a foreign host", "/livez", "Host: evil.example\r\n"},
		{"a handler that does not read", "/v1/a/B", "Authorization: Bearer s3cret\r\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			lis := newPipeListener()
			ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			served := make(chan error, 1)
			go func() { served <- New(testConfig()).Serve(ctx, lis) }()
			conn := lis.dial()
			header := cmp.Or(c.header, "Host: localhost\r\n")
			if !strings.HasPrefix(header, "Host") {
				header += "Host: localhost\r\n"
			}
			go func() {
				_, _ = io.WriteString(conn, "POST "+c.path+" HTTP/1.1\r\n"+header+"Content-Length: 100\r\n\r\n")
			}()
			start := time.Now()
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if took := time.Since(start); took > 2*bodyTimeout {
				t.Errorf("%s: the connection was held for %v", c.name, took)
			}
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// pipeListener has connections within the process, whose time is that of a test.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipeListener() *pipeListener {
	closed := make(chan struct{})
	return &pipeListener{conns: make(chan net.Conn), closed: closed, close: sync.OnceFunc(func() { close(closed) })}
}

func (l *pipeListener) dial() net.Conn {
	here, there := net.Pipe()
	l.conns <- there
	return here
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.close(); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestHalfOfTheDescriptorsAreLeftToOthers(t *testing.T) {
	var of syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &of); err != nil {
		t.Fatal(err)
	}
	if got := maxConnections(); got < 1 || uint64(got) > of.Cur/2 || got > maxCalls {
		t.Errorf("%d connections of %d descriptors", got, of.Cur)
	}
}
