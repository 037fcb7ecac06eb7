package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/admit"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/shape"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

// fixture is a proxy that listens, with all that belongs to it.
type fixture struct {
	t         *testing.T
	table     *conn.Table
	server    *Server
	admission *admit.Admission
	shaper    *shape.Shaper
	dialer    egress.Dialer
	addr      string
}

// silent observes nothing.
type silent struct{}

func (silent) Connected(networkv1.Door, time.Duration)           {}
func (silent) Ended(networkv1.Door, conn.Reason, uint64, uint64) {}

// allowLoopback are rules under which servers of tests may be reached, but for
// 127.0.0.66.
func allowLoopback() *egressv1.Egress {
	return &egressv1.Egress{Rule: []*egressv1.Rule{
		{Action: egressv1.Rule_DENY, Addresses: []string{"127.0.0.66"}},
		{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}},
	}}
}

// names resolves what tests ask for.
type names map[string][]netip.Addr

func start(t *testing.T, change ...func(*fixture)) *fixture {
	t.Helper()
	checkLeaks(t)
	policy, err := egress.Compile(allowLoopback(), func(path string) string { return "config.hcl:7" })
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, admission: admit.New(admit.Limits{Connections: 5000}), shaper: shape.New(), dialer: egress.Dialer{Policy: policy, Timeout: 5 * time.Second}}
	f.table = conn.NewTable(f.admission, f.shaper, silent{})
	f.server = New(f.table)
	f.server.SetGate(&Gate{Anonymous: true, MaxConnections: 5000})
	for _, c := range change {
		c(f)
	}
	f.use(conn.Way{Idle: time.Minute})
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	f.addr = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(t.Context(), listener) }()
	t.Cleanup(func() {
		_ = listener.Close()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		f.table.Close()
		f.server.Close()
		f.table.Release()
	})
	return f
}

// use puts a way with the fixture's dialer into force.
func (f *fixture) use(way conn.Way) {
	way.Dialer = &f.dialer
	f.table.Use(&way)
}

// dial connects to the proxy.
func (f *fixture) dial() *net.TCPConn {
	f.t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

// checkLeaks fails the test if goroutines or descriptors are left after all that
// is cleaned up later than it.
func checkLeaks(t *testing.T) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		for deadline := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
			nowG, nowF := runtime.NumGoroutine(), openFiles(t)
			if nowG <= goroutines && nowF <= files {
				return
			}
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Errorf("left over: %d goroutines, were %d; %d files, were %d\n%s", nowG, goroutines, nowF, files, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(entries)
}

// tlsServer is a server with a certificate for the names, and a pool that knows
// who signed it.
func tlsServer(t *testing.T, handler http.Handler) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return server, pool
}

var _ = tls.Config{}
var _ = fmt.Sprint
