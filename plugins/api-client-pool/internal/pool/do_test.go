package pool

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// received is what a server saw of a request.
type received struct {
	Method, Target, Host, Body string
	Headers                    http.Header
	Length                     int64
}

// record returns a server that notes its requests.
func record(t *testing.T) (*httptest.Server, <-chan received) {
	t.Helper()
	requests := make(chan received, 10)
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("server: %v", err)
		}
		requests <- received{r.Method, r.RequestURI, r.Host, string(body), r.Header, r.ContentLength}
	})
	return server, requests
}

func TestARequestArrivesAsItWasAsked(t *testing.T) {
	server, requests := record(t)
	p := open(t, nil)
	address := strings.TrimPrefix(server.URL, "http://")
	tests := []struct {
		name    string
		request *apiv1.DoRequest
		want    received
	}{
		{
			name:    "the defaults",
			request: &apiv1.DoRequest{Url: server.URL},
			want: received{Method: "GET", Target: "/", Host: address, Headers: http.Header{
				"User-Agent": {"gaia"}, "Accept-Encoding": {"gzip, br, zstd"}}},
		},
		{
			name: "everything",
			request: &apiv1.DoRequest{
				Method:         "POST",
				Url:            server.URL + "/a%2Fb?q=1&q=2#fragment",
				Headers:        map[string]string{"content-type": "text/plain", "X-LIST": "a, b", "host": "example.com:81", "user-agent": "me", "accept-encoding": "identity"},
				Body:           []byte("hello"),
				IdempotencyKey: "k-1",
			},
			want: received{Method: "POST", Target: "/a%2Fb?q=1&q=2", Host: "example.com:81", Body: "hello", Length: 5, Headers: http.Header{
				"Content-Type": {"text/plain"}, "X-List": {"a, b"}, "User-Agent": {"me"}, "Accept-Encoding": {"identity"},
				"Content-Length": {"5"}, "Idempotency-Key": {"k-1"}}},
		},
		{
			name:    "a GET with a body",
			request: &apiv1.DoRequest{Url: server.URL, Body: []byte("{}")},
			want: received{Method: "GET", Target: "/", Host: address, Body: "{}", Length: 2, Headers: http.Header{
				"User-Agent": {"gaia"}, "Accept-Encoding": {"gzip, br, zstd"}, "Content-Length": {"2"}}},
		},
		{
			name:    "a POST without a body says so",
			request: &apiv1.DoRequest{Method: "POST", Url: server.URL},
			want: received{Method: "POST", Target: "/", Host: address, Headers: http.Header{
				"User-Agent": {"gaia"}, "Accept-Encoding": {"gzip, br, zstd"}, "Content-Length": {"0"}}},
		},
		{
			name:    "a method of one's own",
			request: &apiv1.DoRequest{Method: "PURGE", Url: strings.Replace(server.URL, "http", "HTTP", 1) + "?q=/x"},
			want: received{Method: "PURGE", Target: "/?q=/x", Host: address, Headers: http.Header{
				"User-Agent": {"gaia"}, "Accept-Encoding": {"gzip, br, zstd"}}},
		},
		{
			name:    "no User-Agent where an empty one is asked for",
			request: &apiv1.DoRequest{Url: server.URL, Headers: map[string]string{"User-Agent": ""}},
			want:    received{Method: "GET", Target: "/", Host: address, Headers: http.Header{"Accept-Encoding": {"gzip, br, zstd"}}},
		},
		{
			name: "a body that waits for 100 Continue",
			request: &apiv1.DoRequest{Method: "PUT", Url: server.URL, Body: []byte("big"),
				Headers: map[string]string{"Expect": "100-continue"}},
			want: received{Method: "PUT", Target: "/", Host: address, Body: "big", Length: 3, Headers: http.Header{
				"User-Agent": {"gaia"}, "Accept-Encoding": {"gzip, br, zstd"}, "Content-Length": {"3"}, "Expect": {"100-continue"}}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := proto.Clone(test.request)
			mustDo(t, p, test.request)
			if diff := cmp.Diff(test.want, <-requests); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if !proto.Equal(before, test.request) {
				t.Errorf("Do changed its request from %v to %v", before, test.request)
			}
		})
	}
}

func TestAResponseIsReturnedAsItCame(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = []string{"b=2; Path=/", "a=1"}
		w.Header()["Date"] = nil
		w.Header().Set("X-Zed", "z")
		w.Header().Set("content-type", "application/json")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, `{"short":true}`)
	})
	got := mustDo(t, open(t, nil), &apiv1.DoRequest{Url: server.URL + "/tea"})
	got.Timing = nil
	want := &apiv1.DoResponse{
		Status: 418,
		Headers: []*apiv1.Header{
			{Name: "Content-Length", Value: "14"},
			{Name: "Content-Type", Value: "application/json"},
			{Name: "Set-Cookie", Value: "b=2; Path=/"},
			{Name: "Set-Cookie", Value: "a=1"},
			{Name: "X-Zed", Value: "z"},
		},
		Body:     []byte(`{"short":true}`),
		Protocol: "HTTP/1.1",
		Url:      server.URL + "/tea",
		Attempts: 1,
	}
	if !proto.Equal(want, got) {
		t.Errorf("response:\ngot  %v\nwant %v", got, want)
	}
}

// A proto string is UTF-8: one that is not would fail the whole answer.
func TestAHeaderThatIsNotUTF8IsReadAsLatin1(t *testing.T) {
	address := misbehave(t, answer("HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nX-Utf: caf\u00e9\r\nContent-Length: 0\r\n\r\n"))
	response := mustDo(t, open(t, nil), &apiv1.DoRequest{Url: "http://" + address})
	if got := values(response, "X-Name"); !cmp.Equal(got, []string{"café"}) {
		t.Errorf("X-Name: got %q, want café", got)
	}
	if got := values(response, "X-Utf"); !cmp.Equal(got, []string{"café"}) {
		t.Errorf("X-Utf: got %q, want café", got)
	}
	if _, err := proto.Marshal(response); err != nil {
		t.Errorf("marshal: %v", err)
	}
}

func TestAGzipBodyIsUnpackedOnlyIfTheClientAskedForIt(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Errorf("Accept-Encoding: got %q, want gzip", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		packer := gzip.NewWriter(w)
		_, _ = io.WriteString(packer, "plain")
		_ = packer.Close()
	})
	p := open(t, nil)
	response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL})
	if string(response.GetBody()) != "plain" || values(response, "Content-Encoding") != nil {
		t.Errorf("got body %q, Content-Encoding %q; want it unpacked", response.GetBody(), values(response, "Content-Encoding"))
	}
	response = mustDo(t, p, &apiv1.DoRequest{Url: server.URL, Headers: map[string]string{"Accept-Encoding": "gzip"}})
	if !strings.HasPrefix(string(response.GetBody()), "\x1f\x8b") || !cmp.Equal(values(response, "Content-Encoding"), []string{"gzip"}) {
		t.Errorf("got body %q, Content-Encoding %q; want it packed", response.GetBody(), values(response, "Content-Encoding"))
	}
}

func TestOddButLegalResponsesAreComplete(t *testing.T) {
	tests := []struct {
		name, method, answer string
		wantStatus           uint32
		wantBody             string
	}{
		{"no reason phrase", "GET", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, "ok"},
		{"an empty reason phrase", "GET", "HTTP/1.1 404 \r\nContent-Length: 2\r\n\r\nno", 404, "no"},
		{"a body that ends with the connection", "GET", "HTTP/1.1 200 OK\r\n\r\nall of it", 200, "all of it"},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\n\r\nold", 200, "old"},
		{"chunks and a trailer", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n", 200, "abcde"},
		{"early hints first", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"},
		{"HEAD with a length over the limit", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", 200, ""},
		{"not modified, with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, ""},
		{"no content", "DELETE", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
		{"the same length twice", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, "ok"},
		{"a status nobody registered", "GET", "HTTP/1.1 599 ?\r\nContent-Length: 0\r\n\r\n", 599, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			address := misbehave(t, answer(test.answer))
			response := mustDo(t, open(t, nil), &apiv1.DoRequest{Method: test.method, Url: "http://" + address})
			if response.GetStatus() != test.wantStatus || string(response.GetBody()) != test.wantBody {
				t.Errorf("got %d %q, want %d %q", response.GetStatus(), response.GetBody(), test.wantStatus, test.wantBody)
			}
		})
	}
}

func TestTimingsTellTheColdConnectionFromTheWarmOne(t *testing.T) {
	server := serveTLS(t, func(http.ResponseWriter, *http.Request) {})
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, &apiv1.Config{DisableHttp2: true})
	trust(t, p, server)
	byName := "https://example.com:" + port // which the certificate is for, too
	asked(t, p, hosts(map[string]netip.Addr{"example.com": here()}))

	cold := mustDo(t, p, &apiv1.DoRequest{Url: byName})
	if cold.GetReusedConnection() {
		t.Error("the first call says that its connection was warm")
	}
	for phase, d := range map[string]*durationpb.Duration{
		"dns": cold.Timing.Dns, "connect": cold.Timing.Connect, "tls": cold.Timing.Tls,
		"first_byte": cold.Timing.FirstByte, "total": cold.Timing.Total,
	} {
		if d.AsDuration() <= 0 {
			t.Errorf("cold: %s: got %v, want above 0", phase, d.AsDuration())
		}
	}
	parts := cold.Timing.Dns.AsDuration() + cold.Timing.Connect.AsDuration() + cold.Timing.Tls.AsDuration()
	if first := cold.Timing.FirstByte.AsDuration(); first < parts {
		t.Errorf("cold: first byte after %v, before dns, connect and tls were over, %v", first, parts)
	}
	if first, total := cold.Timing.FirstByte.AsDuration(), cold.Timing.Total.AsDuration(); total < first {
		t.Errorf("cold: total %v is below first byte %v", total, first)
	}

	warm := mustDo(t, p, &apiv1.DoRequest{Url: byName})
	if !warm.GetReusedConnection() {
		t.Error("the second call says that its connection was new")
	}
	if warm.Timing.Dns != nil || warm.Timing.Connect != nil || warm.Timing.Tls != nil {
		t.Errorf("warm: got %v, want neither dns nor connect nor tls", warm.Timing)
	}
	if warm.Timing.FirstByte == nil || warm.Timing.Total == nil {
		t.Errorf("warm: got %v, want first_byte and total", warm.Timing)
	}
}

func TestHTTP2IsUsedWhereOfferedUnlessDisabled(t *testing.T) {
	server := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})
	for _, test := range []struct {
		config *apiv1.Config
		want   string
	}{
		{&apiv1.Config{}, "HTTP/2.0"},
		{&apiv1.Config{DisableHttp2: true}, "HTTP/1.1"},
	} {
		p := open(t, test.config)
		trust(t, p, server)
		for _, wantReused := range []bool{false, true} {
			response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL})
			if response.GetProtocol() != test.want || string(response.GetBody()) != test.want {
				t.Errorf("%v: got %s, the server saw %s, want %s", test.config, response.GetProtocol(), response.GetBody(), test.want)
			}
			if response.GetReusedConnection() != wantReused {
				t.Errorf("%v: reused: got %v, want %v", test.config, response.GetReusedConnection(), wantReused)
			}
		}
	}
}

func TestACallBeforeConfigureHasTheDefaults(t *testing.T) {
	p := New()
	t.Cleanup(func() { _ = p.Shutdown(t.Context()) })
	_, err := p.Do(context.WithoutCancel(t.Context()), &apiv1.DoRequest{Url: "http://127.0.0.1:1"})
	wantError(t, err, codes.PermissionDenied, "denied by default")
}
