package pool

import (
	"bufio"
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/transport"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// bound is how long any test waits for what should happen at once.
const bound = 20 * time.Second

// loopback is the egress{} block without which tests would reach no server.
func loopback() *egressv1.Egress {
	return &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}}}}
}

// local is config, which may be nil, with loopback if it says nothing itself.
func local(config *apiv1.Config) *apiv1.Config {
	made := &apiv1.Config{}
	if config != nil {
		made = proto.CloneOf(config)
	}
	if made.GetEgress() == nil {
		made.Egress = loopback()
	}
	return made
}

// open returns a pool that ends with the test, and that may reach loopback
// addresses unless config says where to.
func open(tb testing.TB, config *apiv1.Config) *Pool {
	tb.Helper()
	p := New()
	tb.Cleanup(func() {
		if err := p.Shutdown(tb.Context()); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	if err := p.Configure(tb.Context(), local(config)); err != nil {
		tb.Fatalf("configure: %v", err)
	}
	return p
}

// trust makes p accept server's certificate.
func trust(tb testing.TB, p *Pool, server *httptest.Server) {
	tb.Helper()
	s := p.client.settings
	var err error
	if s.routes, err = transport.ParseRoutes(&apiv1.Config{Tls: &apiv1.TLS{Ca: certificate(server)}}, nil); err != nil {
		tb.Fatal(err)
	}
	if err := p.use(s); err != nil {
		tb.Fatal(err)
	}
}

// certificate is server's, in PEM.
func certificate(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// do is Do with a bound on its time.
func do(tb testing.TB, p *Pool, request *apiv1.DoRequest) (*apiv1.DoResponse, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), bound)
	defer cancel()
	return p.Do(ctx, request)
}

// mustDo is do where an error fails the test.
func mustDo(tb testing.TB, p *Pool, request *apiv1.DoRequest) *apiv1.DoResponse {
	tb.Helper()
	response, err := do(tb, p, request)
	if err != nil {
		tb.Fatalf("Do: %v", err)
	}
	return response
}

// wantError compares an error's code, and looks for each of texts in it.
func wantError(tb testing.TB, err error, code codes.Code, texts ...string) {
	tb.Helper()
	if status.Code(err) != code {
		tb.Fatalf("error: got %v, want code %v", err, code)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			tb.Errorf("error: got %q, want %q in it", err, text)
		}
	}
}

// serve runs handler on a real HTTP/1.1 server.
func serve(tb testing.TB, handler http.HandlerFunc) *httptest.Server {
	tb.Helper()
	server, _ := counted(tb, handler)
	return server
}

// serveTLS runs handler on a real server that offers HTTP/2.
func serveTLS(tb testing.TB, handler http.HandlerFunc) *httptest.Server {
	tb.Helper()
	server, _ := countedTLS(tb, handler)
	return server
}

// counted is serve with a census of the connections.
func counted(tb testing.TB, handler http.HandlerFunc) (*httptest.Server, *census) {
	tb.Helper()
	server, census := unstarted(tb, handler)
	server.Start()
	return server, census
}

// countedTLS is serveTLS with a census of the connections.
func countedTLS(tb testing.TB, handler http.HandlerFunc) (*httptest.Server, *census) {
	tb.Helper()
	server, census := unstarted(tb, handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	return server, census
}

func unstarted(tb testing.TB, handler http.HandlerFunc) (*httptest.Server, *census) {
	tb.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that the other end gave up
	tb.Cleanup(server.Close)
	census := new(census)
	census.count(server.Config)
	return server, census
}

// misbehave accepts connections and hands each to talk, which may do with it
// what no HTTP server would. It returns the server's address. A connection is
// closed when talk returns, or when the test ends.
func misbehave(tb testing.TB, talk func(net.Conn)) string {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				talk(conn)
			})
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return listener.Addr().String()
}

// answer reads requests from a connection and writes text for each, verbatim.
func answer(text string) func(net.Conn) {
	return func(conn net.Conn) {
		if readRequest(conn) {
			_, _ = conn.Write([]byte(text))
		}
	}
}

// silence reads a request and does not answer it until the connection ends.
func silence(conn net.Conn) {
	if readRequest(conn) {
		_, _ = conn.Read(make([]byte, 1))
	}
}

func readRequest(conn net.Conn) bool {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	return err == nil && request != nil
}

// values lists the values of a header in a response, in order.
func values(response *apiv1.DoResponse, name string) []string {
	var list []string
	for _, header := range response.GetHeaders() {
		if header.GetName() == name {
			list = append(list, header.GetValue())
		}
	}
	return list
}

// census counts a server's connections: those open, the most at once, and all
// there ever were.
type census struct {
	mu             sync.Mutex
	now, most, all int
	none           chan struct{} // closed while no connection is open
}

// count makes c follow server's connections. It is called before the server
// starts.
func (c *census) count(server *http.Server) {
	c.none = make(chan struct{})
	close(c.none)
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch state {
		case http.StateNew:
			if c.now == 0 {
				c.none = make(chan struct{})
			}
			c.now++
			c.all++
			c.most = max(c.most, c.now)
		case http.StateClosed, http.StateHijacked:
			c.now--
			if c.now == 0 {
				close(c.none)
			}
		case http.StateActive, http.StateIdle:
		}
	}
}

func (c *census) numbers() (now, most, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.most, c.all
}

// empty waits until no connection is open.
func (c *census) empty(tb testing.TB) {
	tb.Helper()
	c.mu.Lock()
	none := c.none
	c.mu.Unlock()
	select {
	case <-none:
	case <-time.After(bound):
		now, _, _ := c.numbers()
		tb.Fatalf("%d connections are still open after %v", now, bound)
	}
}
