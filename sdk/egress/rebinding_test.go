package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// dnsServer is a DNS server at loopback whose answers to one name change from
// question to question, as an attacker's do. They may be kept for no time.
type dnsServer struct {
	conn net.PacketConn

	mu      sync.Mutex
	answers []netip.Addr // to questions for A, one each; the last one is for all that come later
	asked   int
}

func serveDNS(t *testing.T, answers ...string) *dnsServer {
	t.Helper()
	var config net.ListenConfig
	conn, err := config.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dnsServer{conn: conn}
	for _, a := range answers {
		s.answers = append(s.answers, netip.MustParseAddr(a))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

func (s *dnsServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
				Body:   &dnsmessage.AResource{A: s.next().As4()},
			}}
		}
		if packed, err := m.Pack(); err == nil {
			_, _ = s.conn.WriteTo(packed, from)
		}
	}
}

func (s *dnsServer) next() netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := s.answers[min(s.asked, len(s.answers)-1)]
	s.asked++
	return answer
}

// resolver asks the server, and nobody else.
func (s *dnsServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func TestANameThatIsReboundDoesNotLeadInside(t *testing.T) {
	proctest.LeavesNothing(t)
	inside := listen(t, "127.0.0.1:0")
	server := serveDNS(t, "9.9.9.9", "127.0.0.1")
	d := &Dialer{Resolver: server.resolver()}
	target := Target{Host: Host{Name: "rebind.example"}, Port: inside.addr().Port()}
	addrs, err := d.Resolve(t.Context(), target)
	if err != nil || len(addrs) != 1 || addrs[0].String() != "9.9.9.9" {
		t.Fatalf("%v, %v; want 9.9.9.9, as a check before it is used would see", addrs, err)
	}
	for range 10 {
		_, err := opened(t, d, target)
		if denied, ok := errors.AsType[*Denied](err); !ok || denied.Addr.String() != "127.0.0.1" {
			t.Errorf("%v, want 127.0.0.1 denied", err)
		}
	}
	if inside.met.Load() != 0 {
		t.Errorf("loopback was connected to %d times", inside.met.Load())
	}
}

// What was checked is what is dialled: the name is asked for once.
func TestTheAddressThatWasCheckedIsDialled(t *testing.T) {
	outside := listen(t, "127.0.0.2:0")
	inside := listen(t, "127.0.0.1:"+outside.Addr().String()[len("127.0.0.2:"):])
	server := serveDNS(t, "127.0.0.2", "127.0.0.1")
	d := &Dialer{Policy: allowing(t, "127.0.0.2"), Resolver: server.resolver()}
	target := Target{Host: Host{Name: "rebind.example"}, Port: outside.addr().Port()}
	if at, err := opened(t, d, target); err != nil || at != outside.Addr().String() {
		t.Errorf("dialled %s, %v; want %s", at, err, outside.Addr())
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if server.asked != 1 || inside.met.Load() != 0 {
		t.Errorf("the name was asked for %d times, inside was met %d times; want 1, 0", server.asked, inside.met.Load())
	}
}
