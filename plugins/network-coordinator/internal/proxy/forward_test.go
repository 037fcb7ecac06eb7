package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
)

// client is Go's own, sent through the proxy.
func (f *fixture) client(user *url.Userinfo, scheme string) *http.Client {
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, User: user, Host: f.addr})}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// get returns status and body.
func get(t *testing.T, c *http.Client, url string) (reply, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, response.Request.URL}, string(body)
}

func TestFieldsOfOneConnectionAreNotPassedOn(t *testing.T) {
	f := start(t, func(f *fixture) {
		f.server.SetGate(&Gate{Clients: map[string]Token{"a": NewToken("secret")}, MaxConnections: 100})
	})
	got := make(chan string, 1)
	origin := serve(t, func(c *net.TCPConn) {
		in := &reader{}
		in.reset(c)
		head, _ := in.head(maxHead)
		got <- head
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"+
			"Proxy-Authenticate: Basic\r\nX-Theirs: 2\r\n\r\n")
	})
	response, _ := f.ask("GET http://" + origin + "/a?b=c HTTP/1.1\r\nhost: " + origin + "\r\n" +
		"Proxy-Authorization: Basic YTpzZWNyZXQ=\r\nProxy-Connection: keep-alive\r\nConnection: X-Own, keep-alive\r\n" +
		"X-Own: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nKeep-Alive: 1\r\nX-Other:  2 \r\nAuthorization: Bearer x\r\n\r\n")
	want := "GET /a?b=c HTTP/1.1\r\nHost: " + origin + "\r\nX-Other: 2\r\nAuthorization: Bearer x\r\nVia: 1.1 " + f.server.me + "\r\n\r\n"
	if head := <-got; head != want {
		t.Errorf("the server got\n%q, want\n%q", head, want)
	}
	for name, want := range map[string]string{"X-Mine": "", "Keep-Alive": "", "Proxy-Authenticate": "", "X-Theirs": "2", "Via": "1.1 " + f.server.me} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestABodyOfAnySizeGoesThroughUnchanged(t *testing.T) {
	f := start(t)
	origin := "http://" + newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	}))
	client := f.client(nil, "http")
	for _, size := range []int{0, 1, 4095, 32 << 10, 1<<20 + 7} {
		for kind, body := range map[string]io.Reader{
			"length": strings.NewReader(strings.Repeat("x", size)),
			"chunks": io.MultiReader(strings.NewReader(strings.Repeat("x", size))),
		} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, origin, body)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || len(got) != size {
				t.Errorf("%d bytes by %s: got %d, %v", size, kind, len(got), err)
			}
		}
	}
}

func TestRequestsOfOneConnectionShareOneToTheHost(t *testing.T) {
	f := start(t)
	var mu sync.Mutex
	peers := map[string]int{}
	origin := newServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		peers[r.RemoteAddr]++
	}))
	client, other := f.client(nil, "http"), f.client(nil, "http")
	for range 10 {
		get(t, client, "http://"+origin)
		get(t, other, "http://"+origin)
	}
	mu.Lock()
	defer mu.Unlock()
	if counts := slices.Collect(func(yield func(int) bool) {
		for _, n := range peers {
			yield(n)
		}
	}); len(counts) != 2 || counts[0] != 10 {
		t.Errorf("requests by connection: got %v, want 10 and 10", counts)
	}
}

func TestRulesHoldForEveryRequestOfAConnection(t *testing.T) {
	f := start(t)
	origin := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.66:80/a", http.StatusFound)
	}))
	response, body := get(t, f.client(nil, "http"), "http://"+origin+"/a")
	if response.StatusCode != 403 || !strings.Contains(body, "rule[0]") || !strings.Contains(body, "config.hcl:7") {
		t.Errorf("got %d %q, want 403 by rule[0] (config.hcl:7)", response.StatusCode, body)
	}
	if response.URL.Host != "127.0.0.66:80" {
		t.Errorf("the request that was refused: got %v, want the redirected one", response.URL)
	}
}

func TestARequestToAHostThatHungUpIsSentAgain(t *testing.T) {
	f := start(t)
	var connections atomic.Int32
	hungUp := make(chan struct{}, 1)
	origin := serve(t, func(c *net.TCPConn) {
		n := connections.Add(1)
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if n == 1 && r.URL.Path == "/second" {
				hungUp <- struct{}{}
				return // without a word
			}
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	client := f.client(nil, "http")
	get(t, client, "http://"+origin+"/first")
	if response, body := get(t, client, "http://"+origin+"/second"); response.StatusCode != 200 || body != "ok" {
		t.Errorf("got %d %q, want 200", response.StatusCode, body)
	}
	<-hungUp
}

func TestAServerThatWaitsForItSays100Continue(t *testing.T) {
	f := start(t)
	origin := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
	c := f.dial()
	in := bufio.NewReader(c)
	say(c, "POST http://%[1]s/ HTTP/1.1\r\nHost: %[1]s\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", origin)
	if status, _ := next(t, in); status != 100 {
		t.Fatalf("got %d, want 100", status)
	}
	say(c, "hello")
	if status, body := next(t, in); status != 200 || body != "hello" {
		t.Errorf("got %d %q, want 200", status, body)
	}
	say(c, "POST http://%[1]s/no HTTP/1.1\r\nHost: %[1]s\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", origin)
	if status, _ := next(t, in); status != 417 {
		t.Errorf("got %d, want 417", status)
	}
}

// next reads a response from a connection.
func next(t *testing.T, in *bufio.Reader) (status int, body string) {
	t.Helper()
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

func TestAnUpgradeBecomesATunnel(t *testing.T) {
	f := start(t)
	origin := serve(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		if err != nil || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
			say(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return
		}
		say(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nfirst")
		_, _ = io.Copy(c, in)
		_ = c.CloseWrite()
	})
	c := f.dial()
	in := bufio.NewReader(c)
	say(c, "GET http://%[1]s/ HTTP/1.1\r\nHost: %[1]s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", origin)
	response, err := http.ReadResponse(in, nil)
	if err != nil || response.StatusCode != 101 || response.Header.Get("Sec-WebSocket-Accept") != "x" {
		t.Fatalf("got %v, %v, want 101", response, err)
	}
	defer response.Body.Close()
	say(c, " then more")
	_ = c.CloseWrite()
	if got, err := io.ReadAll(in); err != nil || string(got) != "first then more" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestOldClientsAndOldServersAreUnderstood(t *testing.T) {
	f := start(t)
	modern := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		say(w, "hel")
		_ = http.NewResponseController(w).Flush()
		say(w, "lo")
	}))
	old := serve(t, func(c *net.TCPConn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		say(c, "HTTP/1.0 200 OK\r\n\r\nhello")
	})
	c := f.dial()
	say(c, "GET http://%s/ HTTP/1.0\r\n\r\n", modern)
	all, err := io.ReadAll(c)
	if _, body, _ := strings.Cut(string(all), "\r\n\r\n"); err != nil || body != "hello" || strings.Contains(string(all), "chunked") {
		t.Errorf("HTTP/1.0 client: got %q, %v, want a body without chunks", all, err)
	}
	if _, body := get(t, f.client(nil, "http"), "http://"+old); body != "hello" {
		t.Errorf("HTTP/1.0 server: got %q", body)
	}
	response, _ := f.ask("HEAD http://" + modern + "/ HTTP/1.1\r\nHost: " + modern + "\r\nConnection: close\r\n\r\n")
	if response.StatusCode != 200 {
		t.Errorf("HEAD: got %v", response)
	}
}

func TestAHostThatDoesNotAnswerIsA504(t *testing.T) {
	f := start(t)
	f.use(conn.Way{Idle: 100 * time.Millisecond})
	origin := serve(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	for name, raw := range map[string]string{
		"GET":                    "GET http://%[1]s/ HTTP/1.1\r\nHost: %[1]s\r\n\r\n",
		"POST with half a body":  "POST http://%[1]s/ HTTP/1.1\r\nHost: %[1]s\r\nContent-Length: 10\r\n\r\nhello",
		"POST with a whole body": "POST http://%[1]s/ HTTP/1.1\r\nHost: %[1]s\r\nContent-Length: 5\r\n\r\nhello",
	} {
		if response, body := f.ask(fmt.Sprintf(raw, origin)); response.StatusCode != 504 {
			t.Errorf("%s: got %d %q, want 504", name, response.StatusCode, body)
		}
	}
	f.list(0)
}

func TestAResponseBeforeTheEndOfTheRequestIsPassedOn(t *testing.T) {
	f := start(t)
	origin := serve(t, func(c *net.TCPConn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		say(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
	response, body := f.ask("POST http://" + origin + "/ HTTP/1.1\r\nHost: " + origin + "\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100000))
	if response.StatusCode != 413 || body != "no!" {
		t.Errorf("got %d %q, want 413", response.StatusCode, body)
	}
}

func TestAWrongPasswordIsNeverAnonymous(t *testing.T) {
	f := start(t)
	origin := newServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	clients := map[string]Token{"crawler": NewToken("sesame")}
	for name, test := range map[string]struct {
		anonymous bool
		user      *url.Userinfo
		want      int
	}{
		"right":                   {false, url.UserPassword("crawler", "sesame"), 200},
		"right, anonymous too":    {true, url.UserPassword("crawler", "sesame"), 200},
		"wrong":                   {false, url.UserPassword("crawler", "open"), 407},
		"wrong, anonymous too":    {true, url.UserPassword("crawler", "open"), 407},
		"unknown, anonymous too":  {true, url.UserPassword("other", ""), 407},
		"none":                    {false, nil, 407},
		"none, anonymous too":     {true, nil, 200},
		"no name, anonymous too":  {true, url.UserPassword("", ""), 407},
		"name and token in hex":   {false, url.UserPassword("crawler", "736573616d65"), 407},
		"name with another's end": {false, url.UserPassword("crawler:sesame", ""), 407},
	} {
		t.Run(name, func(t *testing.T) {
			f.server.SetGate(&Gate{Anonymous: test.anonymous, Clients: clients, MaxConnections: 100})
			response, body := get(t, f.client(test.user, "http"), "http://"+origin)
			if response.StatusCode != test.want {
				t.Errorf("got %d %q, want %d", response.StatusCode, body, test.want)
			}
			if test.want == 407 && (!strings.HasPrefix(response.Header.Get("Proxy-Authenticate"), "Basic ") || !strings.Contains(body, "http://NAME:TOKEN@")) {
				t.Errorf("the answer does not say what to do: %v %q", response.Header, body)
			}
		})
	}
	for _, credentials := range []string{"Basic", "Basic !", "Bearer sesame", "Basic Y3Jhd2xlcg==", "Basic Y3Jhd2xlcjpzZXNhbWU=\r\nProxy-Authorization: Basic Y3Jhd2xlcjpzZXNhbWU="} {
		if response, _ := f.ask("GET http://" + origin + "/ HTTP/1.1\r\nHost: " + origin + "\r\nConnection: close\r\nProxy-Authorization: " + credentials + "\r\n\r\n"); response.StatusCode != 407 {
			t.Errorf("%q: got %d, want 407", credentials, response.StatusCode)
		}
	}
}
