package pool

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// serveHTTP3 runs handler on a real HTTP/3 server, until stop or the end of the
// test, and returns its URL. conns counts its connections.
func serveHTTP3(tb testing.TB, its pair, handler http.HandlerFunc) (url string, conns *atomic.Int64, stop func()) {
	tb.Helper()
	socket, err := new(net.ListenConfig).ListenPacket(tb.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	conns = new(atomic.Int64)
	listener, err := quic.ListenEarly(socket, http3.ConfigureTLSConfig(its.config(tb)), &quic.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	server := &http3.Server{Handler: handler}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept(tb.Context())
			if err != nil {
				return
			}
			conns.Add(1)
			wg.Go(func() { _ = server.ServeQUICConn(conn) })
		}
	})
	stop = sync.OnceFunc(func() {
		_ = server.Close()
		_ = listener.Close()
		_ = socket.Close()
		wg.Wait()
	})
	tb.Cleanup(stop)
	return "https://" + socket.LocalAddr().String(), conns, stop
}

func TestHTTP3IsSpokenOnRequest(t *testing.T) {
	its := newPair(t, "server")
	url, conns, stop := serveHTTP3(t, its, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %d", r.Proto, r.Header.Get("Authorization"), len(body))
	})
	p := open(t, &apiv1.Config{Tls: &apiv1.TLS{Ca: its.chain}, Profile: map[string]*apiv1.Profile{"api": {BaseUrl: url, Bearer: "t"}}})
	request := &apiv1.DoRequest{Profile: "api", Method: "POST", Body: make([]byte, 100_000), HttpVersion: apiv1.HTTPVersion_HTTP_3}
	cold := mustDo(t, p, request)
	if got, want := string(cold.GetBody()), "HTTP/3.0 Bearer t 100000"; got != want || cold.GetProtocol() != "HTTP/3.0" || cold.GetReusedConnection() {
		t.Errorf("got %q by %s, want %q on a new connection", got, cold.GetProtocol(), want)
	}
	if cold.GetTiming().GetTls() == nil || cold.GetTiming().GetFirstByte() == nil {
		t.Errorf("timing: got %v, want tls and first_byte", cold.GetTiming())
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			response, err := do(t, p, request)
			if err != nil || !response.GetReusedConnection() {
				t.Errorf("got %v and %v, want an answer on the warm connection", response, err)
			}
		})
	}
	wg.Wait()
	if got := conns.Load(); got != 1 {
		t.Errorf("connections: got %d, want 1", got)
	}
	if got := gather(t, p); got["gaia_api_connections_open"] != 1 || got[`gaia_api_exchanges_total{connection="reused"}`] != 100 {
		t.Errorf("metrics: got %v, want 1 connection and 100 reuses", got)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
	noGoroutines(t, "quic-go", "(*http3Lane)")
	if got := gather(t, p); got["gaia_api_connections_open"] != 0 || got["gaia_api_sent_bytes_total"] < 10_000_000 {
		t.Errorf("metrics after Close: got %v, want no connection and 10 MB sent", got)
	}
}

func TestHTTP3ObeysEgressRulesAndLimits(t *testing.T) {
	its := newPair(t, "server.test")
	url, conns, _ := serveHTTP3(t, its, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			_, _ = w.Write(make([]byte, 100_000))
		case "/wide":
			w.Header().Set("X-Wide", strings.Repeat("x", 30_000))
		case "/very-wide":
			w.Header().Set("X-Wide", strings.Repeat("x", 1_500_000))
		case "/hang":
			<-r.Context().Done()
		}
	})
	port := url[strings.LastIndexByte(url, ':'):]
	tls := &apiv1.TLS{Ca: its.chain}
	const h3 = apiv1.HTTPVersion_HTTP_3
	p := open(t, &apiv1.Config{Tls: tls, Egress: &egressv1.Egress{}})
	asked(t, p, hosts(map[string]netip.Addr{"server.test": here()}))
	for _, to := range []string{url, "https://server.test" + port} {
		_, err := do(t, p, &apiv1.DoRequest{Url: to, HttpVersion: h3})
		wantError(t, err, codes.PermissionDenied, "denied by default")
	}
	if got := conns.Load(); got != 0 {
		t.Errorf("the server was reached %d times", got)
	}
	p = open(t, &apiv1.Config{Tls: tls, MaxResponseBody: 1000, MaxResponseHeaders: 20_000})
	asked(t, p, hosts(map[string]netip.Addr{"server.test": here()}))
	named := mustDo(t, p, &apiv1.DoRequest{Url: "https://server.test" + port, HttpVersion: h3})
	if named.GetStatus() != 200 || named.GetTiming().GetDns() == nil {
		t.Errorf("by name: got %v, want 200 and a time of dns", named)
	}
	_, err := do(t, p, &apiv1.DoRequest{Url: url + "/big", HttpVersion: h3})
	wantError(t, err, codes.ResourceExhausted, "body: response body", "(max_response_body)")
	for _, path := range []string{"/wide", "/very-wide"} {
		_, err = do(t, p, &apiv1.DoRequest{Url: url + path, HttpVersion: h3})
		wantError(t, err, codes.ResourceExhausted, "headers: response headers over 20000 bytes (max_response_headers)")
	}
	_, err = do(t, p, &apiv1.DoRequest{Url: url + "/hang", HttpVersion: h3, Timeout: durationpb.New(5 * short)})
	wantError(t, err, codes.DeadlineExceeded, ": headers: deadline exceeded")
	_, err = do(t, open(t, nil), &apiv1.DoRequest{Url: url, HttpVersion: h3})
	wantError(t, err, codes.Unavailable, ": tls: ", "x509: certificate signed by unknown authority")
}

func TestAnHTTP3ServerThatDoesNotAnswerEndsTheHandshakeInTime(t *testing.T) {
	socket, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); mute(socket) }()
	defer func() { _ = socket.Close(); <-done }()
	p := open(t, &apiv1.Config{TlsTimeout: durationpb.New(2 * short)})
	_, err = do(t, p, &apiv1.DoRequest{Url: "https://" + socket.LocalAddr().String(), HttpVersion: apiv1.HTTPVersion_HTTP_3})
	wantError(t, err, codes.Unavailable, ": tls: no handshake within 100ms (tls_timeout)")
}

// Connections of HTTP/3 that have ended are forgotten with their hosts.
func TestAnIdleHTTP3ConnectionEndsAndIsReplaced(t *testing.T) {
	its := newPair(t, "server")
	url, conns, _ := serveHTTP3(t, its, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), 10)) })
	p := open(t, &apiv1.Config{Tls: &apiv1.TLS{Ca: its.chain}, IdleTimeout: durationpb.New(2 * short)})
	request := &apiv1.DoRequest{Url: url, HttpVersion: apiv1.HTTPVersion_HTTP_3}
	mustDo(t, p, request)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(bound); gather(t, p)["gaia_api_connections_open"] > 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still open")
		}
	}
	if response := mustDo(t, p, request); response.GetReusedConnection() || conns.Load() != 2 {
		t.Errorf("got %v on %d connections, want a new, second one", response, conns.Load())
	}
}

func TestConfigureKeepsAnHTTP3ResponseInFlight(t *testing.T) {
	its := newPair(t, "server")
	arrived, release := make(chan struct{}), make(chan struct{})
	url, _, stop := serveHTTP3(t, its, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first ")
		_ = http.NewResponseController(w).Flush()
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "second")
	})
	config := &apiv1.Config{Tls: &apiv1.TLS{Ca: its.chain}}
	p := open(t, config)
	var wg sync.WaitGroup
	wg.Go(func() {
		response, err := do(t, p, &apiv1.DoRequest{Url: url, HttpVersion: apiv1.HTTPVersion_HTTP_3})
		if err != nil || string(response.GetBody()) != "first second" {
			t.Errorf("got %v and %v, want the whole body", response, err)
		}
	})
	<-arrived
	if err := p.Configure(t.Context(), local(config)); err != nil {
		t.Fatal(err)
	}
	close(release)
	wg.Wait()
	stop()
	noGoroutines(t, "quic-go", "(*http3Lane)") // with the last call went the connection
}
