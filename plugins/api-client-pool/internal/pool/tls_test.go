package pool

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
)

// pair is a certificate that vouches for itself, and its key, in PEM.
type pair struct{ chain, key string }

// newPair makes a pair for a client or server of a name, and for 127.0.0.1.
func newPair(tb testing.TB, name string, change ...func(*x509.Certificate)) pair {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	for _, f := range change {
		f(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	packed, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return pair{
		chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: packed})),
	}
}

// config is pair's as a server needs it.
func (p pair) config(tb testing.TB) *tls.Config {
	tb.Helper()
	certificate, err := tls.X509KeyPair([]byte(p.chain), []byte(p.key))
	if err != nil {
		tb.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
}

// serveWith is serveTLS with a configuration.
func serveWith(tb testing.TB, config *tls.Config, handler http.HandlerFunc) *httptest.Server {
	tb.Helper()
	server, _ := unstarted(tb, handler)
	server.TLS = config
	server.StartTLS()
	return server
}

func TestAClientsCertificateIsShownToTheProfilesHostsOnly(t *testing.T) {
	client, its := newPair(t, "client"), newPair(t, "server")
	asking := its.config(t)
	asking.ClientAuth = tls.RequestClientCert
	who := func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		_, _ = io.WriteString(w, name)
	}
	stranger := serveWith(t, asking, who)
	server := serveWith(t, asking, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, stranger.URL, http.StatusFound)
			return
		}
		who(w, r)
	})
	p := open(t, &apiv1.Config{
		Tls: &apiv1.TLS{Ca: its.chain},
		Profile: map[string]*apiv1.Profile{
			"with":    {BaseUrl: server.URL, Tls: &apiv1.TLS{Ca: its.chain, Certificate: client.chain, Key: client.key}},
			"without": {BaseUrl: server.URL},
		},
	})
	for _, test := range []struct{ profile, url, want string }{
		{"with", "/", "client"}, {"with", "away", "nobody"}, {"without", "/", "nobody"}, {"", server.URL, "nobody"}, {"with", "/", "client"},
	} {
		response := mustDo(t, p, &apiv1.DoRequest{Profile: test.profile, Url: test.url})
		if got := string(response.GetBody()); got != test.want {
			t.Errorf("profile %q to %s: the server met %q, want %q", test.profile, test.url, got, test.want)
		}
	}
}

func TestACertificateThatDoesNotFitIsSaidClearly(t *testing.T) {
	named := newPair(t, "other.test", func(c *x509.Certificate) { c.IPAddresses = nil })
	old := newPair(t, "server", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	good := newPair(t, "server")
	fine := func(http.ResponseWriter, *http.Request) {}
	weak := good.config(t)
	weak.MaxVersion = tls.VersionTLS12
	strict := good.config(t)
	strict.ClientAuth, strict.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
	tests := []struct {
		name   string
		server *tls.Config
		client *apiv1.TLS
		want   string
	}{
		{"another name", named.config(t), &apiv1.TLS{Ca: named.chain}, "x509: cannot validate certificate for 127.0.0.1"},
		{"too old", old.config(t), &apiv1.TLS{Ca: old.chain}, "x509: certificate has expired"},
		{"another authority", good.config(t), &apiv1.TLS{Ca: named.chain}, "x509: certificate signed by unknown authority"},
		{"an old TLS", weak, &apiv1.TLS{Ca: good.chain, MinVersion: apiv1.TLS_TLS13}, "protocol version not supported"},
		{"no certificate where one is wanted", strict, &apiv1.TLS{Ca: good.chain}, "tls: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := serveWith(t, test.server, fine)
			p := open(t, &apiv1.Config{Tls: test.client})
			_, err := do(t, p, &apiv1.DoRequest{Url: server.URL})
			wantError(t, err, codes.Unavailable, ": tls: ", test.want)
		})
	}
}

func TestAVersionOfHTTPThatMustBeUsedIs(t *testing.T) {
	both := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/plain" {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}
		_, _ = io.WriteString(w, r.Proto)
	})
	its := newPair(t, "server")
	old := serveWith(t, its.config(t), func(http.ResponseWriter, *http.Request) {})
	p := open(t, &apiv1.Config{Tls: &apiv1.TLS{Ca: certificate(both) + its.chain}})
	for version, want := range map[apiv1.HTTPVersion]string{0: "HTTP/2.0", apiv1.HTTPVersion_HTTP_1_1: "HTTP/1.1", apiv1.HTTPVersion_HTTP_2: "HTTP/2.0"} {
		response := mustDo(t, p, &apiv1.DoRequest{Url: both.URL, HttpVersion: version})
		if got := string(response.GetBody()); got != want {
			t.Errorf("%v: the server saw %s, want %s", version, got, want)
		}
	}
	_, err := do(t, p, &apiv1.DoRequest{Url: old.URL, HttpVersion: apiv1.HTTPVersion_HTTP_2})
	wantError(t, err, codes.Unavailable, ": tls: ", "the server does not offer the version of HTTP that must be used")
	// One that never heard of the question speaks HTTP/1.1, so it is not asked.
	config := its.config(t)
	deaf := misbehave(t, func(conn net.Conn) {
		secure := tls.Server(conn, config)
		if secure.HandshakeContext(t.Context()) == nil && readRequest(secure) {
			t.Error("the server got a request")
		}
	})
	_, err = do(t, p, &apiv1.DoRequest{Url: "https://" + deaf, HttpVersion: apiv1.HTTPVersion_HTTP_2})
	wantError(t, err, codes.Unavailable, ": tls: ", "the server does not offer HTTP/2")
	response := mustDo(t, p, &apiv1.DoRequest{Url: both.URL + "/plain", HttpVersion: apiv1.HTTPVersion_HTTP_2})
	if response.GetStatus() != 302 {
		t.Errorf("a redirect to where there is no HTTP/2: got %d, want it returned", response.GetStatus())
	}
	for _, test := range []struct {
		config  *apiv1.Config
		url     string
		version apiv1.HTTPVersion
		want    string
	}{
		{nil, "http://h/", apiv1.HTTPVersion_HTTP_2, "HTTP/2 is for https only"},
		{nil, "http://h/", apiv1.HTTPVersion_HTTP_3, "HTTP/3 is for https only"},
		{&apiv1.Config{DisableHttp2: true}, "https://h/", apiv1.HTTPVersion_HTTP_2, "(disable_http2)"},
		{&apiv1.Config{Proxy: "http://127.0.0.1:1"}, "https://h/", apiv1.HTTPVersion_HTTP_3, "does not go through a proxy"},
		{nil, "https://h/", 9, "9 is not known"},
	} {
		_, err := do(t, open(t, test.config), &apiv1.DoRequest{Url: test.url, HttpVersion: test.version})
		wantError(t, err, codes.InvalidArgument, "http_version: ", test.want)
	}
	if strings.Contains(old.URL, "http://") {
		t.Error("the old server has no TLS")
	}
}
