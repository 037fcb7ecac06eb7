package pool

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// viaProxy is a proxy that sends everything to 127.0.0.1, whatever the host's
// name, and notes what it was asked for.
type viaProxy struct {
	refuse string // answers CONNECT with it instead

	mu    sync.Mutex
	asked []string // "CONNECT host:port user", "GET http://… user"
}

func (p *viaProxy) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, fmt.Sprintf(format, args...))
}

func (p *viaProxy) seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.asked, "\n")
}

// http speaks HTTP on a connection, one request of it.
func (p *viaProxy) http(conn net.Conn) {
	reader := bufio.NewReader(conn)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	p.note("%s %s %s", request.Method, request.RequestURI, request.Header.Get("Proxy-Authorization"))
	if p.refuse != "" {
		_, _ = io.WriteString(conn, p.refuse)
		return
	}
	_, port, err := net.SplitHostPort(request.Host)
	if err != nil {
		return
	}
	server, err := new(net.Dialer).DialContext(request.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		return
	}
	defer server.Close()
	if request.Method == http.MethodConnect {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	} else {
		request.Header.Del("Proxy-Authorization")
		request.Close = true
		if request.Write(server) != nil {
			return
		}
	}
	join(conn, reader, server)
}

// socks speaks SOCKS5 with a password.
func (p *viaProxy) socks(conn net.Conn) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			return make([]byte, n)
		}
		return b
	}
	read(int(read(2)[1]))
	_, _ = conn.Write([]byte{5, 2})
	user := string(read(int(read(2)[1])))
	password := string(read(int(read(1)[0])))
	_, _ = conn.Write([]byte{1, 0})
	head := read(4)
	var host string
	switch head[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	}
	port := binary.BigEndian.Uint16(read(2))
	p.note("SOCKS %s:%d %s:%s", host, port, user, password)
	if p.refuse != "" {
		_, _ = conn.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0}) // not allowed by ruleset
		return
	}
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return
	}
	defer server.Close()
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	join(conn, conn, server)
}

// join moves bytes both ways until one end closes.
func join(client net.Conn, from io.Reader, server net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(server, from); _ = server.Close() })
	_, _ = io.Copy(client, server)
	_ = client.Close()
	wg.Wait()
}

func TestRequestsTravelThroughTheProxy(t *testing.T) {
	its := newPair(t, "server.test")
	hello := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host+" "+r.Proto) }
	plain := serve(t, hello)
	secure, _ := unstarted(t, hello)
	secure.TLS, secure.EnableHTTP2 = its.config(t), true
	secure.StartTLS()
	_, plainPort, _ := net.SplitHostPort(plain.Listener.Addr().String())
	_, securePort, _ := net.SplitHostPort(secure.Listener.Addr().String())
	proxyCertificate := its.config(t)
	tests := []struct {
		scheme string
		talk   func(*viaProxy) func(net.Conn)
		want   []string // what the proxy is asked for, for http and https
	}{
		{"http", func(p *viaProxy) func(net.Conn) { return p.http },
			[]string{"GET http://server.test:" + plainPort + "/ Basic dTpwdw==", "CONNECT server.test:" + securePort + " Basic dTpwdw=="}},
		{"https", func(p *viaProxy) func(net.Conn) {
			return func(c net.Conn) { p.http(tls.Server(c, proxyCertificate)) }
		}, []string{"GET http://server.test:" + plainPort + "/ Basic dTpwdw==", "CONNECT server.test:" + securePort + " Basic dTpwdw=="}},
		{"socks5h", func(p *viaProxy) func(net.Conn) { return p.socks },
			[]string{"SOCKS server.test:" + plainPort + " u:pw", "SOCKS server.test:" + securePort + " u:pw"}},
	}
	for _, test := range tests {
		t.Run(test.scheme, func(t *testing.T) {
			via := &viaProxy{}
			address := test.scheme + "://u:pw@" + misbehave(t, test.talk(via))
			// The proxy may be where requests may not lead to, and does the resolving.
			p := open(t, &apiv1.Config{Egress: &egressv1.Egress{}, Proxy: address, Tls: &apiv1.TLS{Ca: its.chain},
				Profile: map[string]*apiv1.Profile{"direct": {Proxy: "none"}}})
			response := mustDo(t, p, &apiv1.DoRequest{Url: "http://server.test:" + plainPort + "/"})
			if got, want := string(response.GetBody()), "server.test:"+plainPort+" HTTP/1.1"; got != want {
				t.Errorf("http: got %q, want %q", got, want)
			}
			for range 2 {
				response = mustDo(t, p, &apiv1.DoRequest{Url: "https://server.test:" + securePort + "/"})
				if got, want := string(response.GetBody()), "server.test:"+securePort+" HTTP/2.0"; got != want {
					t.Errorf("https: got %q, want %q", got, want)
				}
			}
			if got, want := via.seen(), strings.Join(test.want, "\n"); got != want {
				t.Errorf("the proxy was asked for\n%s\nwant\n%s", got, want)
			}
			_, err := do(t, p, &apiv1.DoRequest{Profile: "direct", Url: plain.URL})
			wantError(t, err, codes.PermissionDenied, "denied by default")
		})
	}
}

func TestEgressRulesHoldForNamesAndAddressesThroughAProxy(t *testing.T) {
	via := &viaProxy{}
	p := open(t, &apiv1.Config{Proxy: "http://" + misbehave(t, via.http), Egress: &egressv1.Egress{Rule: []*egressv1.Rule{
		{Action: egressv1.Rule_DENY, Hosts: []string{"*.evil.test"}, Addresses: []string{"any"}},
	}}})
	asked(t, p, hosts(map[string]netip.Addr{}))
	for url, rule := range map[string]string{
		"http://www.evil.test/": "rule[0]", "https://www.EVIL.test./": "rule[0]", "https://127.0.0.1/": "default", "http://2130706433/": "default",
		"http://[::ffff:10.0.0.1]/": "default",
	} {
		_, err := do(t, p, &apiv1.DoRequest{Url: url})
		wantError(t, err, codes.PermissionDenied, "denied by "+rule)
	}
	if got := via.seen(); got != "" {
		t.Errorf("the proxy was asked for %s, want nothing", got)
	}
}

func TestAFailureOfTheProxySaysThatItWasTheProxy(t *testing.T) {
	via := func(refuse string) func(net.Conn) { return (&viaProxy{refuse: refuse}).http }
	const reason = "HTTP/1.1 403 Forbidden\r\nX-Gaia-Reason: egress to x.test is denied by rule[2]\r\nContent-Length: 0\r\n\r\n"
	tests := []struct {
		name, scheme, url string
		talk              func(net.Conn) // nil: nobody listens
		want              string
	}{
		{"nobody", "http", "https://x.test/", nil, "connect: connection refused"},
		{"nobody, plain", "http", "http://x.test/", nil, "connect: connection refused"},
		{"nobody, socks", "socks5h", "http://x.test/", nil, "connect: connection refused"},
		{"a reason", "http", "https://x.test/", via(reason), "403 egress to x.test is denied by rule[2]"},
		{"a reason, plain", "http", "http://x.test/", via(reason), "403 egress to x.test is denied by rule[2]"},
		{"a status", "http", "https://x.test/", via("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "502 Bad Gateway"},
		{"a password", "http", "https://x.test/", via("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), "407 Proxy Authentication Required"},
		{"a password, plain", "http", "http://x.test/", via("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"), "407 Proxy Authentication Required"},
		{"rubbish", "http", "https://x.test/", via("SSH-2.0-x\r\n\r\n"), "malformed HTTP"},
		{"silence and an end", "http", "https://x.test/", func(c net.Conn) { readRequest(c) }, "it closed the connection"},
		{"no TLS", "https", "https://x.test/", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") }, "first record does not look like a TLS handshake"},
		{"socks says no", "socks5h", "https://x.test/", (&viaProxy{refuse: "yes"}).socks, "not allowed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			address := ""
			if test.talk == nil {
				address = refused(t)
			} else {
				address = misbehave(t, test.talk)
			}
			p := open(t, &apiv1.Config{Proxy: test.scheme + "://u:hunter2@" + address, Retry: &apiv1.Retry{Retries: new(uint32)}})
			_, err := do(t, p, &apiv1.DoRequest{Url: test.url})
			wantError(t, err, codes.Unavailable, "GET x.test:", ": connect: proxy "+address+": ", test.want)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats the password: %v", err)
			}
		})
	}
}

// What fails behind the proxy is not blamed on it.
func TestAFailureOfTheServerBehindAProxyIsTheServers(t *testing.T) {
	its := newPair(t, "another.test")
	secure := serveWith(t, its.config(t), func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(secure.Listener.Addr().String())
	p := open(t, &apiv1.Config{Proxy: "http://" + misbehave(t, (&viaProxy{}).http), Tls: &apiv1.TLS{Ca: its.chain}})
	_, err := do(t, p, &apiv1.DoRequest{Url: "https://server.test:" + port})
	wantError(t, err, codes.Unavailable, ": tls: ", "certificate is valid for another.test")
	if strings.Contains(err.Error(), "proxy") {
		t.Errorf("got %v, want no word of the proxy", err)
	}
	p = open(t, &apiv1.Config{Proxy: "http://" + misbehave(t, silence)})
	_, err = do(t, p, &apiv1.DoRequest{Url: "https://server.test", Timeout: durationpb.New(short)})
	wantError(t, err, codes.DeadlineExceeded, ": connect: deadline exceeded")
}

func TestAProxyThatIsNoneIsRefusedByItsField(t *testing.T) {
	p := open(t, nil)
	for proxy, want := range map[string]string{
		"127.0.0.1:3128": "proxy: ", "socks5://h:1080": "proxy: socks5 would resolve names", "socks5h://h": "proxy: has no port",
		"http://": "proxy: has no host", "http://h/path": "proxy: has more than", "ftp://h": "proxy: a proxy of no known scheme",
	} {
		err := p.Configure(t.Context(), &apiv1.Config{Proxy: proxy, Profile: map[string]*apiv1.Profile{"a": {}, "b": {}}})
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one fault %s", proxy, err, want)
		}
	}
}
