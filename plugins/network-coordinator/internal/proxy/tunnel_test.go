package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/admit"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/shape"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

func TestATunnelCarriesEveryByteBothWaysAtOnce(t *testing.T) {
	f := start(t)
	origin := echo(t)
	var tunnels sync.WaitGroup
	for i := range 8 {
		c := f.connect(origin)
		tunnels.Go(func() {
			content := make([]byte, 3<<20+i)
			_, _ = rand.Read(content)
			go func() {
				_, _ = c.Write(content)
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(content) {
				t.Errorf("tunnel %d: got %d bytes, %v, want the %d that were sent", i, len(got), err, len(content))
			}
		})
	}
	tunnels.Wait()
	f.list(0)
	sent, received := f.table.Carried()
	if want := uint64(8*3<<20 + 28); sent != want || received != want {
		t.Errorf("carried: got %d and %d, want %d", sent, received, want)
	}
}

func TestWhatComesWithTheHeadGoesThroughTheTunnel(t *testing.T) {
	f := start(t)
	origin := echo(t)
	c := f.dial()
	say(c, "CONNECT %s HTTP/1.1\r\n\r\nhello", origin)
	_ = c.CloseWrite()
	got, err := io.ReadAll(c)
	if want := "HTTP/1.1 200 Connection established\r\n\r\nhello"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestMoreTunnelsThanPipesCarryWhileSomeReadNothing(t *testing.T) {
	f := start(t)
	origin := serve(t, func(c *net.TCPConn) { // endless
		chunk := make([]byte, 64<<10)
		for {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
	for range 80 {
		f.connect(origin) // and nothing is read
	}
	for range 5 {
		if n, err := io.CopyN(io.Discard, f.connect(origin), 8<<20); err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

func TestAHalfClosedTunnelGoesOnTheOtherWay(t *testing.T) {
	f := start(t)
	goOn := make(chan struct{})
	origin := serve(t, func(c *net.TCPConn) {
		question, _ := io.ReadAll(c)
		<-goOn
		say(c, "answer to %s", question)
	})
	c := f.connect(origin)
	_, _ = io.WriteString(c, "question")
	_ = c.CloseWrite()
	for !f.list(1)[0].GetHalfClosed() { // waits
	}
	close(goOn)
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "answer to question" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTunnelsEndByTheirLimits(t *testing.T) {
	tests := map[string]struct {
		way  conn.Way
		end  func(f *fixture)
		want conn.Reason
	}{
		"idle_timeout":    {conn.Way{Idle: 50 * time.Millisecond}, nil, conn.Idle},
		"lifetime":        {conn.Way{Idle: time.Minute, Lifetime: 50 * time.Millisecond}, nil, conn.Expired},
		"CloseConnection": {conn.Way{Idle: time.Minute}, func(f *fixture) { f.table.CloseAll(conn.Filter{ID: f.list(1)[0].GetId()}, conn.Closed) }, conn.Closed},
		"another config":  {conn.Way{Idle: time.Minute}, func(f *fixture) { f.rules(&egressv1.Egress{Default: egressv1.Egress_DENY}) }, conn.Revoked},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ended := &ends{}
			f := start(t, func(f *fixture) { f.observe(ended) })
			c := f.connect(echo(t))
			f.use(test.way)
			if test.end != nil {
				test.end(f)
			}
			if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client's end: got %v, want a reset", err)
			}
			f.list(0)
			if got := ended.all(); len(got) != 1 || got[0] != test.want {
				t.Errorf("reasons: got %q, want %q", got, test.want)
			}
		})
	}
}

func TestATunnelThatCarriesIsNotIdle(t *testing.T) {
	f := start(t)
	c := f.connect(echo(t))
	f.use(conn.Way{Idle: 200 * time.Millisecond})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 25 {
		<-tick.C
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestANewConfigLeavesAllowedTunnelsAlone(t *testing.T) {
	f := start(t)
	kept, revoked := f.connect(echo(t)), f.connect(echo(t))
	_, port, _ := cutPort(f.list(2)[0].GetHost() + ":" + fmt.Sprint(f.list(2)[0].GetPort()))
	f.rules(&egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}, Ports: []string{port}}}})
	f.list(1)
	if _, err := io.ReadAll(revoked); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the tunnel that is denied now: got %v, want a reset", err)
	}
	_, _ = kept.Write([]byte{1})
	if _, err := io.ReadFull(kept, make([]byte, 1)); err != nil {
		t.Errorf("the tunnel that is allowed still: %v", err)
	}
}

func TestALimitIsSaidWithItsField(t *testing.T) {
	f := start(t)
	origin := echo(t)
	f.admission.Set(admit.Limits{Connections: 1})
	first := f.connect(origin)
	response, body := f.ask("CONNECT " + origin + " HTTP/1.1\r\n\r\n")
	if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" || !strings.Contains(body, "max_connections") {
		t.Errorf("connections at once: got %d %v %q, want 503 with max_connections", response.StatusCode, response.Header, body)
	}
	first.Close()
	f.list(0)
	f.admission.Set(admit.Limits{Connections: 10, NewConnections: admit.Rate{Events: 1, Per: time.Hour}})
	f.connect(origin)
	response, body = f.ask("CONNECT " + origin + " HTTP/1.1\r\n\r\n")
	if response.StatusCode != 429 || response.Header.Get("Retry-After") == "" || !strings.Contains(body, "new_connections") {
		t.Errorf("new connections: got %d %v %q, want 429 with new_connections", response.StatusCode, response.Header, body)
	}
}

func TestFailuresToConnectHaveTheirStatus(t *testing.T) {
	f := start(t, func(f *fixture) { f.dialer.Timeout = 200 * time.Millisecond })
	for target, want := range map[string]int{
		"127.0.0.1:1":       502, // refused
		"nobody.invalid:80": 502, // no such name
	} {
		if response, body := f.ask("CONNECT " + target + " HTTP/1.1\r\n\r\n"); response.StatusCode != want {
			t.Errorf("%s: got %d %q, want %d", target, response.StatusCode, body, want)
		}
	}
	full := fullListener(t)
	if response, body := f.ask("CONNECT " + full + " HTTP/1.1\r\n\r\n"); response.StatusCode != 504 {
		t.Errorf("a host that does not answer: got %d %q, want 504", response.StatusCode, body)
	}
}

// fullListener is an address at which connections are neither taken nor refused:
// nobody accepts, and the queue is full.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
	for {
		dialer := net.Dialer{Timeout: 100 * time.Millisecond}
		c, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
}

func TestTheProxyDoesNotConnectToItself(t *testing.T) {
	f := start(t)
	own := egress.Listeners(f.tcpAddr())
	f.dialer.Own = own
	f.use(conn.Way{Idle: time.Minute})
	response, body := f.ask("CONNECT " + f.addr + " HTTP/1.1\r\n\r\n")
	if response.StatusCode != 403 || !strings.Contains(body, "own") {
		t.Errorf("got %d %q, want 403", response.StatusCode, body)
	}
}

// TestMain is the program that holds one end of a connection and is killed.
func TestMain(m *testing.M) {
	switch os.Getenv("GAIA_TEST_END") {
	case "server":
		holdServer()
	case "client":
		holdClient(os.Getenv("GAIA_TEST_PROXY"), os.Getenv("GAIA_TEST_ORIGIN"))
	default:
		os.Exit(m.Run())
	}
}

func holdServer() {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		os.Exit(1)
	}
	say(os.Stdout, "%v\n", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() { _, _ = io.Copy(c, c) }()
	}
}

func holdClient(proxy, origin string) {
	c, err := new(net.Dialer).DialContext(context.Background(), "tcp", proxy)
	if err != nil {
		os.Exit(1)
	}
	say(c, "CONNECT %s HTTP/1.1\r\n\r\n", origin)
	_, _ = io.Copy(os.Stdout, c)
}

// program starts this test's binary as one end, and returns the first line that
// it says.
func program(t *testing.T, env ...string) (*exec.Cmd, string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), env...)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return command, strings.TrimSpace(line)
}

func TestAKilledServerEndsItsTunnel(t *testing.T) {
	f := start(t)
	server, origin := program(t, "GAIA_TEST_END=server")
	c := f.connect(origin)
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(c)
	c.Close()
	f.list(0)
}

func TestAKilledClientEndsItsTunnel(t *testing.T) {
	f := start(t)
	client, line := program(t, "GAIA_TEST_END=client", "GAIA_TEST_PROXY="+f.addr, "GAIA_TEST_ORIGIN="+echo(t))
	if !strings.HasPrefix(line, "HTTP/1.1 200 ") {
		t.Fatal(line)
	}
	f.list(1)
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	f.list(0)
}

func TestADrainLetsTunnelsEndAndAnswersWhoHasJustConnected(t *testing.T) {
	f := start(t, func(f *fixture) { f.server.firstTime = time.Minute })
	origin := newServer(t, http.NotFoundHandler())
	tunnel, idle, first, silent := f.connect(echo(t)), f.dial(), f.dial(), f.dial()
	request := fmt.Sprintf("GET http://%[1]s/ HTTP/1.1\r\nHost: %[1]s\r\n\r\n", origin)
	say(idle, "%s", request)
	onIdle := bufio.NewReader(idle)
	if status, last := f.answer(onIdle); status != 404 || last {
		t.Fatalf("before: got %d, last %v, want 404 and no end", status, last)
	}
	f.sessions(4)
	drained := make(chan error, 1)
	go func() { drained <- f.server.Drain(t.Context()) }()
	if got, err := io.ReadAll(onIdle); len(got) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that waits: got %q, %v, want its end", got, err)
	}
	say(first, "%s", request)
	if status, last := f.answer(bufio.NewReader(first)); status != 404 || !last {
		t.Errorf("one that has just come: got %d, last %v, want 404 and the end", status, last)
	}
	silent.Close()
	_, _ = tunnel.Write([]byte("on"))
	if got := make([]byte, 2); !bytes.Equal(must(t, got, tunnel), []byte("on")) {
		t.Errorf("the tunnel: got %q", got)
	}
	_ = tunnel.CloseWrite()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestADrainDoesNotWaitForThoseWhoSayNothing(t *testing.T) {
	f := start(t, func(f *fixture) { f.server.firstTime = time.Millisecond })
	silent := f.dial()
	f.sessions(1)
	if err := f.server.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(silent); len(got) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v, want the end", got, err)
	}
}

// answer reads a response, and whether it is the last one.
func (f *fixture) answer(from *bufio.Reader) (status int, last bool) {
	f.t.Helper()
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil {
		f.t.Error(err)
	}
	return response.StatusCode, response.Close
}

// sessions waits until there are so many sessions.
func (f *fixture) sessions(want int) {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		f.server.mu.Lock()
		got := len(f.server.sessions)
		f.server.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("got %d sessions, want %d", got, want)
		}
	}
}

func must(t *testing.T, got []byte, from io.Reader) []byte {
	t.Helper()
	if _, err := io.ReadFull(from, got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestOneTunnelIsHeldToItsBandwidth(t *testing.T) {
	f := start(t)
	f.shaper.Set(shape.Rules{Total: shape.Limits{Down: 8 << 20}})
	origin := serve(t, func(c *net.TCPConn) { _, _ = c.Write(make([]byte, 4<<20)) })
	begun := time.Now()
	if _, err := io.ReadAll(f.connect(origin)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 400*time.Millisecond {
		t.Errorf("4 MiB at 8 MiB a second took %v", took)
	}
}
