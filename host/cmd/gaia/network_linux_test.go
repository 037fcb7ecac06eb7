package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"golang.org/x/net/dns/dnsmessage"
)

// loopbackRule lets a plugin reach servers of a test.
const loopbackRule = `
    egress {
      rule {
        action    = "allow"
        addresses = ["loopback"]
      }
    }
`

// networkConfig is a house with a proxy on a port for two clients, and with more
// in its subsystem and after it.
func networkConfig(port int, inside, after string) string {
	return fmt.Sprintf(`
host { http = "127.0.0.1:0" }
subsystem "network" {
  plugin = "gaia-network-coordinator"
  config {
    listen = "127.0.0.1:%d"
    client "pool"  { token = "of-the-pool" }
    client "child" { token = "of-the-child" }
    %s
  }
}
%s`, port, inside, after)
}

// freePort is one that nobody listens on now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

func (h *house) network() networkv1.NetworkCoordinatorClient {
	return networkv1.NewNetworkCoordinatorClient(h.conn)
}

// connect opens a tunnel by CONNECT, or fails with the status of the proxy's
// answer, 0 without one.
func connect(ctx context.Context, proxy, target, user, password string) (tunnel net.Conn, code int, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", proxy)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	login := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	if _, err := fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\nProxy-Authorization: Basic %[2]s\r\n\r\n", target, login); err != nil {
		return nil, 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, 0, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, response.StatusCode, fmt.Errorf("the proxy answers %s", response.Status)
	}
	return conn, response.StatusCode, nil
}

// echoServer is a TCP server that sends back what it gets, and its address.
func echoServer(t testing.TB) string {
	t.Helper()
	return serveTCP(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
}

// serveTCP is the address of a server that hands its connections to handle, and
// closes each when that returns, as it does when the other end is gone.
func serveTCP(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			ended.Go(func() {
				handle(conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		ended.Wait() // the tunnels of the test have ended before
	})
	return l.Addr().String()
}

// nameServer answers that every name is this machine, and returns the block with
// which it is asked.
func nameServer(t testing.TB) (resolver string) {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			var m dnsmessage.Message
			if err != nil {
				return
			}
			if m.Unpack(buffer[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			for _, q := range m.Questions {
				if q.Type == dnsmessage.TypeA {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
						Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
					})
				}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		ended.Wait()
	})
	return fmt.Sprintf("resolver { upstreams = [\"udp://%s\"] }\n", conn.LocalAddr())
}

// certificateOf returns a server's certificate in PEM.
func certificateOf(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// One line of HCL each sends the API client pool and a child process out by the
// network coordinator, each in its own name.
func TestPoolAndChildGoOutByTheCoordinatorInTheirOwnNames(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("the child is curl, which is not installed")
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "for "+r.UserAgent())
	}))
	defer server.Close()
	// Not by the address, which NO_PROXY has.
	target := strings.Replace(server.URL, "127.0.0.1", "example.com", 1)
	port := freePort(t)
	after := fmt.Sprintf(`
subsystem "api" {
  plugin = "gaia-api-client-pool"
  config {
    proxy = "http://pool:of-the-pool@127.0.0.1:%d"
    tls {
      ca = <<PEM
%sPEM
    }
  }
}
subsystem "processes" {
  plugin = "gaia-process-manager"
  config {
    proxy = "http://child:of-the-child@127.0.0.1:%d"
    command "curl" {
      path = %q
      args = [".*"]
    }
  }
}`, port, certificateOf(server), port, curl)
	h := open(t, newHouse(t), networkConfig(port, nameServer(t)+loopbackRule, after))
	for _, name := range []string{"network", "api", "processes"} {
		h.await(t, name, isReady)
	}
	answer, err := h.api().Do(t.Context(), &apiv1.DoRequest{Url: target, Headers: map[string]string{"User-Agent": "pool"}})
	if err != nil || string(answer.GetBody()) != "for pool" {
		t.Fatalf("the pool: got %q and %v", answer.GetBody(), err)
	}
	run, err := processv1.NewProcessManagerClient(h.conn).Run(t.Context(), &processv1.RunRequest{
		Spec: &processv1.Spec{Command: "curl", Args: []string{"--silent", "--show-error", "--insecure", "--user-agent", "child", target}},
	})
	if err != nil || string(run.GetStdout()) != "for child" {
		t.Fatalf("the child: got %q, %q and %v", run.GetStdout(), run.GetStderr(), err)
	}
	open, err := h.network().Connections(t.Context(), &networkv1.ConnectionsRequest{Client: "pool"})
	if err != nil || len(open.GetConnections()) != 1 || open.GetConnections()[0].GetHost() != "example.com" || open.GetConnections()[0].GetReceived() == 0 {
		t.Errorf("connections of the pool: got %v and %v, want one to example.com that carried bytes", open, err)
	}
	if n := h.metric(t, `gaia_network_connections_opened_total{door="connect",subsystem="network"}`); n != 2 {
		t.Errorf("got %v connections by CONNECT, want 2", n)
	}
}

// What the rules of the proxy refuse, the pool tells its caller, with the rule.
func TestTheProxysRefusalReachesThePoolsCaller(t *testing.T) {
	port := freePort(t)
	after := fmt.Sprintf("subsystem \"api\" {\n  plugin = \"gaia-api-client-pool\"\n  config {\n    proxy = \"http://pool:of-the-pool@127.0.0.1:%d\"\n  }\n}\n", port)
	h := open(t, newHouse(t), networkConfig(port, `
    egress {
      rule {
        action = "deny"
        hosts  = ["*.example.com"]
      }
    }`, after))
	h.await(t, "network", isReady)
	h.await(t, "api", isReady)
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{Url: "https://www.example.com/secret-path"})
	if err == nil || !strings.Contains(err.Error(), "config.hcl:") || strings.Contains(err.Error(), "secret-path") || strings.Contains(err.Error(), "of-the-pool") {
		t.Errorf("got %v, want an error that names the rule's line and no secret", err)
	}
	check, err := h.network().Check(t.Context(), &networkv1.CheckRequest{Host: "www.example.com", Client: "pool"})
	if err != nil || check.GetAllowed() || !strings.Contains(check.GetReason(), "config.hcl:") {
		t.Errorf("Check: got %v and %v, want a refusal by a rule with its line", check, err)
	}
}

// The kernel accepts for a plugin that is dead only what the next one takes.
func TestAKilledCoordinatorComesBackOnItsPort(t *testing.T) {
	port := freePort(t)
	proxy := "127.0.0.1:" + strconv.Itoa(port)
	h := open(t, newHouse(t), networkConfig(port, loopbackRule, ""))
	target := echoServer(t)
	for range 3 {
		s := h.await(t, "network", isReady)
		conn, _, err := connect(t.Context(), proxy, target, "pool", "of-the-pool")
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(int(s.GetPid()), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err == nil {
			t.Error("a tunnel has outlived its process")
		}
		_ = conn.Close()
		if !eventually(t, func() bool {
			conn, _, err := connect(t.Context(), proxy, target, "pool", "of-the-pool")
			if err != nil {
				return false
			}
			return conn.Close() == nil
		}) {
			t.Fatalf("no tunnel after a kill\n%s", h.stderr)
		}
	}
}

func TestTwoThousandConnectionsNeedLessThanAHundredMegabytes(t *testing.T) {
	const connections, limit = 2000, 100e6
	port := freePort(t)
	h := open(t, newHouse(t), networkConfig(port, loopbackRule, ""))
	s := h.await(t, "network", isReady)
	target := echoServer(t)
	open := make([]net.Conn, 0, connections)
	defer func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	buffer := make([]byte, 1)
	for i := range connections {
		conn, _, err := connect(t.Context(), "127.0.0.1:"+strconv.Itoa(port), target, "pool", "of-the-pool")
		if err != nil {
			t.Fatalf("connection %d: %v", i+1, err)
		}
		open = append(open, conn)
		if _, err := conn.Write(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, buffer); err != nil {
			t.Fatalf("connection %d: %v", i+1, err)
		}
	}
	if conn, code, err := connect(t.Context(), "127.0.0.1:"+strconv.Itoa(port), target, "pool", "of-the-pool"); err == nil {
		_ = conn.Close()
		t.Error("there is one connection more than max_connections")
	} else if code != http.StatusServiceUnavailable {
		t.Errorf("one too many: got %v, want status 503", err)
	}
	used := pss(t, int(s.GetPid()))
	t.Logf("%d connections: %d KB", connections, used/1000)
	if used > limit {
		t.Errorf("%d connections need %d bytes, want at most %.0f", connections, used, limit)
	}
}

// pss is the memory of a process, in bytes.
func pss(t testing.TB, pid int) int {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kib int
	_, rest, found := strings.Cut(string(content), "\nPss:")
	if _, err := fmt.Sscan(rest, &kib); err != nil || !found {
		t.Fatalf("no Pss in %q", content)
	}
	return kib << 10
}
