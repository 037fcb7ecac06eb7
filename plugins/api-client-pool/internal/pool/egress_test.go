package pool

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"google.golang.org/grpc/codes"
)

func cancelable(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), bound)
}

func TestWithoutRulesOnlyThePublicInternetIsReached(t *testing.T) {
	server, census := counted(t, func(http.ResponseWriter, *http.Request) {})
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, &apiv1.Config{Egress: &egressv1.Egress{}})
	asked(t, p, hosts(map[string]netip.Addr{"looks.public.test": here()}))
	for _, host := range []string{
		"127.0.0.1", "127.1", "0x7f.0.0.1", "2130706433", "017700000001", "[::1]", "[::ffff:127.0.0.1]", "localhost", "looks.public.test",
		"169.254.169.254", "10.0.0.1", "192.168.0.1", "[fd00::1]", "0.0.0.0",
	} {
		_, err := do(t, p, &apiv1.DoRequest{Url: "http://" + host + ":" + port})
		wantError(t, err, codes.PermissionDenied, ": connect: egress to ", " is denied by default: ")
	}
	if _, _, all := census.numbers(); all != 0 {
		t.Errorf("the server was reached %d times", all)
	}
	got := gather(t, p)
	if got[`gaia_api_requests_total{result="denied"}`] != 14 || got[`gaia_api_egress_denied_total{rule="default"}`] < 14 {
		t.Errorf("denials counted: got %v", got)
	}
}

func TestAHostThatIsNoneIsTheCallersFault(t *testing.T) {
	via := &viaProxy{}
	for _, p := range []*Pool{open(t, nil), open(t, &apiv1.Config{Proxy: "http://" + misbehave(t, via.http)})} {
		for _, host := range []string{"256.1.1.1", "1.2.3.4.5", "[fe80::1%25lo]", "a..b", strings.Repeat("x", 64) + ".test"} {
			for _, version := range []apiv1.HTTPVersion{0, apiv1.HTTPVersion_HTTP_3} {
				if p.client.settings.routes[""].Proxy != nil && version != 0 {
					continue
				}
				_, err := do(t, p, &apiv1.DoRequest{Url: "https://" + host + "/", HttpVersion: version})
				wantError(t, err, codes.InvalidArgument, "url: host ")
			}
		}
	}
	if got := via.seen(); got != "" {
		t.Errorf("the proxy was asked for %s", got)
	}
}

func TestARedirectIsDeniedLikeAnyRequest(t *testing.T) {
	inside, census := counted(t, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, http.StatusFound) })
	p := open(t, &apiv1.Config{Egress: &egressv1.Egress{Rule: []*egressv1.Rule{
		{Action: egressv1.Rule_DENY, Ports: []string{port}},
		{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}},
	}}})
	_, err := do(t, p, &apiv1.DoRequest{Url: server.URL})
	wantError(t, err, codes.PermissionDenied, "GET "+inside.Listener.Addr().String(), " is denied by rule[0]")
	if _, _, all := census.numbers(); all != 0 {
		t.Error("the server was reached")
	}
}

// A warm connection of one profile is no way around the rules of another.
func TestProfilesThatRulesNameShareNoConnection(t *testing.T) {
	server, census := counted(t, func(http.ResponseWriter, *http.Request) {})
	block := func(name string) *apiv1.Profile {
		return &apiv1.Profile{BaseUrl: server.URL, Headers: map[string]string{"X": name}}
	}
	p := open(t, &apiv1.Config{
		Egress: &egressv1.Egress{Rule: []*egressv1.Rule{
			{Action: egressv1.Rule_DENY, Clients: []string{"barred"}},
			{Action: egressv1.Rule_ALLOW, Clients: []string{"", "named", "one", "two"}, Addresses: []string{"loopback"}},
		}},
		Profile: map[string]*apiv1.Profile{"barred": block("barred"), "named": block("named"), "other": block("other")},
	})
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL})
	mustDo(t, p, &apiv1.DoRequest{Profile: "named"})
	for name, rule := range map[string]string{"barred": "rule[0]", "other": "default"} {
		_, err := do(t, p, &apiv1.DoRequest{Profile: name})
		wantError(t, err, codes.PermissionDenied, "denied by "+rule)
	}
	if _, _, all := census.numbers(); all != 2 {
		t.Errorf("connections: got %d, want 2", all)
	}
}

func TestProfilesWithTheSameConnectionsShareThem(t *testing.T) {
	its := newPair(t, "server")
	server, census := unstarted(t, func(http.ResponseWriter, *http.Request) {})
	server.TLS = its.config(t)
	server.StartTLS()
	block := func() *apiv1.Profile { return &apiv1.Profile{BaseUrl: server.URL, Tls: &apiv1.TLS{Ca: its.chain}} }
	p := open(t, &apiv1.Config{Tls: &apiv1.TLS{Ca: its.chain}, Profile: map[string]*apiv1.Profile{
		"a": block(), "b": block(), "c": {BaseUrl: server.URL}, "strict": {BaseUrl: server.URL, Tls: &apiv1.TLS{Ca: its.chain, MinVersion: apiv1.TLS_TLS13}},
	}})
	for _, name := range []string{"a", "b", "c", "a"} {
		mustDo(t, p, &apiv1.DoRequest{Profile: name})
	}
	if _, _, all := census.numbers(); all != 1 {
		t.Errorf("connections of profiles with equal TLS: got %d, want 1", all)
	}
	mustDo(t, p, &apiv1.DoRequest{Profile: "strict"})
	if _, _, all := census.numbers(); all != 2 {
		t.Errorf("connections with another TLS: got %d, want 2", all)
	}
}

func TestReportOnlyLetsPassAndCounts(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	p := open(t, &apiv1.Config{Egress: &egressv1.Egress{ReportOnly: true}})
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL})
	if got := gather(t, p)[`gaia_api_egress_denied_total{rule="default"}`]; got != 1 {
		t.Errorf("denials counted: got %v, want 1", got)
	}
}

func TestAFaultyEgressBlockIsRefusedByItsField(t *testing.T) {
	p := open(t, nil)
	err := p.Configure(t.Context(), &apiv1.Config{Egress: &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"10.0.0.0/99"}}}}})
	if err == nil || !strings.HasPrefix(err.Error(), "egress.rule[0].addresses[0]: ") {
		t.Errorf("got %v, want a fault at egress.rule[0].addresses[0]", err)
	}
}

// A host is spelled once, before rules, profiles and the connection see it.
func TestAHostInAnotherScriptIsSpelledInASCII(t *testing.T) {
	server, requests := record(t)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	p := open(t, &apiv1.Config{Profile: map[string]*apiv1.Profile{"api": {BaseUrl: "http://bücher.test:" + port, Bearer: "s3cret"}}})
	asked(t, p, hosts(map[string]netip.Addr{"xn--bcher-kva.test": here()}))
	for _, url := range []string{"http://BÜCHER.test:" + port, "http://xn--bcher-kva.test:" + port, "/", "http://bu\u0308cher。test:" + port} {
		mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: url})
		if got := <-requests; got.Host != "xn--bcher-kva.test:"+port || got.Headers.Get("Authorization") != "Bearer s3cret" {
			t.Errorf("%s: got host %s and %q, want it in ASCII with the secret", url, got.Host, got.Headers.Get("Authorization"))
		}
	}
	response := mustDo(t, p, &apiv1.DoRequest{Url: "http://①②⑦.0.0.1:" + port})
	if got := <-requests; response.GetUrl() != server.URL || got.Host != server.Listener.Addr().String() {
		t.Errorf("got %s, want %s", response.GetUrl(), server.URL)
	}
}
