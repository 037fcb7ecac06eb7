package outlet

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// plain sends a request as browsers do to a proxy, and waits for the answer.
func plain(t *testing.T, o *Outlet, url, headers string) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp4", strings.TrimPrefix(o.Address(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", url, host, headers); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
}

func TestARequestArrivesAsThePageMadeIt(t *testing.T) {
	got := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
	defer server.Close()
	o := open(t, &Rules{})
	for _, uri := range []string{"/?b=1;c&a=2", "/?z=%zz&a", "/a%2Fb//c?", "/?%F0%9F", "/?a=1&a=2&=&&"} {
		plain(t, o, server.URL+uri, "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: https\r\n")
		r := <-got
		if r.RequestURI != uri {
			t.Errorf("%s arrives as %s", uri, r.RequestURI)
		}
		for name, want := range map[string]string{"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1", "X-Forwarded-Host": "h", "X-Forwarded-Proto": "https"} {
			if r.Header.Get(name) != want {
				t.Errorf("%s: got %q, want %q", name, r.Header.Get(name), want)
			}
		}
	}
}
