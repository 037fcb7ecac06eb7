package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// ask sends raw bytes to the proxy and returns the response, whose body is read
// as far as it comes.
func (f *fixture) ask(raw string) (reply, string) {
	f.t.Helper()
	c := f.dial()
	if _, err := io.WriteString(c, raw); err != nil {
		f.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		f.t.Fatalf("%.60q: no response: %v", raw, err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return reply{StatusCode: response.StatusCode, Header: response.Header}, string(body)
}

// reply is what a response says before its body.
type reply struct {
	StatusCode int
	Header     http.Header
	URL        *url.URL // of the last request
}

func TestMalformedRequestsAreAnsweredAndReachNobody(t *testing.T) {
	f := start(t)
	reached := make(chan string, 100)
	origin := serve(t, func(c *net.TCPConn) {
		head := make([]byte, 4096)
		n, _ := c.Read(head)
		if n > 0 {
			reached <- string(head[:n])
		}
	})
	base := "http://" + origin
	host := "Host: " + origin + "\r\n"
	tests := map[string]struct {
		raw  string
		want int
		says string
	}{
		"no HTTP":                      {"hello\r\n\r\n", 400, "first line"},
		"TLS":                          {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400, "LF"},
		"HTTP/2":                       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1"},
		"HTTP/0.9":                     {"GET " + base + "/\r\n\r\n", 400, "first line"},
		"two spaces":                   {"GET  " + base + "/ HTTP/1.1\r\n" + host + "\r\n", 400, "first line"},
		"bare LF":                      {"GET " + base + "/ HTTP/1.1\n" + host + "\n", 400, "LF"},
		"bare CR":                      {"GET " + base + "/ HTTP/1.1\r\n" + host + "A: b\rc\r\n\r\n", 400, "character"},
		"NUL":                          {"GET " + base + "/ HTTP/1.1\r\n" + host + "A: \x00\r\n\r\n", 400, "character"},
		"folded field":                 {"GET " + base + "/ HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n", 400, "obs-fold"},
		"space before the colon":       {"GET " + base + "/ HTTP/1.1\r\n" + host + "Content-Length : 5\r\n\r\n", 400, "field"},
		"no colon":                     {"GET " + base + "/ HTTP/1.1\r\n" + host + "A\r\n\r\n", 400, "field"},
		"no Host":                      {"GET " + base + "/ HTTP/1.1\r\n\r\n", 400, "Host"},
		"two Hosts":                    {"GET " + base + "/ HTTP/1.1\r\n" + host + host + "\r\n", 400, "Host"},
		"Host of another":              {"GET " + base + "/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 400, "Host"},
		"Host with another port":       {"GET " + base + "/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n", 400, "Host"},
		"a path":                       {"GET / HTTP/1.1\r\n" + host + "\r\n", 400, "whole URLs"},
		"https":                        {"GET https://" + origin + "/ HTTP/1.1\r\n" + host + "\r\n", 400, "CONNECT"},
		"file":                         {"GET file:///etc/passwd HTTP/1.1\r\n" + host + "\r\n", 400, "http://"},
		"user information":             {"GET http://a:secret@" + origin + "/ HTTP/1.1\r\n" + host + "\r\n", 400, "password"},
		"fragment":                     {"GET " + base + "/#a HTTP/1.1\r\n" + host + "\r\n", 400, "fragment"},
		"backslash":                    {"GET http://" + origin + "\\@example.com/ HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		"port 0":                       {"GET http://127.0.0.1:0/ HTTP/1.1\r\nHost: 127.0.0.1:0\r\n\r\n", 400, "port"},
		"port 65536":                   {"CONNECT 127.0.0.1:65536 HTTP/1.1\r\n\r\n", 400, "port"},
		"CONNECT without a port":       {"CONNECT 127.0.0.1 HTTP/1.1\r\n\r\n", 400, "HOST:PORT"},
		"CONNECT to port 0":            {"CONNECT 127.0.0.1:0 HTTP/1.1\r\n\r\n", 400, "port"},
		"CONNECT with a body":          {"CONNECT " + origin + " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "body"},
		"CONNECT with a length":        {"CONNECT " + origin + " HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400, "body"},
		"an empty line, then CONNECT":  {"\r\nCONNECT " + origin + " HTTP/1.1\r\nA: " + strings.Repeat("a", 9<<10) + "\r\n\r\n", 431, "8 KiB"},
		"CONNECT to no name":           {"CONNECT a..b:443 HTTP/1.1\r\n\r\n", 400, ""},
		"CONNECT with a long head":     {"CONNECT " + origin + " HTTP/1.1\r\nA: " + strings.Repeat("a", 9<<10) + "\r\n\r\n", 431, "8 KiB"},
		"a long head":                  {"GET " + base + "/ HTTP/1.1\r\n" + host + "A: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", 431, "64 KiB"},
		"many fields":                  {"GET " + base + "/ HTTP/1.1\r\n" + host + strings.Repeat("A: b\r\n", 1000) + "\r\n", 431, ""},
		"length and chunks":            {"POST " + base + "/ HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "both"},
		"two lengths":                  {"POST " + base + "/ HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, "not one number"},
		"a list of lengths":            {"POST " + base + "/ HTTP/1.1\r\n" + host + "Content-Length: 5, 5\r\n\r\nhello", 400, "not one number"},
		"a signed length":              {"POST " + base + "/ HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\nhello", 400, "not one number"},
		"a huge length":                {"POST " + base + "/ HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\n", 400, "not one number"},
		"another transfer encoding":    {"POST " + base + "/ HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 400, "only chunked"},
		"chunks twice":                 {"POST " + base + "/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "only chunked"},
		"an odd spelling of chunked":   {"POST " + base + "/ HTTP/1.1\r\n" + host + "Transfer-Encoding: \x0bchunked\r\n\r\n", 400, "character"},
		"chunks in HTTP/1.0":           {"POST " + base + "/ HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0"},
		"IPv6 without brackets":        {"GET http://::1:80/ HTTP/1.1\r\nHost: ::1:80\r\n\r\n", 400, "brackets"},
		"IPv4 in brackets":             {"CONNECT [127.0.0.1]:80 HTTP/1.1\r\n\r\n", 400, "brackets"},
		"half a bracket":               {"GET http://[::1/ HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, ""},
		"a disguised address":          {"CONNECT 0x7f.66:80 HTTP/1.1\r\n\r\n", 403, "rule[0]"},
		"an address in an IPv6 one":    {"CONNECT [::ffff:127.0.0.66]:80 HTTP/1.1\r\n\r\n", 403, "rule[0]"},
		"an address of the metadata":   {"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", 403, "default"},
		"TRACE":                        {"TRACE " + base + "/ HTTP/1.1\r\n" + host + "\r\n", 405, "TRACE"},
		"a request that has been here": {"GET " + base + "/ HTTP/1.1\r\n" + host + "Via: 1.1 a, 1.1 " + f.server.me + "\r\n\r\n", 508, "already"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			response, body := f.ask(test.raw)
			if response.StatusCode != test.want || !strings.Contains(body, test.says) {
				t.Errorf("got %d %q, want %d with %q", response.StatusCode, body, test.want, test.says)
			}
			if got := response.Header.Get("X-Gaia-Reason"); got != strings.TrimSuffix(body, "\n") {
				t.Errorf("X-Gaia-Reason: got %q, want the body", got)
			}
			if strings.Contains(body, "secret") {
				t.Errorf("the answer has the password: %q", body)
			}
		})
	}
	select {
	case got := <-reached:
		t.Errorf("a malformed request has reached the server: %q", got)
	default:
	}
}

func TestABadBodyIsNotTakenForAWholeOne(t *testing.T) {
	f := start(t)
	type got struct {
		body string
		err  error
	}
	bodies := make(chan got, 1)
	server := newServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		bodies <- got{string(body), err}
	}))
	head := "POST http://" + server + "/ HTTP/1.1\r\nHost: " + server + "\r\n"
	tests := map[string]string{
		"a chunk longer than it says": "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
		"a chunk of no size":          "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
		"a size that is no number":    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
		"a signed size":               "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n",
		"a size with an underscore":   "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0_1\r\nx\r\n0\r\n\r\n",
		"a size with a prefix":        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
		"a size without end":          "Transfer-Encoding: chunked\r\n\r\n5" + strings.Repeat("0", 5000),
		"a size beyond all":           "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello",
		"lines that end in LF":        "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
		"an extension with a bare CR": "Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n",
		"trailers that are none":      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nhello\r\n\r\n",
		"trailers that do not end":    "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 100),
	}
	for name, rest := range tests {
		t.Run(name, func(t *testing.T) {
			response, body := f.ask(head + rest)
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("got %d %q, want 400", response.StatusCode, body)
			}
			if got := <-bodies; got.err == nil {
				t.Errorf("the server took %q for a whole body", got.body)
			}
		})
	}
	for name, rest := range map[string]string{
		"a lying length":  "Content-Length: 10\r\n\r\nhello",
		"half a chunk":    "Transfer-Encoding: chunked\r\n\r\na\r\nhello",
		"chunks no end":   "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"trailers no end": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n",
	} {
		t.Run("cut off: "+name, func(t *testing.T) {
			c := f.dial()
			_, _ = io.WriteString(c, head+rest)
			_ = c.CloseWrite()
			if status, body := next(t, bufio.NewReader(c)); status != http.StatusBadRequest {
				t.Errorf("got %d %q, want 400", status, body)
			}
			if got := <-bodies; got.err == nil {
				t.Errorf("the server took %q for a whole body", got.body)
			}
		})
	}
}

func TestABadResponseIsA502OrABrokenConnection(t *testing.T) {
	f := start(t)
	for name, test := range map[string]struct {
		response string
		want     int // 0 where it has begun and is broken off
	}{
		"no HTTP":                 {"hello\r\n\r\n", 502},
		"nothing":                 {"", 502},
		"half a head":             {"HTTP/1.1 200 OK\r\nA: b\r\n", 502},
		"HTTP/2":                  {"HTTP/2 200 OK\r\n\r\n", 502},
		"no status":               {"HTTP/1.1 OK\r\n\r\n", 502},
		"a status of four digits": {"HTTP/1.1 2000 OK\r\n\r\n", 502},
		"a folded field":          {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", 502},
		"bare LF":                 {"HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502},
		"length and chunks":       {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502},
		"two lengths":             {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 502},
		"a head without end":      {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 70<<10), 502},
		"interim without end":     {strings.Repeat("HTTP/1.1 102 Wait\r\n\r\n", 1000), 0},
		"an upgrade unasked":      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 502},
		"a lying length":          {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", 0},
		"half a chunk":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello", 0},
		"a chunk too long":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			origin := serve(t, func(c *net.TCPConn) {
				_, _ = bufio.NewReader(c).ReadString('\n')
				_, _ = io.WriteString(c, test.response)
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			})
			c := f.dial()
			say(c, "GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n", origin, origin)
			status, err := finalStatus(bufio.NewReader(c))
			if test.want == 0 && err == nil {
				t.Errorf("the client took the response for whole (%d)", status)
			}
			if test.want != 0 && (err != nil || status != test.want) {
				t.Errorf("got %d, %v, want %d", status, err, test.want)
			}
		})
	}
}

// finalStatus reads responses up to the final one, with its body.
func finalStatus(in *bufio.Reader) (int, error) {
	for {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode >= 200 || err != nil {
			return response.StatusCode, err
		}
	}
}

func TestASlowHeadIsCutOff(t *testing.T) {
	f := start(t, func(f *fixture) { f.server.headTime = 100 * time.Millisecond })
	for name, begin := range map[string]string{
		"nothing":        "",
		"half a head":    "GET http://example.com/ HTTP/1.1\r\nA:",
		"half a CONNECT": "CONN",
		"half a SOCKS":   "\x05",
		"SOCKS methods":  "\x05\x01\x00\x05\x01",
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial()
			_, _ = io.WriteString(c, begin)
			// One more byte now and then gains no time.
			stop := make(chan struct{})
			dripped := make(chan struct{})
			go func() {
				defer close(dripped)
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for begin != "" {
					select {
					case <-tick.C:
						_, _ = io.WriteString(c, "a")
					case <-stop:
						return
					}
				}
			}()
			got, _ := io.ReadAll(c)
			close(stop)
			<-dripped
			if strings.HasPrefix(begin, "G") && !strings.HasPrefix(string(got), "HTTP/1.1 408 ") {
				t.Errorf("got %q, want 408", got)
			}
		})
	}
}

func TestConnectionsThatSayNothingAreBounded(t *testing.T) {
	f := start(t, func(f *fixture) { f.server.SetGate(&Gate{Anonymous: true, MaxConnections: -MaxWaiting + 20}) })
	refused := 0
	for range 40 {
		c := f.dial()
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if got, _ := io.ReadAll(c); strings.HasPrefix(string(got), "HTTP/1.1 503 ") {
			refused++
		}
	}
	if refused != 20 {
		t.Errorf("got %d of 40 refused, want 20", refused)
	}
}
