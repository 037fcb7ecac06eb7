package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
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
	t         testing.TB
	table     *conn.Table
	server    *Server
	admission *admit.Admission
	shaper    *shape.Shaper
	dialer    egress.Dialer
	addr      string
}

// silent observes nothing.
type silent struct{}

func (silent) Connected(networkv1.Door, time.Duration) {}
func (silent) Ended(networkv1.Door, conn.Reason)       {}
func (silent) Refused(*admit.Refusal)                  {}

// allowLoopback are rules under which servers of tests may be reached, but for
// 127.0.0.66.
func allowLoopback() *egressv1.Egress {
	return &egressv1.Egress{Rule: []*egressv1.Rule{
		{Action: egressv1.Rule_DENY, Addresses: []string{"127.0.0.66"}},
		{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}},
	}}
}

func start(t testing.TB, change ...func(*fixture)) *fixture {
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
	ctx, stop := context.WithCancel(t.Context())
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		f.table.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-swept
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
	dialer := f.dialer
	way.Dialer = &dialer
	f.table.Use(&way)
}

// dial connects to the proxy.
func (f *fixture) dial() *net.TCPConn {
	f.t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(f.tcpAddr()))
	if err != nil {
		f.t.Fatal(err)
	}
	if _, test := f.t.(*testing.T); test {
		f.t.Cleanup(func() { c.Close() })
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// checkLeaks fails the test if goroutines or descriptors are left after all that
// is cleaned up later than it.
func checkLeaks(t testing.TB) {
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

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(entries)
}

// serve answers each connection to a listener of its own with answer, which the
// connection ends with, until the test ends.
func serve(t testing.TB, answer func(*net.TCPConn)) (address string) {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	running.Go(func() {
		for {
			c, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			running.Go(func() {
				answer(c)
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return listener.Addr().String()
}

// newServer is an HTTP server, and returns its host and port.
func newServer(t testing.TB, handler http.Handler) (address string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// list waits until so many connections are open, and returns them.
func (f *fixture) list(want int) []*networkv1.Connection {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		got, total := f.table.List(conn.Filter{}, 10000)
		if total == want {
			return got
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("got %d connections, want %d: %v", total, want, got)
		}
	}
}

// cutPort splits "host:port".
func cutPort(address string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	return host, port, err == nil
}

// rules puts other rules into force.
func (f *fixture) rules(config *egressv1.Egress) {
	f.t.Helper()
	policy, err := egress.Compile(config, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	f.dialer = egress.Dialer{Policy: policy, Resolver: f.dialer.Resolver, Timeout: f.dialer.Timeout}
	f.use(conn.Way{Idle: time.Minute})
}

func (f *fixture) tcpAddr() netip.AddrPort { return netip.MustParseAddrPort(f.addr) }

// ends notes why connections end.
type ends struct {
	silent
	mu  sync.Mutex
	why []conn.Reason
}

func (e *ends) Ended(_ networkv1.Door, why conn.Reason) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.why = append(e.why, why)
}

func (e *ends) all() []conn.Reason {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.why
}

// observe makes a table that tells o.
func (f *fixture) observe(o conn.Observer) {
	f.table = conn.NewTable(f.admission, f.shaper, o)
	f.server = New(f.table)
	f.server.SetGate(&Gate{Anonymous: true, MaxConnections: 5000})
}

// say writes to a connection; whether it arrives shows what comes back.
func say(to io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(to, format, args...) }
