package pool

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestAFaultyStreamSaysWhatIsWrong(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, 2000))
	})
	config := &apiv1.Config{MaxStreamBody: 1000}
	post := func(headers ...string) *apiv1.DoRequest {
		request := &apiv1.DoRequest{Method: "POST", Url: server.URL, Headers: map[string]string{}}
		for i := 0; i < len(headers); i += 2 {
			request.Headers[headers[i]] = headers[i+1]
		}
		return request
	}
	tests := []struct {
		name    string
		request *apiv1.DoRequest
		pieces  []*apiv1.StreamRequest
		code    codes.Code
		text    string
	}{
		{"no request", nil, nil, codes.InvalidArgument, "request: missing"},
		{"a URL that is none", &apiv1.DoRequest{Url: "x"}, nil, codes.InvalidArgument, "url: "},
		{"a length that is no number", post("Content-Length", "-1"), nil, codes.InvalidArgument, "Content-Length"},
		{"a second request", post(), []*apiv1.StreamRequest{{Request: post()}}, codes.InvalidArgument, "only the first"},
		{"fewer bytes than said", post("Content-Length", "5"), []*apiv1.StreamRequest{{Body: []byte("four")}}, codes.InvalidArgument, "ended after 4 bytes, and Content-Length says 5"},
		{"more bytes than said", post("Content-Length", "3"), []*apiv1.StreamRequest{{Body: []byte("four")}}, codes.InvalidArgument, "more bytes than the 3"},
		{"bytes where there are none", post("Content-Length", "0"), []*apiv1.StreamRequest{{Body: []byte("four")}}, codes.InvalidArgument, "more bytes than the 0"},
		{"too large a piece", post(), []*apiv1.StreamRequest{{Body: make([]byte, largestPiece+1)}}, codes.InvalidArgument, "a piece of 1048577 bytes"},
		{"too large a body", post(), []*apiv1.StreamRequest{{Body: make([]byte, 600)}, {Body: make([]byte, 600)}}, codes.ResourceExhausted, "request body over 1000 bytes (max_stream_body)"},
		{"too large a response", &apiv1.DoRequest{Url: server.URL}, nil, codes.ResourceExhausted, "response body of 2000 bytes, limit 1000 (max_stream_body)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stream := begin(t, open(t, config), test.request)
			for _, piece := range test.pieces {
				_ = stream.Send(piece)
			}
			halfClose(t, stream)
			wantError(t, finish(t, stream).err, test.code, test.text)
		})
	}
}

func TestABodyThatStandsStillEndsTheExchange(t *testing.T) {
	hold := func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }
	head := "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
	config := &apiv1.Config{BodyTimeout: durationpb.New(100 * time.Millisecond)}
	t.Run("the response of Do", func(t *testing.T) {
		address := misbehave(t, func(conn net.Conn) { answer(head)(conn); hold(conn) })
		_, err := do(t, open(t, config), &apiv1.DoRequest{Url: "http://" + address})
		wantError(t, err, codes.DeadlineExceeded, "body: ", "the server sent nothing of the body for 100ms (body_timeout)")
	})
	t.Run("the request of Do", func(t *testing.T) {
		_, err := do(t, open(t, config), &apiv1.DoRequest{Method: "POST", Url: "http://" + deaf(t), Body: make([]byte, 8<<20)})
		wantError(t, err, codes.DeadlineExceeded, "send: ", "the server took nothing of the request's body for 100ms (body_timeout)")
	})
	t.Run("the response of a stream", func(t *testing.T) {
		address := misbehave(t, func(conn net.Conn) { answer(head)(conn); hold(conn) })
		stream := begin(t, open(t, config), &apiv1.DoRequest{Url: "http://" + address})
		halfClose(t, stream)
		r := finish(t, stream)
		wantError(t, r.err, codes.DeadlineExceeded, "body: ", "the server sent nothing")
		if string(r.body) != "half" {
			t.Errorf("got %q, want what there was", r.body)
		}
	})
	t.Run("the caller's sending", func(t *testing.T) {
		stream := begin(t, open(t, config), &apiv1.DoRequest{Method: "POST", Url: "http://" + deaf(t)})
		push(t, stream, "some")
		wantError(t, finish(t, stream).err, codes.DeadlineExceeded, "send: ", "the caller sent nothing of the request's body")
	})
	t.Run("the caller's half-close", func(t *testing.T) {
		stream := begin(t, open(t, config), &apiv1.DoRequest{Url: "http://" + deaf(t)})
		wantError(t, finish(t, stream).err, codes.DeadlineExceeded, "half-close")
	})
	t.Run("the caller's taking", func(t *testing.T) {
		address := misbehave(t, func(conn net.Conn) {
			if readRequest(conn) {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
				for {
					if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}
		})
		p := open(t, config)
		stream := begin(t, p, &apiv1.DoRequest{Url: "http://" + address})
		halfClose(t, stream)
		for gather(t, p)[`gaia_api_requests_total{result="timeout"}`] == 0 {
			runtime.Gosched()
		}
		wantError(t, finish(t, stream).err, codes.DeadlineExceeded, "body: ", "the caller took nothing of the body")
	})
}

// deaf returns the address of a server that reads nothing.
func deaf(t *testing.T) string {
	t.Helper()
	end := make(chan struct{})
	address := misbehave(t, func(net.Conn) { <-end })
	t.Cleanup(func() { close(end) })
	return address
}

func TestASlowBodyIsNoStill(t *testing.T) {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for range 20 {
			select {
			case <-pace.C:
			case <-r.Context().Done():
				return
			}
			_, _ = io.WriteString(w, "x")
			w.(http.Flusher).Flush()
		}
	})
	p := open(t, &apiv1.Config{BodyTimeout: durationpb.New(200 * time.Millisecond)})
	if got := mustDo(t, p, &apiv1.DoRequest{Url: server.URL}); len(got.GetBody()) != 20 {
		t.Errorf("got %q", got.GetBody())
	}
	_, err := do(t, p, &apiv1.DoRequest{Url: server.URL, Timeout: durationpb.New(100 * time.Millisecond)})
	wantError(t, err, codes.DeadlineExceeded, "body: deadline exceeded")
}

func TestACanceledStreamEndsAtTheServer(t *testing.T) {
	ended := make(chan error, 1)
	begun := make(chan bool, 1)
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- true
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	})
	p := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := caller(t, p).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&apiv1.StreamRequest{Request: &apiv1.DoRequest{Method: "PUT", Url: server.URL, Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	<-begun
	cancel()
	if err := <-ended; err == nil {
		t.Error("the server took the request for complete")
	}
}

func TestAServerThatIsGoneEndsTheWaitForTheCaller(t *testing.T) {
	address := misbehave(t, func(conn net.Conn) { readRequest(conn) })
	stream := begin(t, open(t, nil), &apiv1.DoRequest{Method: "POST", Url: "http://" + address})
	push(t, stream, "some") // and no more
	wantError(t, finish(t, stream).err, codes.Unavailable, "send: ", "the server closed the connection")
}

func TestABrokenBodyIsAnErrorAfterWhatThereWas(t *testing.T) {
	tests := map[string]string{
		"cut off":         "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"cut off chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf",
		"no last chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"rubbish chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
		"negative chunk":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n-1\r\n",
		"a chunk of 2^64": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n10000000000000000\r\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			address := misbehave(t, answer(text))
			_, err := do(t, open(t, nil), &apiv1.DoRequest{Method: "POST", Url: "http://" + address})
			wantError(t, err, codes.Unavailable, "body: ")
			stream := begin(t, open(t, nil), &apiv1.DoRequest{Url: "http://" + address})
			halfClose(t, stream)
			r := finish(t, stream)
			wantError(t, r.err, codes.Unavailable, "body: after 4 bytes: ")
			if string(r.body) != "half" || r.end != nil {
				t.Errorf("got %q and the end %v", r.body, r.end)
			}
		})
	}
}
