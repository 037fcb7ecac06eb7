package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// listener listens at an address of this machine with a free port, and counts
// whom it has met.
type listener struct {
	net.Listener
	met atomic.Int64
}

func listen(t testing.TB, at string) *listener {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", at)
	if err != nil {
		t.Skipf("nothing can listen at %s: %v", at, err)
	}
	counted := &listener{Listener: l}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			counted.met.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return counted
}

func (l *listener) addr() netip.AddrPort { return netip.MustParseAddrPort(l.Addr().String()) }

// resolver is a Resolver by a function.
type resolver func(network, host string) ([]netip.Addr, error)

func (r resolver) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	return r(network, host)
}

// always answers with the same addresses.
func always(addrs ...string) resolver {
	return func(string, string) ([]netip.Addr, error) {
		var parsed []netip.Addr
		for _, a := range addrs {
			parsed = append(parsed, netip.MustParseAddr(a))
		}
		return parsed, nil
	}
}

// opened dials, closes what it gets, and returns the address that it got to.
func opened(t testing.TB, d *Dialer, target Target) (string, error) {
	t.Helper()
	conn, err := d.Dial(t.Context(), target)
	if err != nil {
		if conn != nil {
			t.Errorf("an error and %v", conn)
		}
		return "", err
	}
	defer conn.Close()
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("the connection is a %T", conn)
	}
	return conn.RemoteAddr().String(), nil
}

func allowing(t testing.TB, addresses ...string) *Policy {
	t.Helper()
	return rules(t, &egressv1.Rule{Action: allow, Addresses: addresses})
}

func TestOnlyAllowedAddressesAreDialled(t *testing.T) {
	good := listen(t, "127.0.0.2:0")
	bad := listen(t, "127.0.0.1:"+strings.TrimPrefix(good.Addr().String(), "127.0.0.2:"))
	d := &Dialer{Policy: allowing(t, "127.0.0.2"), Resolver: always("::1", "127.0.0.1", "::ffff:127.0.0.1", "127.0.0.2", "10.0.0.7", "169.254.169.254")}
	target := Target{Host: Host{Name: "mixed.example"}, Port: good.addr().Port()}
	for range 20 {
		if at, err := opened(t, d, target); err != nil || at != good.Addr().String() {
			t.Fatalf("dialled %s, %v; want %s", at, err, good.Addr())
		}
	}
	if bad.met.Load() != 0 {
		t.Errorf("an address that is not allowed was connected to %d times", bad.met.Load())
	}
}

func TestADialThatIsDeniedIsReportedOnce(t *testing.T) {
	var reported []*Denied
	d := &Dialer{Resolver: always("127.0.0.1", "10.0.0.7"), Reported: func(denied *Denied) { reported = append(reported, denied) }}
	_, err := opened(t, d, Target{Client: "ci", Host: Host{Name: "x"}, Port: 80})
	denied, ok := errors.AsType[*Denied](err)
	if !ok || len(reported) != 1 || reported[0] != denied || denied.Passed || denied.Client != "ci" || denied.Addr.String() != "127.0.0.1" {
		t.Errorf("%v, reported %v; want 127.0.0.1 denied once", err, reported)
	}
}

func TestANameThatNobodyMayReachIsNotAskedFor(t *testing.T) {
	asked := 0
	d := &Dialer{
		Policy:   rules(t, &egressv1.Rule{Action: deny, Hosts: []string{"*.evil.example"}}),
		Resolver: resolver(func(string, string) ([]netip.Addr, error) { asked++; return nil, errors.New("asked") }),
	}
	_, err := opened(t, d, Target{Host: Host{Name: "secret-data.evil.example"}, Port: 80})
	denied, ok := errors.AsType[*Denied](err)
	if !ok || denied.Rule != "rule[0]" || denied.Addr.IsValid() || asked != 0 {
		t.Errorf("%v, asked %d times; want a denial by rule[0] and no question", err, asked)
	}
}

func TestReportOnlyLetsPassAndTells(t *testing.T) {
	at := listen(t, "127.0.0.1:0")
	var reported []*Denied
	d := &Dialer{
		Policy:   compiled(t, &egressv1.Egress{Default: egressv1.Egress_DENY, ReportOnly: true, Rule: []*egressv1.Rule{{Action: allow, Hosts: []string{"fine"}, Addresses: []string{"127.0.0.1"}}}}),
		Resolver: always("127.0.0.1"),
		Reported: func(denied *Denied) { reported = append(reported, denied) },
	}
	if _, err := opened(t, d, Target{Host: Host{Name: "fine"}, Port: at.addr().Port()}); err != nil || len(reported) != 0 {
		t.Errorf("%v, reported %v; want it allowed", err, reported)
	}
	if _, err := opened(t, d, Target{Host: Host{Name: "other"}, Port: at.addr().Port()}); err != nil || len(reported) != 1 || !reported[0].Passed {
		t.Fatalf("%v, reported %v; want it let through, and told", err, reported)
	}
	if text := reported[0].Error(); !strings.Contains(text, "(127.0.0.1) would be denied by default") {
		t.Error(text)
	}
	// A way round for ever is nothing that rules have to say about: where there is
	// another address, that one is let through.
	d.Own = Listeners(at.addr())
	if _, err := opened(t, d, Target{Host: Host{Name: "other"}, Port: at.addr().Port()}); err == nil || !strings.Contains(err.Error(), "denied by own") {
		t.Errorf("%v, want a denial by own", err)
	}
	beside := listen(t, "127.0.0.2:"+strings.TrimPrefix(at.Addr().String(), "127.0.0.1:"))
	d.Resolver = always("127.0.0.1", "127.0.0.2")
	to, err := opened(t, d, Target{Host: Host{Name: "other"}, Port: at.addr().Port()})
	if last := reported[len(reported)-1]; err != nil || to != beside.Addr().String() || !last.Passed || last.Addr.String() != "127.0.0.2" {
		t.Errorf("dialled %s, %v, reported %v; want %s let through", to, err, last, beside.Addr())
	}
}

func TestOnesOwnListenersAreNotDialled(t *testing.T) {
	narrow, wide := listen(t, "127.0.0.1:0"), listen(t, "[::]:0")
	d := &Dialer{Policy: allowing(t, "any"), Own: Listeners(narrow.addr(), wide.addr())}
	for _, test := range []struct {
		host string
		at   *listener
	}{
		{"127.0.0.1", narrow}, {"::ffff:127.0.0.1", narrow}, {"2130706433", narrow}, {"0.0.0.0", narrow}, {"::", narrow},
		{"127.0.0.1", wide}, {"127.9.9.9", wide}, {"::1", wide}, {"0.0.0.0", wide}, {"::ffff:127.0.0.1", wide},
		{outward(t), wide},
	} {
		host, err := ParseHost(test.host)
		if err != nil {
			t.Fatal(err)
		}
		_, err = opened(t, d, Target{Host: host, Port: test.at.addr().Port()})
		if denied, ok := errors.AsType[*Denied](err); !ok || denied.Rule != "own" {
			t.Errorf("%s: %v, want a denial by own", test.host, err)
		}
	}
	if narrow.met.Load()+wide.met.Load() != 0 {
		t.Error("own listeners were connected to")
	}
	other := listen(t, "127.0.0.1:0")
	if _, err := opened(t, d, Target{Host: Host{Addr: netip.MustParseAddr("127.0.0.1")}, Port: other.addr().Port()}); err != nil {
		t.Errorf("another listener: %v", err)
	}
}

// outward returns an address of this machine that is not loopback, if it has
// one.
func outward(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr().String()
		}
	}
	return "127.0.0.1"
}

func TestErrorsTellResolvingFromConnecting(t *testing.T) {
	gone := listen(t, "127.0.0.1:0").Addr().String()
	closed := netip.MustParseAddrPort(gone)
	for name, test := range map[string]struct {
		resolver resolver
		phase    Phase
		is       error
		timeout  bool
		text     string
	}{
		"no such name": {
			resolver: func(_, host string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			},
			phase: Resolve, text: "resolve: lookup x.example: no such host",
		},
		"no answer": {
			resolver: func(_, host string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
			},
			phase: Resolve, timeout: true, text: "resolve: lookup x.example: i/o timeout",
		},
		"no address": {resolver: always(), phase: Resolve, text: "resolve: lookup x.example: no address for ip"},
		"refused":    {resolver: always("127.0.0.3", "127.0.0.4"), phase: Connect, is: syscall.ECONNREFUSED, text: "connect to x.example:PORT: dial tcp 127.0.0.3:PORT: connect: connection refused; dial tcp 127.0.0.4:PORT: connect: connection refused"},
	} {
		d := &Dialer{Policy: allowing(t, "127.0.0.0/8"), Resolver: test.resolver}
		_, err := opened(t, d, Target{Host: Host{Name: "x.example"}, Port: closed.Port()})
		dialled, ok := errors.AsType[*DialError](err)
		want := strings.ReplaceAll(test.text, "PORT", strings.TrimPrefix(gone, "127.0.0.1:"))
		if !ok || dialled.Phase != test.phase || dialled.Timeout() != test.timeout || err.Error() != want {
			t.Errorf("%s:\n got %v (%+v)\nwant %s", name, err, dialled, want)
			continue
		}
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v is no %v", name, err, test.is)
		}
		cause := any(new(*net.OpError))
		if test.phase == Resolve {
			cause = new(*net.DNSError)
		}
		if !errors.As(err, cause) {
			t.Errorf("%s: %v has no %T", name, err, cause)
		}
	}
}

func TestADialEndsInTime(t *testing.T) {
	proctest.LeavesNothing(t)
	silent := silence(t)
	d := &Dialer{Policy: allowing(t, "loopback"), Resolver: always("127.0.0.1", "127.0.0.2"), Timeout: 400 * time.Millisecond}
	_, err := opened(t, d, Target{Host: Host{Addr: silent.Addr()}, Port: silent.Port()})
	if dialled, ok := errors.AsType[*DialError](err); !ok || dialled.Phase != Connect || !dialled.Timeout() {
		t.Errorf("%v, want a timeout of connecting", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d.Resolver = resolver(func(string, string) ([]netip.Addr, error) {
		cancel()
		return []netip.Addr{silent.Addr()}, nil
	})
	_, err = d.Dial(ctx, Target{Host: Host{Name: "x"}, Port: silent.Port()})
	if dialled, ok := errors.AsType[*DialError](err); !ok || dialled.Timeout() || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want it cancelled", err)
	}
}

// silence returns an address at which connecting takes for ever: somebody
// listens there, has no place for another connection, and takes none.
func silence(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "silent")
	t.Cleanup(func() { file.Close() })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port))
	for range 16 { // until one has to wait
		dialer := net.Dialer{Timeout: 100 * time.Millisecond}
		conn, err := dialer.DialTCP(t.Context(), "tcp", netip.AddrPort{}, addr)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this system has a place for every connection")
	return addr
}

// The first address is silent: a second one has its turn, and nothing is left
// of the first.
func TestAnAddressThatIsSilentDoesNotHoldUpTheNext(t *testing.T) {
	proctest.LeavesNothing(t)
	silent := silence(t)
	alive := listen(t, "127.0.0.2:"+strings.TrimPrefix(silent.String(), "127.0.0.1:"))
	d := &Dialer{Policy: allowing(t, "loopback"), Resolver: always("127.0.0.1", "127.0.0.2")}
	began := time.Now()
	at, err := opened(t, d, Target{Host: Host{Name: "x"}, Port: silent.Port()})
	if err != nil || at != alive.Addr().String() {
		t.Errorf("dialled %s, %v; want %s", at, err, alive.Addr())
	}
	if took := time.Since(began); took < headStart {
		t.Errorf("the first had %v, want %v", took, headStart)
	}
}

func TestResolveKeepsTheFamilyAndTheAnswer(t *testing.T) {
	answer := []netip.Addr{netip.MustParseAddr("::ffff:8.8.8.8"), netip.MustParseAddr("2a00::1%eth0"), netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("10.0.0.1")}
	kept := append([]netip.Addr(nil), answer...)
	d := &Dialer{Resolver: resolver(func(string, string) ([]netip.Addr, error) { return answer, nil })}
	for network, want := range map[string][]string{"ip": {"2a00::1", "8.8.8.8", "9.9.9.9"}, "ip4": {"8.8.8.8", "9.9.9.9"}, "ip6": {"2a00::1"}} {
		addrs, err := d.addresses(t.Context(), network, Target{Host: Host{Name: "x"}, Port: 443})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range addrs {
			got = append(got, a.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", network, diff)
		}
	}
	if diff := cmp.Diff(kept, answer, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the resolver's answer has changed: %s", diff)
	}
	if addrs, err := d.Resolve(t.Context(), Target{Host: Host{Name: "x"}}); err != nil || len(addrs) != 3 {
		t.Errorf("%v, %v", addrs, err)
	}
}

// A redirect is a new dial: what a server says is checked as what a user says.
func TestAnHTTPClientFollowsRedirectsByTheRules(t *testing.T) {
	proctest.LeavesNothing(t)
	inside := listen(t, "127.0.0.2:0")
	front := listenHTTP(t, "127.0.0.1:0", http.RedirectHandler("http://"+inside.Addr().String()+"/", http.StatusFound))
	var clients []string
	d := &Dialer{
		Policy:   rules(t, &egressv1.Rule{Action: allow, Addresses: []string{"127.0.0.1"}, Clients: []string{"ci"}}),
		Reported: func(denied *Denied) { clients = append(clients, denied.Client) },
	}
	transport := &http.Transport{DialContext: d.DialContext}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(WithClient(t.Context(), "ci"), http.MethodGet, "http://"+front, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	denied, ok := errors.AsType[*Denied](err)
	if !ok || denied.Addr.String() != "127.0.0.2" || inside.met.Load() != 0 || cmp.Diff([]string{"ci"}, clients) != "" {
		t.Errorf("%v for %q, want 127.0.0.2 denied for ci", err, clients)
	}
}

func listenHTTP(t *testing.T, at string, handler http.Handler) string {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return l.Addr().String()
}

func TestAnAddressThatIsNoneIsRefused(t *testing.T) {
	d := &Dialer{Policy: allowing(t, "any"), Resolver: always("127.0.0.1")}
	for _, test := range []struct{ network, address, why string }{
		{"udp", "x:80", "unknown network udp"},
		{"unix", "/run/x", "unknown network unix"},
		{"tcp", "x", "missing port"},
		{"tcp", "x:http", "write a number"},
		{"tcp", "x:65536", "write a number"},
		{"tcp", "x:0", "write a number"},
		{"tcp", "u@x:80", "user and password"},
		{"tcp", "[fe80::1%lo]:80", "zone"},
	} {
		conn, err := d.DialContext(t.Context(), test.network, test.address)
		if conn != nil || err == nil || !strings.Contains(err.Error(), test.why) {
			t.Errorf("%s %s: %v, want an error with %q", test.network, test.address, err, test.why)
		}
	}
}
