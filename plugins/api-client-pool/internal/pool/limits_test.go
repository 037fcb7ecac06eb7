package pool

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
)

func TestABodyIsAcceptedUpToItsLimitToTheByte(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Query().Get("n"))
		if err != nil {
			n = 0
		}
		if r.URL.Query().Has("chunked") {
			w.(http.Flusher).Flush()
		} else {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("x", n))
	})
	const limit = 10_000
	p := open(t, &apiv1.Config{MaxRequestBody: limit, MaxResponseBody: limit})
	tests := []struct {
		name, query string
		sent        int
		wantBody    int
		wantError   string
	}{
		{"a request at its limit", "?n=0", limit, 0, ""},
		{"a request over it", "?n=0", limit + 1, 0, "request body of 10001 bytes, limit 10000 (max_request_body)"},
		{"a response at its limit", "?n=10000", 0, limit, ""},
		{"a response that announces more", "?n=10001", 0, 0, "body: response body of 10001 bytes, limit 10000 (max_response_body)"},
		{"chunks up to the limit", "?chunked&n=10000", 0, limit, ""},
		{"chunks beyond it", "?chunked&n=10001", 0, 0, "body: response body over 10000 bytes (max_response_body)"},
		{"one byte", "?n=1", 0, 1, ""},
		{"one chunked byte", "?chunked&n=1", 0, 1, ""},
		{"exactly the first buffer", "?chunked&n=4096", 0, 4096, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response, err := do(t, p, &apiv1.DoRequest{Method: "POST", Url: server.URL + test.query, Body: make([]byte, test.sent)})
			if test.wantError != "" {
				wantError(t, err, codes.ResourceExhausted, test.wantError)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(response.GetBody()) != test.wantBody {
				t.Errorf("body: got %d bytes, want %d", len(response.GetBody()), test.wantBody)
			}
		})
	}
}

func TestALargeBodyArrivesWhole(t *testing.T) {
	want := strings.Repeat("0123456789abcdef", 5<<20/16) + "end"
	for name, length := range map[string]string{"announced": strconv.Itoa(len(want)), "chunked": ""} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			_, _ = io.WriteString(w, want)
		})
		response := mustDo(t, open(t, nil), &apiv1.DoRequest{Url: server.URL})
		if string(response.GetBody()) != want {
			t.Errorf("%s: got %d bytes, want %d equal ones", name, len(response.GetBody()), len(want))
		}
	}
}

// A server that never stops is read up to the limit and then cut off.
func TestAnEndlessBodyIsCutOffAtTheLimit(t *testing.T) {
	ended := make(chan error, 2)
	zeros := make([]byte, 32<<10)
	tests := map[string]func(io.Writer) error{
		"plain": func(w io.Writer) error {
			for {
				if _, err := w.Write(zeros); err != nil {
					return err
				}
			}
		},
		"a gzip bomb": func(w io.Writer) error {
			packer := gzip.NewWriter(w)
			for {
				if _, err := packer.Write(zeros); err != nil {
					return err
				}
			}
		},
	}
	for name, endless := range tests {
		t.Run(name, func(t *testing.T) {
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if name != "plain" {
					w.Header().Set("Content-Encoding", "gzip")
				}
				ended <- endless(w)
			})
			p := open(t, &apiv1.Config{MaxResponseBody: 1 << 20})
			_, err := do(t, p, &apiv1.DoRequest{Url: server.URL})
			wantError(t, err, codes.ResourceExhausted, "body: response body over 1048576 bytes (max_response_body)")
			if err := <-ended; err == nil {
				t.Error("the server could write without end")
			}
		})
	}
}

// The regression test of a pool that allocated what the server announced.
func TestALyingContentLengthAllocatesNothing(t *testing.T) {
	const announced = 32 << 20
	address := misbehave(t, answer(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nshort", announced)))
	p := open(t, &apiv1.Config{MaxResponseBody: announced})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := do(t, p, &apiv1.DoRequest{Url: "http://" + address})
	runtime.ReadMemStats(&after)
	wantError(t, err, codes.Unavailable, "body: after 5 of 33554432 bytes: the server closed the connection")
	if got := after.TotalAlloc - before.TotalAlloc; got > announced/8 {
		t.Errorf("allocated %d bytes for a body of 5", got)
	}
}

func TestResponseHeadersOverTheLimitAreRefused(t *testing.T) {
	const limit = 20_000
	config := &apiv1.Config{MaxResponseHeaders: limit}
	wide := func(bytes int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Wide", strings.Repeat("x", bytes/2))
			w.Header().Set("X-Wider", strings.Repeat("x", bytes/2))
		}
	}
	const want = "headers: response headers over 20000 bytes (max_response_headers)"
	tests := []struct {
		name  string
		http2 bool
		bytes int
		want  codes.Code
	}{
		{"HTTP/1.1, half of it", false, limit / 2, codes.OK},
		{"HTTP/1.1, one over", false, limit + 1, codes.ResourceExhausted},
		{"HTTP/1.1, far over", false, 800_000, codes.ResourceExhausted},
		{"HTTP/1.1, over what is read at all", false, 1_200_000, codes.ResourceExhausted},
		{"HTTP/2, half of it", true, limit / 2, codes.OK},
		{"HTTP/2, one over", true, limit + 1, codes.ResourceExhausted},
		{"HTTP/2, far over", true, 800_000, codes.ResourceExhausted},
		{"HTTP/2, over what is read at all", true, 1_200_000, codes.ResourceExhausted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := open(t, config)
			server := serveTLS(t, wide(test.bytes))
			if test.http2 {
				trust(t, p, server)
			} else {
				server = serve(t, wide(test.bytes))
			}
			_, err := do(t, p, &apiv1.DoRequest{Url: server.URL})
			if test.want == codes.OK && err == nil {
				return
			}
			wantError(t, err, test.want, want)
		})
	}
	t.Run("HTTP/2, so far over that the connection breaks", func(t *testing.T) {
		p := open(t, config)
		server := serveTLS(t, wide(3_000_000))
		trust(t, p, server)
		_, err := do(t, p, &apiv1.DoRequest{Url: server.URL})
		wantError(t, err, codes.Unavailable, "headers: HTTP/2 connection error", "far over 20000 bytes (max_response_headers)")
	})
	endless := map[string]string{"lines": "X-A: b\r\n", "one line": "xxxxxxxxxxxxxxxx", "early hints": "HTTP/1.1 103 Early Hints\r\n\r\n"}
	for name, piece := range endless {
		t.Run("endless "+name, func(t *testing.T) {
			address := misbehave(t, func(conn net.Conn) {
				if !readRequest(conn) {
					return
				}
				head := "HTTP/1.1 200 OK\r\nX: "
				if name == "early hints" {
					head = ""
				}
				_, err := io.WriteString(conn, head)
				for err == nil {
					_, err = io.WriteString(conn, strings.Repeat(piece, 1000))
				}
			})
			_, err := do(t, open(t, config), &apiv1.DoRequest{Url: "http://" + address})
			wantError(t, err, codes.ResourceExhausted, want)
		})
	}
}

// The end of the call also ends a gzip body that unpacks to nothing.
func TestAnEndlessBodyOfNothingEndsWithTheCall(t *testing.T) {
	var empty strings.Builder
	packer := gzip.NewWriter(&empty)
	packer.Extra = make([]byte, 60_000)
	_ = packer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		for i := 0; ; i++ {
			if _, err := io.WriteString(w, empty.String()); err != nil {
				return
			}
			if i == 200 { // 12 MB: more than the buffers between the two hold
				cancel()
			}
		}
	})
	_, err := open(t, nil).Do(ctx, &apiv1.DoRequest{Url: server.URL})
	wantError(t, err, codes.Canceled, "body: canceled by the caller")
}
