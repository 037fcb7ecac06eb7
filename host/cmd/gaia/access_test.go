package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/gaia-go/gaia/sdk/client"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// tokenOf is the token of a client of these tests.
func tokenOf(client string) string { return "token-of-" + client + "-0123456789abcdef" }

func clientBlock(name, lines string) string {
	return fmt.Sprintf("client %q {\n  token = %q\n%s}\n", name, tokenOf(name), lines)
}

// accessHost is the host block of a house with all doors; its certificates are
// made by openAccess.
const accessHost = `host {
  http      = "127.0.0.1:0"
  grpc      = "127.0.0.1:0"
  audit_log = "audit.log"
  tls {
    certificate = "server.pem"
    key         = "server.key"
    client_ca   = "ca.pem"
  }
}
subsystem "echo" { plugin = "fleet-echo" }
`

// way is a door of a running host, as somebody who calls.
type way struct {
	door string
	bare codes.Code // how a call without a token ends
	do   func(ctx context.Context, token string, r *apiv1.DoRequest) error
}

// openAccess opens a house with the given client blocks.
func openAccess(t *testing.T, clients string) (*house, *authority) {
	t.Helper()
	dir := newHouse(t)
	ca := newAuthority(t, dir, "ca")
	ca.server(t, "server")
	return open(t, dir, accessHost+clients, "echo"), ca
}

// ways are all doors of a house. By TCP it comes with a certificate that is
// no client's.
func (h *house) ways(t *testing.T, ca *authority) []way {
	t.Helper()
	linked, err := client.Dial(t.Context(), h.table.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = linked.Close() })
	if linked.Transport() != "link" {
		t.Fatal("the host has no link")
	}
	byGRPC := func(conn grpc.ClientConnInterface) func(context.Context, string, *apiv1.DoRequest) error {
		return func(ctx context.Context, token string, r *apiv1.DoRequest) error {
			_, err := apiv1.NewAPIClientPoolClient(conn).Do(bearing(ctx, token), r)
			return err
		}
	}
	return []way{
		{"grpc", codes.OK, byGRPC(h.conn)},
		{"link", codes.OK, byGRPC(linked)},
		{"tcp", codes.Unauthenticated, byGRPC(h.dialTCP(t, ca.trusts(ca.client(t, "nobody", ""))))},
		{"http", codes.Unauthenticated, h.byHTTP},
	}
}

// byHTTP makes a call as curl does.
func (h *house) byHTTP(ctx context.Context, token string, r *apiv1.DoRequest) error {
	body, err := protojson.Marshal(r)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.table.HTTP+"/v1/echo/Do", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusOK {
		return err
	}
	st := new(spb.Status)
	if err := protojson.Unmarshal(text, st); err != nil {
		return fmt.Errorf("%s: %q: %w", response.Status, text, err)
	}
	return status.ErrorProto(st)
}

// bearing adds a token to the calls of a context; "" is none.
func bearing(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func (h *house) dialTCP(t *testing.T, config *tls.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(h.table.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// hostToken is the host's own.
func (h *house) hostToken(t *testing.T) string {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(h.dir, "run", "token"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

func TestEachDoorHoldsAClientToItsBlock(t *testing.T) {
	const all = "  allow = [\"echo.*\"]\n"
	var blocks strings.Builder
	for _, door := range []string{"grpc", "link", "tcp", "http"} {
		blocks.WriteString(clientBlock("free_"+door, all) + clientBlock("other_"+door, "  allow = [\"echo.Stream\", \"host.Status\"]\n") +
			clientBlock("slow_"+door, all+"  rate { limit = \"1/h\" }\n") +
			clientBlock("narrow_"+door, all+"  limits { concurrency = 1 }\n"))
	}
	h, ca := openAccess(t, blocks.String())
	for _, w := range h.ways(t, ca) {
		t.Run(w.door, func(t *testing.T) {
			do := func(token string) error { return w.do(t.Context(), token, &apiv1.DoRequest{Url: "test:"}) }
			of := func(name string) string { return tokenOf(name + "_" + w.door) }
			for _, c := range []struct {
				given, token string
				want         codes.Code
			}{
				{"no token", "", w.bare},
				{"a token of nobody", "0123456789abcdef-of-nobody", codes.Unauthenticated},
				{"the beginning of a token", of("free")[:20], codes.Unauthenticated},
				{"the token of a client", of("free"), codes.OK},
				{"that of the host", h.hostToken(t), codes.OK},
				{"that of who may call something else", of("other"), codes.PermissionDenied},
				{"that of who may call once", of("slow"), codes.OK},
				{"and a second time", of("slow"), codes.ResourceExhausted},
			} {
				err := do(c.token)
				if status.Code(err) != c.want {
					t.Errorf("%s: got %v, want %v", c.given, err, c.want)
				}
				if text := status.Convert(err).Message(); c.token != "" && strings.Contains(text, c.token) {
					t.Errorf("%s: the token is in the error %q", c.given, text)
				}
			}
			wantRefusal(t, do(of("other")), "allow", "config.hcl:")
			wantRefusal(t, do(of("slow")), "rate", "1/h")
			ctx, cancel := context.WithCancel(t.Context())
			held := make(chan error, 1)
			go func() { held <- w.do(ctx, of("narrow"), &apiv1.DoRequest{Url: "test:block"}) }()
			inFlight := fmt.Sprintf("gaia_client_in_flight{client=%q}", "narrow_"+w.door)
			h.awaitMetric(t, inFlight, 1)
			wantRefusal(t, do(of("narrow")), "bulkhead", "limits 1 and 0")
			cancel()
			if err := <-held; status.Code(err) != codes.Canceled {
				t.Errorf("the call that held the place ended with %v", err)
			}
			h.awaitMetric(t, inFlight, 0)
			if err := do(of("narrow")); err != nil {
				t.Errorf("when the place is free again: %v", err)
			}
			for series, want := range map[string]float64{
				fmt.Sprintf("gaia_client_calls_total{client=%q,code=\"PermissionDenied\"}", "other_"+w.door): 2,
				fmt.Sprintf("gaia_client_rejected_total{client=%q,policy=\"allow\"}", "other_"+w.door):       2,
				fmt.Sprintf("gaia_client_rejected_total{client=%q,policy=\"rate\"}", "slow_"+w.door):         2,
				fmt.Sprintf("gaia_client_rejected_total{client=%q,policy=\"bulkhead\"}", "narrow_"+w.door):   1,
				fmt.Sprintf("gaia_client_calls_total{client=%q,code=\"OK\"}", "free_"+w.door):                1,
			} {
				if got := h.metric(t, series); got != want {
					t.Errorf("%s is %v, want %v", series, got, want)
				}
			}
			strangers := 2.
			if w.bare != codes.OK {
				strangers++
			}
			if got := h.metric(t, fmt.Sprintf("gaia_unauthenticated_total{door=%q}", w.door)); got != strangers {
				t.Errorf("%v calls by strangers, want %v", got, strangers)
			}
		})
	}
}

// wantRefusal checks that an error names the policy, for programs and for
// people, and when to come back.
func wantRefusal(t *testing.T, err error, policy, text string) {
	t.Helper()
	st := status.Convert(err)
	got, retry := "", time.Duration(-1)
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			got = d.GetMetadata()["policy"]
		case *errdetails.RetryInfo:
			retry = d.GetRetryDelay().AsDuration()
		}
	}
	if got != policy || !strings.Contains(st.Message(), text) || !strings.Contains(st.Message(), "client \"") {
		t.Errorf("got %v by the policy %q, want %q and the text %q", err, got, policy, text)
	}
	if (st.Code() == codes.ResourceExhausted) != (retry > 0) {
		t.Errorf("%v: to be repeated in %v", err, retry)
	}
}

// awaitMetric waits until a series has a value.
func (h *house) awaitMetric(t *testing.T, series string, want float64) {
	t.Helper()
	await(t, fmt.Sprintf("%s is %v", series, want), func() bool { return h.metric(t, series) == want })
}

func TestTheHostsOwnMethodsAreThoseThatAreNamed(t *testing.T) {
	h, _ := openAccess(t, clientBlock("all", "  allow = [\"*\"]\n")+clientBlock("watcher", "  allow = [\"host.Status\"]\n"))
	for client, want := range map[string]codes.Code{tokenOf("all"): codes.PermissionDenied, tokenOf("watcher"): codes.OK, h.hostToken(t): codes.OK} {
		_, err := h.host.Status(bearing(t.Context(), client), &hostv1.StatusRequest{})
		if status.Code(err) != want {
			t.Errorf("Status with %s: %v, want %v", client, err, want)
		}
	}
	if _, err := h.host.Reload(bearing(t.Context(), tokenOf("watcher")), &hostv1.ReloadRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("Reload: %v", err)
	}
	events, err := h.host.Events(bearing(t.Context(), tokenOf("watcher")), &hostv1.EventsRequest{})
	if err == nil {
		_, err = events.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("Events: %v", err)
	}
}

func TestAReloadAppliesClientsAndEndsWhatIsNotAllowedAnyMore(t *testing.T) {
	const all = "  allow = [\"echo.*\"]\n"
	slow := clientBlock("slow", all+"  rate { limit = \"1/h\" }\n")
	h, ca := openAccess(t, slow+clientBlock("leaves", all)+clientBlock("narrows", all))
	for _, w := range h.ways(t, ca) {
		held := map[string]chan error{"leaves": make(chan error, 1), "narrows": make(chan error, 1)}
		for name, ended := range held {
			go func() { ended <- w.do(t.Context(), tokenOf(name), &apiv1.DoRequest{Url: "test:block"}) }()
			h.awaitMetric(t, fmt.Sprintf("gaia_client_in_flight{client=%q}", name), 1)
		}
		r := h.configure(t, accessHost+slow+clientBlock("narrows", "  allow = [\"echo.Stream\"]\n")+clientBlock("comes", all))
		if want := "[client leaves: removed client narrows: settings applied client comes: added]"; !r.GetApplied() || fmt.Sprint(r.GetChanges()) != want {
			t.Errorf("%s: the reload did %v, want %s\n%s", w.door, r.GetChanges(), want, r.GetDiagnostics())
		}
		for name, want := range map[string]codes.Code{"leaves": codes.Unauthenticated, "narrows": codes.PermissionDenied} {
			if err := <-held[name]; status.Code(err) != want {
				t.Errorf("%s: the call of %s under way ended with %v, want %v", w.door, name, err, want)
			}
		}
		for name, want := range map[string]codes.Code{"leaves": codes.Unauthenticated, "narrows": codes.PermissionDenied, "comes": codes.OK} {
			if err := w.do(t.Context(), tokenOf(name), &apiv1.DoRequest{}); status.Code(err) != want {
				t.Errorf("%s: a call of %s after it: %v, want %v", w.door, name, err, want)
			}
		}
		if page := h.get(t, "/metrics"); strings.Contains(page, `client="leaves"`) || !strings.Contains(page, `client="comes"`) {
			t.Errorf("%s: the page of metrics has the wrong clients", w.door)
		}
		h.configure(t, accessHost+slow+clientBlock("leaves", all)+clientBlock("narrows", all))
	}
	if err := h.ways(t, ca)[0].do(t.Context(), tokenOf("slow"), &apiv1.DoRequest{}); err != nil {
		t.Errorf("the only call of an hour: %v", err)
	}
	h.configure(t, accessHost+slow+clientBlock("another", all))
	if err := h.ways(t, ca)[0].do(t.Context(), tokenOf("slow"), &apiv1.DoRequest{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a second one after a reload that did not change its rate: %v", err)
	}
	r := h.configure(t, accessHost+slow+clientBlock("slow", all))
	if r.GetApplied() || strings.Contains(r.GetDiagnostics(), tokenOf("slow")) {
		t.Errorf("two clients with one name and token: %v", r)
	}
}
