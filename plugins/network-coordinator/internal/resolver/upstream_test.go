package resolver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/protobuf/types/known/durationpb"
)

// shortly is a timeout for tests in which a server is silent.
func shortly() *networkv1.Resolver {
	return &networkv1.Resolver{Timeout: durationpb.New(200 * time.Millisecond)}
}

// packed is the answer that z gives to query.
func packed(query []byte, z zone) []byte {
	var q dnsmessage.Message
	if q.Unpack(query) != nil {
		return nil
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true}, Questions: q.Questions}
	z(&m)
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

func TestAnswersToOtherQuestionsAreIgnored(t *testing.T) {
	lies := map[string]func(query, answer []byte) []byte{
		"wrong id":         func(_, answer []byte) []byte { answer[0] ^= 1; return answer },
		"a query":          func(_, answer []byte) []byte { answer[2] &^= 0x80; return answer },
		"another opcode":   func(_, answer []byte) []byte { answer[2] |= 0x10; return answer },
		"wrong name":       func(_, answer []byte) []byte { answer[headerSize+2] ^= 1; return answer },
		"wrong type":       func(_, answer []byte) []byte { answer[headerSize+14] ^= 1; return answer },
		"two questions":    func(_, answer []byte) []byte { answer[5] = 2; return answer },
		"no question":      func(_, answer []byte) []byte { answer[5] = 0; return answer },
		"rubbish":          func(_, _ []byte) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") },
		"three bytes":      func(_, answer []byte) []byte { return answer[:3] },
		"the query itself": func(query, _ []byte) []byte { return query },
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			s := serveRaw(t, func(query []byte) [][]byte {
				truth := packed(query, everything)
				return [][]byte{lie(query, packed(query, has(a("www.example.", 60, "10.6.6.6")))), truth}
			})
			r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
			got, err := r.LookupNetIP(t.Context(), "ip4", "www.example")
			if err != nil || len(got) != 1 || got[0].String() != "192.0.2.1" {
				t.Error(got, err)
			}
		})
	}
}

func TestAnswersFromOtherAddressesDoNotArrive(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := &nameserver{rawFrom: func(query []byte, from net.Addr) [][]byte {
		_, _ = other.WriteTo(packed(query, has(a("www.example.", 60, "10.6.6.6"))), from)
		return [][]byte{packed(query, everything)}
	}}
	s.start(t)
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	if got, err := r.LookupNetIP(t.Context(), "ip4", "www.example"); err != nil || got[0].String() != "192.0.2.1" {
		t.Error(got, err)
	}
}

func TestAnswersThatAreNoneAreErrorsInTime(t *testing.T) {
	circle := has(cname("www.example.", 60, "a.example."), cname("a.example.", 60, "b.example."), cname("b.example.", 60, "a.example."))
	for name, test := range map[string]struct {
		raw  func(query []byte) [][]byte
		want error
	}{
		"CNAME records in a circle": {func(q []byte) [][]byte { return [][]byte{packed(q, circle)} }, errChain},
		"a CNAME to itself":         {func(q []byte) [][]byte { return [][]byte{packed(q, has(cname("www.example.", 60, "www.example.")))} }, errChain},
		"a name that points to itself": {func(q []byte) [][]byte {
			msg := packed(q, func(*dnsmessage.Message) {})
			msg[7] = 1
			return [][]byte{append(msg, 0xc0, byte(len(msg)), 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)}
		}, errMalformed},
		"records that are not there": {func(q []byte) [][]byte {
			msg := packed(q, everything)
			msg[6], msg[7] = 255, 255
			return [][]byte{msg}
		}, errMalformed},
		"cut off":          {func(q []byte) [][]byte { msg := packed(q, everything); return [][]byte{msg[:len(msg)-3]} }, errMalformed},
		"too many records": {func(q []byte) [][]byte { return [][]byte{packed(q, many(4000))} }, errRecords},
		"REFUSED": {func(q []byte) [][]byte {
			return [][]byte{packed(q, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeRefused })}
		}, refusal(dnsmessage.RCodeRefused)},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveRaw(t, test.raw)
			config := &networkv1.Resolver{Upstreams: []string{"tcp://" + s.addr}}
			r, _ := start(t, config, Options{})
			wantError(t, r, ErrUnavailable)
			wantError(t, r, test.want)
		})
	}
}

// many is a zone with n addresses.
func many(n int) zone {
	return func(m *dnsmessage.Message) {
		for i := range n {
			m.Answers = append(m.Answers, a(m.Questions[0].Name.String(), 60, fmt.Sprintf("192.0.%d.%d", i/256%256, i%256)))
		}
	}
}

func TestRecordsOfOtherNamesAreLeftOut(t *testing.T) {
	s := serve(t, has(a("bank.example.", 60, "10.6.6.6"), a("www.example.", 60, "192.0.2.1"), cname("other.example.", 1, "evil.example."), a("evil.example.", 60, "10.6.6.6")))
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
	s.become(silent)
	if e := r.cache.peek([]byte(key2("bank.example", dnsmessage.TypeA)), r.now()); e != nil {
		t.Error("bank.example is known, though nobody asked for it")
	}
}

func key2(host string, t dnsmessage.Type) string {
	name, _ := appendName(nil, host)
	return string(appendType(name, t))
}

func TestWhatDoesNotFitIntoAPacketIsAskedForByTCP(t *testing.T) {
	s := serve(t, many(200))
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	for i := range 3 {
		got, err := r.LookupNetIP(t.Context(), "ip4", fmt.Sprintf("www%d.example", i))
		if err != nil || len(got) != 200 {
			t.Fatal(len(got), err)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestAnAnswerInOtherLettersIsAskedForByTCP(t *testing.T) {
	s := serveRaw(t, func(query []byte) [][]byte {
		lowerBytes(query[headerSize : len(query)-11-4])
		return [][]byte{packed(query, everything)}
	})
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
	if s.byTCP.Load() != 1 {
		t.Error("a guess by UDP would have been taken")
	}
}

func TestALostPacketIsSentAgain(t *testing.T) {
	lost := false
	s := serveRaw(t, func(query []byte) [][]byte {
		if !lost {
			lost = true
			return nil
		}
		return [][]byte{packed(query, everything)}
	})
	r, _ := start(t, shortly(), Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
}

func TestTheNextServerIsAskedWhereOneHasNoAnswer(t *testing.T) {
	hanging, broken, good := serve(t, silent), serve(t, failing), serve(t, everything)
	r, clock := start(t, shortly(), Options{}, hanging, broken, good)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
	asked := hanging.queries.Load()
	if _, err := r.LookupNetIP(t.Context(), "ip4", "two.example"); err != nil {
		t.Fatal(err)
	}
	hanging.asked(t, asked) // it is left alone
	broken.asked(t, 2)      // it answers, and may know the next name
	clock.add(skipFor)
	if _, err := r.LookupNetIP(t.Context(), "ip4", "three.example"); err != nil {
		t.Fatal(err)
	}
	if hanging.queries.Load() == asked {
		t.Error("a server that was silent once is never asked again")
	}
}

func TestTheErrorSaysWhatEachServerDid(t *testing.T) {
	hanging, broken := serve(t, silent), serve(t, failing)
	closed := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	config := shortly()
	config.Upstreams = []string{closed}
	r, _ := start(t, config, Options{}, hanging, broken)
	_, err := r.Lookup(t.Context(), "www.example", IPv4)
	for _, part := range []string{`lookup "www.example": no upstream answered`, "udp://" + closed + ": ", "connection refused", hanging.addr + ": context deadline exceeded", broken.addr + ": SERVFAIL"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}

func TestAHangingTCPServerIsGivenUp(t *testing.T) {
	s := serve(t, silent)
	config := shortly()
	config.Upstreams = []string{"tcp://" + s.addr}
	r, clock := start(t, config, Options{})
	wantError(t, r, ErrUnavailable)
	s.become(everything)
	clock.add(time.Minute)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
	if s.conns.Load() != 2 {
		t.Error("a connection that hung has been used again")
	}
}

// certificate is one for name, and the PEM of the CA that signed it.
func certificate(t *testing.T, name string, ips ...net.IP) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(ca)
}

// serveTLS makes s answer by TLS, too, at the address that it returns.
func serveTLS(t *testing.T, s *nameserver, c tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}, NextProtos: []string{"dot"}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.accept(l, &wg) })
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func TestTLSIsVerifiedAndOneConnectionCarriesAllQuestions(t *testing.T) {
	cert, ca := certificate(t, "dns.example")
	s := serve(t, everything)
	addr := serveTLS(t, s, cert)
	r, _ := start(t, &networkv1.Resolver{Upstreams: []string{"tls://" + addr + "#dns.example"}, Ca: ca}, Options{})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := r.Lookup(t.Context(), fmt.Sprintf("n%d.example", i), Both); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections for 200 questions", n)
	}
	for _, config := range []*networkv1.Resolver{
		{Upstreams: []string{"tls://" + addr + "#other.example"}, Ca: ca},
		{Upstreams: []string{"tls://" + addr}, Ca: ca}, // its address is not in the certificate
		{Upstreams: []string{"tls://" + addr + "#dns.example"}},
	} {
		r, _ := start(t, config, Options{})
		if _, err := r.Lookup(t.Context(), "www.example", IPv4); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
			t.Error(err)
		}
	}
}

func TestAKeptConnectionThatTheServerClosedIsReplaced(t *testing.T) {
	s := serve(t, everything)
	r, _ := start(t, &networkv1.Resolver{Upstreams: []string{"tcp://" + s.addr}}, Options{})
	for i := range 5 {
		if _, err := r.Lookup(t.Context(), fmt.Sprintf("n%d.example", i), IPv4); err != nil {
			t.Fatal(err)
		}
		s.hangUp()
	}
}

// serveHTTPS makes s answer by HTTPS, too, and returns the URL and the PEM of its
// CA. It shows each request to seen.
func serveHTTPS(t *testing.T, s *nameserver, seen func(*http.Request)) (url, ca string) {
	t.Helper()
	const mediaType = "application/dns-message"
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		seen(request)
		query, _ := io.ReadAll(request.Body)
		if request.Method != http.MethodPost || request.URL.Path != "/dns-query" || request.Header.Get("Content-Type") != mediaType || query[0]|query[1] != 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write(s.answers(query, nil)[0])
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	return web.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}))
}

func TestHTTPSAsksByPOSTOverOneConnection(t *testing.T) {
	s := serve(t, everything)
	var conns sync.Map
	url, ca := serveHTTPS(t, s, func(request *http.Request) { conns.Store(request.RemoteAddr, request.Proto) })
	r, _ := start(t, &networkv1.Resolver{Upstreams: []string{url + "/dns-query"}, Ca: ca}, Options{})
	for i := range 20 {
		if _, err := r.Lookup(t.Context(), fmt.Sprintf("n%d.example", i), Both); err != nil {
			t.Fatal(err)
		}
	}
	count := 0
	conns.Range(func(_, proto any) bool {
		if count++; proto != "HTTP/2.0" {
			t.Errorf("asked by %v", proto)
		}
		return true
	})
	if count != 1 {
		t.Errorf("%d connections", count)
	}
	bad, _ := start(t, &networkv1.Resolver{Upstreams: []string{url + "/other"}, Ca: ca}, Options{})
	if _, err := bad.Lookup(t.Context(), "www.example", IPv4); err == nil || !strings.Contains(err.Error(), "HTTP status 400") {
		t.Error(err)
	}
}

func TestServersOfResolvConfAreReadAgainWhenItChanges(t *testing.T) {
	// Its servers have port 53, which tests cannot have; what is read is tested.
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, path, "# none\nsearch example\n")
	r, clock := start(t, &networkv1.Resolver{}, Options{ResolvConf: path})
	wantError(t, r, ErrUnavailable)
	write(t, path, "nameserver 127.0.0.53\nnameserver fe80::1%lo\noptions edns0\nnameserver nonsense\n")
	clock.add(2 * time.Second)
	in := r.conf.current(r.now())
	defer in.users.Done()
	var got []string
	for _, s := range in.all {
		got = append(got, s.String())
	}
	if fmt.Sprint(got) != "[udp://127.0.0.53:53 udp://[fe80::1%lo]:53]" {
		t.Error(got)
	}
}
