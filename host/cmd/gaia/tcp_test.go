package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const certificateClients = `
client "common" {
  certificate = "ci"
  allow       = ["echo.*"]
}
client "dns" {
  certificate = "build.example"
  allow       = ["echo.*"]
}
client "uri" {
  certificate = "spiffe://example/render"
  allow       = ["echo.*"]
}
`

// call makes a call by TCP.
func (h *house) callTCP(t *testing.T, config *tls.Config) error {
	t.Helper()
	conn := h.dialTCP(t, config)
	defer conn.Close()
	_, err := apiv1.NewAPIClientPoolClient(conn).Do(t.Context(), &apiv1.DoRequest{Url: "test:"})
	return err
}

func TestByTCPAClientIsKnownByItsCertificate(t *testing.T) {
	h, ca := openAccess(t, certificateClients)
	elsewhere := newAuthority(t, t.TempDir(), "elsewhere")
	foreign := ca.trusts(elsewhere.client(t, "ci", ""))
	old := ca.trusts(ca.client(t, "ci", ""))
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	for _, c := range []struct {
		given string
		tls   *tls.Config
		want  codes.Code
	}{
		{"a common name", ca.trusts(ca.client(t, "ci", "")), codes.OK},
		{"a DNS name", ca.trusts(ca.client(t, "any", "", "build.example")), codes.OK},
		{"a URI", ca.trusts(ca.client(t, "any", "spiffe://example/render")), codes.OK},
		{"nobody's names", ca.trusts(ca.client(t, "any", "spiffe://example/other", "other.example")), codes.Unauthenticated},
		{"the names of two", ca.trusts(ca.client(t, "ci", "", "build.example")), codes.Unauthenticated},
		{"a name that another authority has signed", foreign, codes.Unavailable},
		{"no certificate", ca.trusts(), codes.Unavailable},
		{"TLS 1.1", old, codes.Unavailable},
	} {
		if err := h.callTCP(t, c.tls); status.Code(err) != c.want {
			t.Errorf("%s: got %v, want %v", c.given, err, c.want)
		}
	}
	if got := h.metric(t, `gaia_client_calls_total{client="dns",code="OK"}`); got != 1 {
		t.Errorf("%v calls of the client with a DNS name", got)
	}
}

func TestCertificatesAreReadAgainAtAReload(t *testing.T) {
	h, ca := openAccess(t, certificateClients)
	if err := h.callTCP(t, ca.trusts(ca.client(t, "ci", ""))); err != nil {
		t.Fatal(err)
	}
	open := h.dialTCP(t, ca.trusts(ca.client(t, "ci", "")))
	if _, err := apiv1.NewAPIClientPoolClient(open).Do(t.Context(), &apiv1.DoRequest{}); err != nil {
		t.Fatal(err)
	}
	next := newAuthority(t, h.dir, "ca") // in the place of the one before
	next.server(t, "server")
	if r := h.configure(t, accessHost+certificateClients); !r.GetApplied() {
		t.Fatal(r)
	}
	if err := h.callTCP(t, next.trusts(next.client(t, "ci", ""))); err != nil {
		t.Errorf("with the new authority: %v", err)
	}
	if err := h.callTCP(t, next.trusts(ca.client(t, "ci", ""))); status.Code(err) != codes.Unavailable {
		t.Errorf("with a certificate of the old one: %v", err)
	}
	if _, err := apiv1.NewAPIClientPoolClient(open).Do(t.Context(), &apiv1.DoRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("on a connection that was open, with a certificate of the old one: %v", err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "server.key"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := h.configure(t, accessHost+certificateClients); r.GetApplied() || !strings.Contains(r.GetDiagnostics(), "Unusable certificate") {
		t.Errorf("with a broken key: %v", r)
	}
	if err := h.callTCP(t, next.trusts(next.client(t, "ci", ""))); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestHandshakesThatAreNotFinishedHoldNobodyUp(t *testing.T) {
	h, ca := openAccess(t, certificateClients)
	for range 100 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.table.GRPC)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if err := h.callTCP(t, ca.trusts(ca.client(t, "ci", ""))); err != nil {
		t.Errorf("beside a hundred of them: %v", err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.table.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.Copy(io.Discard, conn); err != nil { // until the host has enough
		t.Errorf("a connection that says nothing ends with %v", err)
	}
}

// The usual tools of the trade, as they are.
func TestToolsOfGRPCComeInByTCP(t *testing.T) {
	h, ca := openAccess(t, certificateClients)
	ca.client(t, "ci", "")
	file := func(name string) string { return filepath.Join(h.dir, name) }
	for tool, args := range map[string][]string{
		"grpcurl": {"-cacert", file("ca.pem"), "-cert", file("ci.pem"), "-key", file("ci.key"), "-d", `{"url":"test:"}`,
			h.table.GRPC, "gaia.api.v1.APIClientPool/Do"},
		"grpc-health-probe": {"-tls", "-tls-ca-cert", file("ca.pem"), "-tls-client-cert", file("ci.pem"), "-tls-client-key", file("ci.key"),
			"-addr", h.table.GRPC, "-service", "gaia.api.v1.APIClientPool"},
	} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Logf("not tried: %v", err)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if output, err := exec.CommandContext(ctx, path, args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", tool, err, output)
		}
	}
}
