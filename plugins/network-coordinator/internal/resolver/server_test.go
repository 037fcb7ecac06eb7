package resolver

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"golang.org/x/net/dns/dnsmessage"
)

// zone answers a question: it fills in m, which has the question already.
type zone func(m *dnsmessage.Message)

// nameserver is a real DNS server on loopback, by UDP and TCP at one port.
type nameserver struct {
	addr    string
	queries atomic.Int64 // by UDP and TCP
	byTCP   atomic.Int64
	conns   atomic.Int64

	// In place of zone: packets as they are. Set before start.
	raw     func(query []byte) [][]byte
	rawFrom func(query []byte, from net.Addr) [][]byte // by UDP

	mu   sync.Mutex
	zone zone
	open map[net.Conn]struct{}
}

// serve starts a nameserver that ends with the test.
func serve(t testing.TB, z zone) *nameserver {
	t.Helper()
	return (&nameserver{zone: z}).start(t)
}

// serveRaw is serve with answers as they are.
func serveRaw(t testing.TB, raw func(query []byte) [][]byte) *nameserver {
	t.Helper()
	return (&nameserver{raw: raw}).start(t)
}

func (s *nameserver) start(t testing.TB) *nameserver {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends with the test
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String()) //nolint:noctx // ends with the test
	if err != nil {
		t.Fatal(err)
	}
	s.addr = tcp.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() { s.packets(udp) })
	wg.Go(func() { s.accept(tcp, &wg) })
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		wg.Wait()
	})
	return s
}

func (s *nameserver) become(z zone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = z
}

// answers are what s sends for query, to udp if that is how it came; none means
// that it is silent.
func (s *nameserver) answers(query []byte, udp net.Addr) [][]byte {
	s.queries.Add(1)
	s.mu.Lock()
	z := s.zone
	s.mu.Unlock()
	if s.raw != nil {
		return s.raw(query)
	}
	if s.rawFrom != nil && udp != nil {
		return s.rawFrom(query, udp)
	}
	var q dnsmessage.Message
	if q.Unpack(query) != nil {
		return nil
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true}, Questions: q.Questions}
	z(&m)
	if m.ID != q.ID {
		return nil
	}
	wire, err := m.Pack()
	if err != nil {
		return nil
	}
	if udp != nil && len(wire) > bufferSize {
		short := dnsmessage.Message{Header: m.Header, Questions: m.Questions}
		short.Truncated = true
		wire, _ = short.Pack()
	}
	return [][]byte{wire}
}

func (s *nameserver) packets(conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		for _, answer := range s.answers(buf[:n], from) {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func (s *nameserver) accept(l net.Listener, wg *sync.WaitGroup) {
	defer s.hangUp()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.conns.Add(1)
		s.mu.Lock()
		if s.open == nil {
			s.open = map[net.Conn]struct{}{}
		}
		s.open[conn] = struct{}{}
		s.mu.Unlock()
		wg.Go(func() { s.converse(conn) })
	}
}

// hangUp closes all connections.
func (s *nameserver) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		conn.Close()
	}
	clear(s.open)
}

func (s *nameserver) converse(conn net.Conn) {
	defer conn.Close()
	var size [2]byte
	for {
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, msg); err != nil {
			return
		}
		s.byTCP.Add(1)
		for _, answer := range s.answers(msg, nil) {
			if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
				return
			}
		}
	}
}

// silent is how a zone says nothing.
func silent(m *dnsmessage.Message) { m.ID++ }

// failing is a zone without answers.
func failing(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure }

// record makes one of owner's.
func record(owner string, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner), Class: dnsmessage.ClassINET, TTL: ttl},
		Body:   body,
	}
}

func a(owner string, ttl uint32, addr string) dnsmessage.Resource {
	ip := netip.MustParseAddr(addr)
	if ip.Is4() {
		return record(owner, ttl, &dnsmessage.AResource{A: ip.As4()})
	}
	return record(owner, ttl, &dnsmessage.AAAAResource{AAAA: ip.As16()})
}

func cname(owner string, ttl uint32, target string) dnsmessage.Resource {
	return record(owner, ttl, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(target)})
}

func soa(zone string, ttl, minimum uint32) dnsmessage.Resource {
	root := dnsmessage.MustNewName(".")
	return record(zone, ttl, &dnsmessage.SOAResource{NS: root, MBox: root, Serial: 1, MinTTL: minimum})
}

// has is a zone with these records for whoever asks for their type.
func has(records ...dnsmessage.Resource) zone {
	return func(m *dnsmessage.Message) {
		q := m.Questions[0]
		for _, rr := range records {
			if typeOf(rr.Body) == q.Type || typeOf(rr.Body) == dnsmessage.TypeCNAME {
				m.Answers = append(m.Answers, rr)
			}
		}
	}
}

func typeOf(body dnsmessage.ResourceBody) dnsmessage.Type {
	switch body.(type) {
	case *dnsmessage.AResource:
		return dnsmessage.TypeA
	case *dnsmessage.AAAAResource:
		return dnsmessage.TypeAAAA
	case *dnsmessage.CNAMEResource:
		return dnsmessage.TypeCNAME
	case *dnsmessage.TXTResource:
		return dnsmessage.TypeTXT
	}
	return 0
}

// clock is a resolver's, moved by hand.
type clock struct{ now atomic.Int64 }

func (c *clock) read() time.Duration { return time.Duration(c.now.Load()) }
func (c *clock) add(d time.Duration) { c.now.Add(int64(d)) }
func newClock() *clock               { c := &clock{}; c.add(time.Hour); return c }
func addrs(texts ...string) (l []netip.Addr) {
	for _, text := range texts {
		l = append(l, netip.MustParseAddr(text))
	}
	return l
}

// start makes a resolver that asks servers, with a clock, and no files of this
// machine's.
func start(t testing.TB, config *networkv1.Resolver, o Options, servers ...*nameserver) (*Resolver, *clock) {
	t.Helper()
	for _, s := range servers {
		config.Upstreams = append(config.Upstreams, s.addr)
	}
	o.HostsFile = orElse(o.HostsFile, filepath.Join(t.TempDir(), "hosts"))
	o.ResolvConf = orElse(o.ResolvConf, filepath.Join(t.TempDir(), "resolv.conf"))
	c := newClock()
	r, err := newResolver(config, o, c.read)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, c
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until it is true what is said.
func eventually(t testing.TB, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !yes(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s still not: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func sameAddr(a, b netip.Addr) bool { return a == b }

// everything is a zone in which each name has an address of each family.
func everything(m *dnsmessage.Message) {
	owner := m.Questions[0].Name.String()
	has(a(owner, 3600, "192.0.2.1"), a(owner, 3600, "2001:db8::1"))(m)
}

// freePort is one that nobody listens on, by UDP and TCP.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
