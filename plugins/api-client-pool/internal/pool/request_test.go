package pool

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// fields lists the fields that an error's BadRequest names.
func fields(err error) []string {
	var list []string
	for _, detail := range status.Convert(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.GetFieldViolations() {
				list = append(list, violation.GetField())
			}
		}
	}
	return list
}

func TestARequestThatHTTPForbidsIsRefusedWithItsField(t *testing.T) {
	const good = "http://127.0.0.1:1/"
	header := func(name, value string) *apiv1.DoRequest {
		return &apiv1.DoRequest{Url: good, Headers: map[string]string{name: value}}
	}
	tests := []struct {
		name    string
		request *apiv1.DoRequest
		field   string
		text    string
	}{
		{"an empty key, by which net/http would repeat", header("Idempotency-Key", ""), `headers["Idempotency-Key"]`, "is empty"},
		{"no url", &apiv1.DoRequest{}, "url", "missing"},
		{"a relative url", &apiv1.DoRequest{Url: "/path"}, "url", "not absolute"},
		{"a host without a scheme", &apiv1.DoRequest{Url: "example.com/x"}, "url", "not absolute"},
		{"a url without slashes", &apiv1.DoRequest{Url: "http:example.com"}, "url", "has no host"},
		{"a url without a host", &apiv1.DoRequest{Url: "http:///x"}, "url", "has no host"},
		{"a port without a host", &apiv1.DoRequest{Url: "http://:80/"}, "url", "has no host"},
		{"another scheme", &apiv1.DoRequest{Url: "ftp://example.com/"}, "url", `scheme "ftp"`},
		{"a file", &apiv1.DoRequest{Url: "file:///etc/passwd"}, "url", "not absolute"},
		{"a port out of range", &apiv1.DoRequest{Url: "http://example.com:65536/"}, "url", "port 65536"},
		{"port zero", &apiv1.DoRequest{Url: "http://example.com:0/"}, "url", "port 0"},
		{"a space in the host", &apiv1.DoRequest{Url: "http://exa mple.com/"}, "url", "well-formed"},
		{"a space in the query", &apiv1.DoRequest{Url: "http://example.com/?a b HTTP/1.1"}, "url", "space in its query"},
		{"a line break", &apiv1.DoRequest{Url: "http://example.com/\r\nX: y"}, "url", "well-formed"},
		{"a user", &apiv1.DoRequest{Url: "http://user:hunter2@example.com/"}, "url", "Authorization"},
		{"a user and a bad port", &apiv1.DoRequest{Url: "http://user:hunter2@example.com:x/"}, "url", "well-formed"},
		{"a password that breaks the url", &apiv1.DoRequest{Url: "http://user:hunter2%zz@example.com/"}, "url", "well-formed"},
		{"a password taken for a port", &apiv1.DoRequest{Url: "http://user:hunter2"}, "url", "well-formed"},
		{"a user without a scheme", &apiv1.DoRequest{Url: "user:hunter2@example.com"}, "url", "not absolute"},
		{"a method in lower case", &apiv1.DoRequest{Url: good, Method: "get"}, "method", `write "GET"`},
		{"a method with a space", &apiv1.DoRequest{Url: good, Method: "GET /"}, "method", "character"},
		{"CONNECT", &apiv1.DoRequest{Url: good, Method: "CONNECT"}, "method", "tunnels"},
		{"a timeout of zero", &apiv1.DoRequest{Url: good, Timeout: &durationpb.Duration{}}, "timeout", "above 0s"},
		{"a timeout below zero", &apiv1.DoRequest{Url: good, Timeout: durationpb.New(-time.Second)}, "timeout", "above 0s"},
		{"a timeout that is no duration", &apiv1.DoRequest{Url: good, Timeout: &durationpb.Duration{Seconds: 1, Nanos: -1}}, "timeout", "above 0s"},
		{"too many redirects", &apiv1.DoRequest{Url: good, Redirects: proto.Uint32(21)}, "redirects", "21 is above 20"},
		{"a header name with a colon", header("X:", "1"), `headers["X:"]`, "header name"},
		{"a header without a name", header("", "1"), `headers[""]`, "header name"},
		{"a header value with a line break", header("X-A", "hunter2\r\nX: y"), `headers["X-A"]`, "header value"},
		{"a key with a line break", &apiv1.DoRequest{Url: good, IdempotencyKey: "hunter2\n"}, "idempotency_key", "header value"},
		{"two keys", &apiv1.DoRequest{Url: good, IdempotencyKey: "a", Headers: map[string]string{"idempotency-key": "b"}}, "idempotency_key", "one of the two"},
		{"a header twice", &apiv1.DoRequest{Url: good, Headers: map[string]string{"accept": "a", "Accept": "b"}}, `headers["Accept"]`, "twice"},
		{"a length", header("content-length", "5"), `headers["content-length"]`, "from the body"},
		{"hop by hop: Connection", header("connection", "close"), `headers["connection"]`, "connection"},
		{"hop by hop: Keep-Alive", header("Keep-Alive", "5"), `headers["Keep-Alive"]`, "connection"},
		{"hop by hop: Proxy-Connection", header("Proxy-Connection", "x"), `headers["Proxy-Connection"]`, "connection"},
		{"hop by hop: Proxy-Authorization", header("Proxy-Authorization", "hunter2"), `headers["Proxy-Authorization"]`, "connection"},
		{"hop by hop: TE", header("TE", "trailers"), `headers["TE"]`, "connection"},
		{"hop by hop: Trailer", header("Trailer", "X"), `headers["Trailer"]`, "connection"},
		{"hop by hop: Transfer-Encoding", header("transfer-encoding", "chunked"), `headers["transfer-encoding"]`, "connection"},
		{"hop by hop: Upgrade", header("Upgrade", "websocket"), `headers["Upgrade"]`, "connection"},
		{"hop by hop: HTTP2-Settings", header("HTTP2-Settings", "x"), `headers["HTTP2-Settings"]`, "connection"},
		{"a Host with a path", header("Host", "example.com/x"), `headers["Host"]`, "not a host"},
		{"a Host with a user", header("Host", "user:hunter2@example.com"), `headers["Host"]`, "not a host"},
		{"an empty Host", header("Host", ""), `headers["Host"]`, "not a host"},
	}
	p := open(t, nil)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := do(t, p, test.request)
			wantError(t, err, codes.InvalidArgument, test.field+": ", test.text)
			if got := fields(err); !cmp.Equal(got, []string{test.field}) {
				t.Errorf("fields: got %q, want %q", got, test.field)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

func TestAllFaultsOfARequestAreToldAtOnceInOrder(t *testing.T) {
	_, err := do(t, open(t, nil), &apiv1.DoRequest{
		Method: "get", Timeout: &durationpb.Duration{}, Redirects: proto.Uint32(99),
		Headers: map[string]string{"Upgrade": "x", "Connection": "y", "Te": "z"},
	})
	wantError(t, err, codes.InvalidArgument)
	want := []string{`headers["Connection"]`, `headers["Te"]`, `headers["Upgrade"]`, "method", "redirects", "timeout", "url"}
	if diff := cmp.Diff(want, fields(err)); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestACancelledCallSendsNothing(t *testing.T) {
	server, census := counted(t, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := open(t, nil).Do(ctx, &apiv1.DoRequest{Url: server.URL})
	wantError(t, err, codes.Canceled, "canceled by the caller")
	server.Close()
	if _, _, all := census.numbers(); all != 0 {
		t.Errorf("the server saw %d connections, want none", all)
	}
}

func FuzzARequestIsRefusedOrWellFormed(f *testing.F) {
	f.Add("GET", "http://user:secret@example.com:80/a?b#c", "X-Name", "value")
	f.Add("", "HTTPS://[::1%25lo]:443", "host", "example.com:1")
	f.Add("PUT", "http://h?q=/x", "Te", "\x00")
	f.Fuzz(func(t *testing.T, method, url, name, value string) {
		request, err := newRequest(&apiv1.DoRequest{Method: method, Url: url, Headers: map[string]string{name: value}}, &settings{userAgent: "gaia"})
		if err != nil {
			if status.Code(err) != codes.InvalidArgument || len(fields(err)) == 0 {
				t.Fatalf("error: got %v, want InvalidArgument with fields", err)
			}
			return
		}
		var wire strings.Builder
		if err := request.Write(&wire); err != nil {
			t.Fatalf("%q %q %q %q was accepted and cannot be written: %v", method, url, name, value, err)
		}
		line, _, _ := strings.Cut(wire.String(), "\r\n")
		if strings.Count(line, " ") != 2 {
			t.Errorf("%q %q made the request line %q", method, url, line)
		}
	})
}
