package resolver

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

// doors starts a resolver with a listener.
func doors(t testing.TB, o Options, servers ...*nameserver) (*Resolver, *clock) {
	t.Helper()
	return start(t, &networkv1.Resolver{Listen: "127.0.0.1:0"}, o, servers...)
}

// ask is a query of a program: EDNS of size bytes, none for 0.
func ask(host string, qtype dnsmessage.Type, size int) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0x1234, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(host), Type: qtype, Class: dnsmessage.ClassINET}},
	}
	if size > 0 {
		var h dnsmessage.ResourceHeader
		_ = h.SetEDNS0(size, 0, false)
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

// exchange sends query to r by network and returns the answer, which is nil if
// there is none, and how long it was.
func exchange(t testing.TB, r *Resolver, network string, query []byte) (*dnsmessage.Message, int) {
	t.Helper()
	conn, err := net.Dial(network, r.Addr().String()) //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	var answer []byte
	if network == "tcp" {
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, 0
		}
		answer = make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Fatal(err)
		}
	} else {
		_, _ = conn.Write(query)
		answer = make([]byte, 1<<16)
		n, err := conn.Read(answer)
		if err != nil {
			t.Fatal(err)
		}
		answer = answer[:n]
	}
	var m dnsmessage.Message
	if err := m.Unpack(answer); err != nil {
		t.Fatalf("%v in %x", err, answer)
	}
	return &m, len(answer)
}

// bodies are m's answers in short.
func bodies(m *dnsmessage.Message) (all []string) {
	for _, rr := range m.Answers {
		body := strings.TrimPrefix(fmt.Sprintf("%#v", rr.Body), "&dnsmessage.")
		if addr := address(rr.Body); addr.IsValid() {
			body = addr.String()
		}
		all = append(all, fmt.Sprintf("%s %d %s", rr.Header.Name, rr.Header.TTL, body))
	}
	return all
}

func TestGosResolverIsAnsweredByUDPAndTCP(t *testing.T) {
	s := serve(t, everything)
	r, _ := doors(t, Options{}, s)
	for _, network := range []string{"udp", "tcp"} {
		client := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, r.Addr().String())
		}}
		for range 2 {
			got, err := client.LookupNetIP(t.Context(), "ip", "www.example.")
			if err != nil || len(got) != 2 {
				t.Error(network, got, err)
			}
		}
	}
	s.asked(t, 2)
}

func TestIdCaseAndTTLAreTheAskers(t *testing.T) {
	s := serve(t, has(cname("www.example.", 300, "web.example."), a("web.example.", 60, "192.0.2.1")))
	r, clock := doors(t, Options{}, s)
	for i, want := range []uint32{60, 45, 30, 30} { // two in time, two stale
		m, _ := exchange(t, r, "udp", ask("wWw.eXaMpLe.", dnsmessage.TypeA, 0))
		if i == 2 {
			s.become(failing)
		}
		name := m.Questions[0].Name.String()
		if m.ID != 0x1234 || name != "wWw.eXaMpLe." || !m.Response || !m.RecursionAvailable || !m.RecursionDesired || m.Authoritative {
			t.Errorf("%+v", m.Header)
		}
		if len(m.Answers) != 2 || m.Answers[0].Header.Name.String() != name || m.Answers[1].Header.TTL != want {
			t.Errorf("%v, want a TTL of %d", bodies(m), want)
		}
		if len(m.Additionals) != 0 {
			t.Error("EDNS for who has not asked for it")
		}
		clock.add(15 * time.Second)
		if i == 1 {
			s.become(failing)
			clock.add(time.Minute)
		}
	}
}

func TestEveryTypeIsForwardedAndKept(t *testing.T) {
	name := dnsmessage.MustNewName("Target.example.")
	records := map[dnsmessage.Type]dnsmessage.ResourceBody{
		dnsmessage.TypeTXT:   &dnsmessage.TXTResource{TXT: []string{"v=spf1", "-all"}},
		dnsmessage.TypeMX:    &dnsmessage.MXResource{Pref: 10, MX: name},
		dnsmessage.TypeSRV:   &dnsmessage.SRVResource{Priority: 1, Weight: 2, Port: 3, Target: name},
		dnsmessage.TypeCNAME: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("target.example.")},
		dnsmessage.TypePTR:   &dnsmessage.PTRResource{PTR: name},
		dnsmessage.TypeNS:    &dnsmessage.NSResource{NS: name},
		dnsmessage.TypeSOA:   &dnsmessage.SOAResource{NS: name, MBox: name, Serial: 7, MinTTL: 60},
		dnsmessage.TypeHTTPS: &dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{Priority: 1, Target: name, Params: []dnsmessage.SVCParam{{Key: dnsmessage.SVCParamALPN, Value: []byte("\x02h2")}}}},
		257:                  &dnsmessage.UnknownResource{Type: 257, Data: []byte("\x00\x05issueca.example")}, // CAA
	}
	s := serve(t, func(m *dnsmessage.Message) {
		q := m.Questions[0]
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, Body: records[q.Type]}}
	})
	r, _ := doors(t, Options{}, s)
	for qtype, body := range records {
		for range 2 {
			m, _ := exchange(t, r, "udp", ask("www.example.", qtype, 1232))
			if len(m.Answers) != 1 {
				t.Errorf("%v: %v", qtype, m)
				continue
			}
			if diff := cmp.Diff(fmt.Sprintf("%#v", body), fmt.Sprintf("%#v", m.Answers[0].Body)); diff != "" {
				t.Errorf("%v: %s", qtype, diff)
			}
		}
	}
	s.asked(t, int64(len(records)))
}

func TestNoSuchNameComesWithItsSOA(t *testing.T) {
	s := serve(t, func(m *dnsmessage.Message) {
		m.RCode, m.Authorities = dnsmessage.RCodeNameError, []dnsmessage.Resource{soa("example.", 300, 30)}
	})
	r, clock := doors(t, Options{}, s)
	for _, ttl := range []uint32{30, 20} {
		m, _ := exchange(t, r, "udp", ask("www.example.", dnsmessage.TypeA, 0))
		if m.RCode != dnsmessage.RCodeNameError || len(m.Authorities) != 1 || m.Authorities[0].Header.TTL != ttl {
			t.Error(m)
		}
		clock.add(10 * time.Second)
	}
	s.asked(t, 1)
}

func TestNamesThatNobodyMayReachAreNeverAskedFor(t *testing.T) {
	s := serve(t, everything)
	allow := func(name string) bool { return strings.HasSuffix(name, ".allowed") }
	r, _ := doors(t, Options{Allow: allow}, s)
	for _, network := range []string{"udp", "tcp"} {
		if m, _ := exchange(t, r, network, ask("Secret.Denied.", dnsmessage.TypeTXT, 0)); m.RCode != dnsmessage.RCodeRefused {
			t.Error(m)
		}
	}
	s.asked(t, 0)
	if m, _ := exchange(t, r, "udp", ask("WWW.Allowed.", dnsmessage.TypeA, 0)); len(m.Answers) != 1 {
		t.Error(m)
	}
	// It may be that a client with more rights has asked in process.
	if _, err := r.Lookup(t.Context(), "secret.denied", IPv4); err != nil {
		t.Fatal(err)
	}
	if m, _ := exchange(t, r, "udp", ask("secret.denied.", dnsmessage.TypeA, 0)); m.RCode != dnsmessage.RCodeRefused || len(m.Answers) != 0 {
		t.Error(m)
	}
	if got := r.Stats().Refused; got != 3 {
		t.Errorf("%d refusals are counted, want 3", got)
	}
}

func TestAddressesThatNobodyMayConnectToAreLeftOut(t *testing.T) {
	hint := &dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{Priority: 1, Target: dnsmessage.MustNewName("."), Params: []dnsmessage.SVCParam{
		{Key: dnsmessage.SVCParamALPN, Value: []byte("\x02h2")},
		{Key: dnsmessage.SVCParamIPv4Hint, Value: []byte{192, 0, 2, 1, 10, 0, 0, 1}},
	}}}
	s := serve(t, func(m *dnsmessage.Message) {
		has(a("rebind.example.", 60, "192.0.2.1"), a("rebind.example.", 60, "127.0.0.1"), a("rebind.example.", 60, "::1"))(m)
		if m.Questions[0].Type == dnsmessage.TypeHTTPS {
			m.Answers = []dnsmessage.Resource{record("rebind.example.", 60, hint)}
		}
	})
	public := func(_ string, addr netip.Addr) bool { return !addr.IsLoopback() && !addr.IsPrivate() }
	r, _ := doors(t, Options{AllowAddr: public}, s)
	for range 2 {
		m, _ := exchange(t, r, "udp", ask("rebind.example.", dnsmessage.TypeA, 0))
		if diff := cmp.Diff([]string{"rebind.example. 60 192.0.2.1"}, bodies(m)); diff != "" {
			t.Error(diff)
		}
		if m, _ = exchange(t, r, "udp", ask("rebind.example.", dnsmessage.TypeAAAA, 0)); m.RCode != 0 || len(m.Answers) != 0 {
			t.Error(m)
		}
		m, _ = exchange(t, r, "udp", ask("rebind.example.", dnsmessage.TypeHTTPS, 0))
		https, _ := m.Answers[0].Body.(*dnsmessage.HTTPSResource)
		if _, found := https.GetParam(dnsmessage.SVCParamIPv4Hint); found {
			t.Error("a private address is left in a hint")
		}
		if m, _ = exchange(t, r, "udp", ask("localhost.", dnsmessage.TypeA, 0)); len(m.Answers) != 0 {
			t.Error(m)
		}
	}
	got, err := r.LookupNetIP(t.Context(), "ip4", "rebind.example")
	if err != nil || len(got) != 2 {
		t.Error("in process all addresses are seen, for the policy to decide:", got, err)
	}
}

func TestWhatWasAskedForBeforeAFlushIsNotKept(t *testing.T) {
	held := make(chan struct{})
	s := serve(t, func(m *dnsmessage.Message) {
		<-held
		everything(m)
	})
	r, _ := doors(t, Options{}, s)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = r.Lookup(t.Context(), "www.example", IPv4) })
	eventually(t, "it is asked for", func() bool { return s.queries.Load() == 1 })
	r.Flush() // the rules have changed, say
	close(held)
	wg.Wait()
	if got := r.Stats().Entries; got != 0 {
		t.Errorf("%d answers are kept", got)
	}
}

func TestAnswersFitWhoAsked(t *testing.T) {
	s := serve(t, many(100)) // 1,633 bytes
	r, _ := doors(t, Options{}, s)
	for range 2 {
		for _, size := range []int{0, 100, 512, 1232, 4096} {
			m, n := exchange(t, r, "udp", ask("www.example.", dnsmessage.TypeA, size))
			if !m.Truncated || len(m.Answers) != 0 || n > max(512, size) || len(m.Additionals) != min(size, 1) {
				t.Errorf("size %d: %d bytes, %+v", size, n, m.Header)
			}
		}
		if m, _ := exchange(t, r, "tcp", ask("www.example.", dnsmessage.TypeA, 512)); m.Truncated || len(m.Answers) != 100 {
			t.Error(m.Header, len(m.Answers))
		}
	}
	s.become(many(40)) // 673 bytes
	for size, truncated := range map[int]bool{0: true, 672: true, 700: false, 1232: false} {
		if m, n := exchange(t, r, "udp", ask("mid.example.", dnsmessage.TypeA, size)); m.Truncated != truncated {
			t.Errorf("size %d: %d bytes, %+v", size, n, m.Header)
		}
	}
}

func TestBadQueriesGetAnErrorOrNothing(t *testing.T) {
	s := serve(t, everything)
	r, _ := doors(t, Options{}, s)
	edit := func(edits ...int) []byte {
		query := ask("www.example.", dnsmessage.TypeA, 1232)
		for pair := range slices.Chunk(edits, 2) {
			query[pair[0]] = byte(pair[1])
		}
		return query
	}
	const formErr, notImp = dnsmessage.RCodeFormatError, dnsmessage.RCodeNotImplemented
	for name, test := range map[string]struct {
		query []byte
		want  dnsmessage.RCode
	}{
		"no question":             {edit(5, 0), formErr},
		"two questions":           {edit(5, 2), formErr},
		"an answer in it":         {edit(7, 1), formErr},
		"a name without end":      {edit()[:20], formErr},
		"no type":                 {edit()[:25], formErr},
		"a compressed name":       {edit(12, 0xc0), formErr},
		"a label that is too big": {edit(12, 64), formErr},
		"a dot in a label":        {edit(14, '.'), formErr},
		"a cut off OPT":           {edit(39, 200), formErr},
		"an update":               {edit(2, 5<<3), notImp},
		"ANY":                     {edit(26, 255), notImp},
		"AXFR":                    {edit(26, 252), notImp},
		"class CHAOS":             {edit(28, 3), notImp},
		"type 0":                  {edit(26, 0), notImp},
	} {
		m, _ := exchange(t, r, "udp", test.query)
		if m.RCode != test.want || m.ID != 0x1234 || len(m.Answers) != 0 {
			t.Errorf("%s: %+v, want %v", name, m.Header, test.want)
		}
	}
	if m, _ := exchange(t, r, "udp", edit(35, 1)); m.RCode != 0 || m.Additionals[0].Header.ExtendedRCode(m.RCode) != badVersion {
		t.Errorf("EDNS version 1: %+v", m)
	}
	// What is no query gets no answer, so no two servers can be made to talk to
	// each other for ever; the next packet does.
	conn, err := net.Dial("udp", r.Addr().String()) //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, noise := range [][]byte{edit(2, 0x80), {1, 2, 3}, {0}} {
		_, _ = conn.Write(noise)
	}
	good := edit(1, 0x77)
	_, _ = conn.Write(good)
	buf := make([]byte, 2000)
	if n, err := conn.Read(buf); err != nil || buf[1] != 0x77 {
		t.Errorf("%x, %v", buf[:n], err)
	}
	s.asked(t, 1)
}

func TestFailuresAreSERVFAIL(t *testing.T) {
	s := serve(t, failing)
	r, _ := doors(t, Options{}, s)
	for range 2 {
		if m, _ := exchange(t, r, "udp", ask("www.example.", dnsmessage.TypeA, 0)); m.RCode != dnsmessage.RCodeServerFailure {
			t.Error(m)
		}
	}
}

func TestAHundredPacketsAtOnceAreAllAnswered(t *testing.T) {
	s := serve(t, everything)
	r, _ := doors(t, Options{}, s)
	conn, err := net.Dial("udp", r.Addr().String()) //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	for round := range 3 {
		for i := range 100 {
			query := ask(fmt.Sprintf("n%d.example.", i), dnsmessage.TypeAAAA, 1232)
			query[0], query[1] = byte(round), byte(i)
			_, _ = conn.Write(query)
		}
		seen := map[byte]bool{}
		buf := make([]byte, 2000)
		for range 100 {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err, len(seen))
			}
			var m dnsmessage.Message
			if err := m.Unpack(buf[:n]); err != nil || m.Questions[0].Name.String() != fmt.Sprintf("n%d.example.", buf[1]) || len(m.Answers) != 1 {
				t.Fatal(err, m)
			}
			seen[buf[1]] = true
		}
		if len(seen) != 100 {
			t.Errorf("%d different answers", len(seen))
		}
	}
}

func TestConnectionsOfProgramsAreBounded(t *testing.T) {
	s := serve(t, everything)
	r, _ := doors(t, Options{}, s)
	var conns []net.Conn
	for range maxTCP {
		conn, err := net.Dial("tcp", r.Addr().String()) //nolint:noctx // loopback
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	eventually(t, "all are accepted", func() bool { return len(r.door.conns) == maxTCP })
	if m, _ := exchange(t, r, "tcp", ask("www.example.", dnsmessage.TypeA, 0)); m != nil {
		t.Error("one connection too many was served")
	}
	conns[0].Close()
	eventually(t, "the place of one that ended is taken by another", func() bool {
		m, _ := exchange(t, r, "tcp", ask("www.example.", dnsmessage.TypeA, 0))
		return m != nil
	})
}

func TestProgramsThatHangAreNotWaitedForAtTheEnd(t *testing.T) {
	s := serve(t, silent)
	r, _ := doors(t, Options{}, s)
	half, err := net.Dial("tcp", r.Addr().String()) //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	_, _ = half.Write([]byte{0})
	var wg sync.WaitGroup
	wg.Go(func() { wantErrorLike(t, r, ErrClosed) })
	query := ask("other.example.", dnsmessage.TypeA, 0)
	udp, _ := net.Dial("udp", r.Addr().String()) //nolint:noctx // loopback
	defer udp.Close()
	_, _ = udp.Write(query)
	eventually(t, "both are asked for", func() bool { return s.queries.Load() >= 2 })
	began := time.Now()
	r.Close()
	wg.Wait()
	if took := time.Since(began); took > time.Second {
		t.Errorf("closing took %v", took)
	}
	if _, err := r.Lookup(t.Context(), "third.example", IPv4); err == nil {
		t.Error("it resolves after its end")
	}
}
