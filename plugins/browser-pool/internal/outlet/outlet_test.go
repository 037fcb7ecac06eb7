package outlet

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

// open returns an outlet that reaches loopback.
func open(t testing.TB, rules *Rules) *Outlet {
	t.Helper()
	policy, err := egress.Configure(t.Context(), "egress", &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}}}})
	if err != nil {
		t.Fatal(err)
	}
	rules.Policy = policy
	o, err := rules.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	o.Use("", nil)
	return o
}

// echo is the address of a server that says what it is told.
func echo(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // of the test
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		conns.Wait()
	})
	return listener.Addr().String()
}

// tunnel asks an outlet for one, and returns it with the status of the answer.
func tunnel(t testing.TB, o *Outlet, to string) (net.Conn, int) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp4", strings.TrimPrefix(o.Address(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return conn, response.StatusCode
}

// says reports whether a tunnel leads to an echo.
func says(conn net.Conn) error {
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		return fmt.Errorf("got %q, %w", got, err)
	}
	return nil
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// settles waits until a count is at most what it was.
func settles(t *testing.T, what string, count func() int, before int) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(20 * time.Second)
	for count() > before {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: got %d, were %d before", what, count(), before)
		}
	}
}

// count is how many requests and tunnels there are.
func (o *Outlet) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.active
}

func TestAThousandTunnelsLeaveNothing(t *testing.T) {
	rules := &Rules{}
	if err := rules.Guard(t.Context()); err != nil {
		t.Log(err)
	}
	o, to := open(t, rules), echo(t)
	routines, files := runtime.NumGoroutine(), descriptors(t)
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for range 50 {
				conn, status := tunnel(t, o, to)
				if status != http.StatusOK {
					t.Errorf("status: got %d", status)
				} else if err := says(conn); err != nil {
					t.Error(err)
				}
				_ = conn.Close()
			}
		})
	}
	clients.Wait()
	settles(t, "goroutines", runtime.NumGoroutine, routines)
	settles(t, "descriptors", func() int {
		runtime.GC() // it keeps pipes, which splice(2) needs, until then
		return descriptors(t)
	}, files)
	if got := o.count(); got != 0 {
		t.Errorf("tunnels that count: got %d, want 0", got)
	}
}

func TestAPageHasABoundedNumberOfConnections(t *testing.T) {
	o, to := open(t, &Rules{}), echo(t)
	var held []net.Conn
	defer func() {
		for _, conn := range held {
			_ = conn.Close()
		}
	}()
	for range maxRequests {
		conn, status := tunnel(t, o, to)
		if status != http.StatusOK {
			t.Fatalf("tunnel %d: got %d", len(held)+1, status)
		}
		held = append(held, conn)
	}
	conn, status := tunnel(t, o, to)
	_ = conn.Close()
	if status != http.StatusServiceUnavailable {
		t.Errorf("one more: got %d, want 503", status)
	}
	if err := o.Why(to); err == nil || !strings.Contains(err.Error(), "256 connections") {
		t.Errorf("why: got %v", err)
	}
	_ = held[0].Close()
	settles(t, "connections", o.count, maxRequests-1)
	if held[0], status = tunnel(t, o, to); status != http.StatusOK {
		t.Errorf("after one has ended: got %d", status)
	}
}

// socks serves SOCKS 5 to a user, and says where it was asked to go.
func socksServer(t *testing.T, user, password string) (address string, asked <-chan string) {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // of the test
	if err != nil {
		t.Fatal(err)
	}
	names := make(chan string, 10)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer func() { _ = conn.Close() }()
				if to := greet(conn, user, password); to != "" {
					names <- to
					_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
					_, _ = io.Copy(conn, conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		conns.Wait()
	})
	return listener.Addr().String(), names
}

// greet reads a greeting with user and password, and where the client wants to go.
func greet(conn net.Conn, user, password string) string {
	text := func() string {
		size := make([]byte, 1)
		_, _ = io.ReadFull(conn, size)
		text := make([]byte, size[0])
		_, _ = io.ReadFull(conn, text)
		return string(text)
	}
	head := make([]byte, 1)
	_, _ = io.ReadFull(conn, head)
	if !strings.Contains(text(), "\x02") {
		_, _ = conn.Write([]byte{5, 0xff})
		return ""
	}
	_, _ = conn.Write([]byte{5, 2})
	_, _ = io.ReadFull(conn, head)
	if gotUser, gotPassword := text(), text(); gotUser != user || gotPassword != password {
		_, _ = conn.Write([]byte{1, 1})
		return ""
	}
	_, _ = conn.Write([]byte{1, 0})
	request := make([]byte, 4)
	if _, _ = io.ReadFull(conn, request); request[3] != 3 {
		return "an address"
	}
	name := text()
	port := make([]byte, 2)
	_, _ = io.ReadFull(conn, port)
	return fmt.Sprintf("%s:%d", name, int(port[0])<<8|int(port[1]))
}

func TestAProxyOfSOCKSIsAskedForTheNameWithItsUser(t *testing.T) {
	rules := &Rules{}
	o := open(t, rules)
	address, asked := socksServer(t, "me", "secret")
	o.Use("", &url.URL{Scheme: "socks5", Host: address, User: url.UserPassword("me", "secret")})
	conn, status := tunnel(t, o, "example.com:443")
	defer func() { _ = conn.Close() }()
	if status != http.StatusOK {
		t.Fatalf("got %d: %v", status, o.Why("example.com:443"))
	}
	if err := says(conn); err != nil {
		t.Error(err)
	}
	if got, want := <-asked, "example.com:443"; got != want {
		t.Errorf("the proxy was asked for %s, want %s", got, want)
	}
	for name, user := range map[string]*url.Userinfo{"wrong": url.UserPassword("me", "confidential"), "none": nil} {
		o.Use("", &url.URL{Scheme: "socks5", Host: address, User: user})
		conn, status := tunnel(t, o, "example.com:443")
		_ = conn.Close()
		err := o.Why("example.com:443")
		if status != http.StatusBadGateway || err == nil || !strings.HasPrefix(err.Error(), "proxy "+address+": ") || strings.Contains(err.Error(), "confidential") {
			t.Errorf("%s password: got %d, %v", name, status, err)
		}
	}
}
