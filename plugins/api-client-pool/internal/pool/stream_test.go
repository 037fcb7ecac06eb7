package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// caller opens streams of p over a real connection.
func caller(tb testing.TB, p *Pool) apiv1.APIClientPoolClient {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := grpc.NewServer()
	apiv1.RegisterAPIClientPoolServer(server, p)
	go func() { _ = server.Serve(listener) }()
	tb.Cleanup(server.Stop)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return apiv1.NewAPIClientPoolClient(conn)
}

type streamClient = grpc.BidiStreamingClient[apiv1.StreamRequest, apiv1.StreamResponse]

// begin opens a stream and sends its request.
func begin(tb testing.TB, p *Pool, request *apiv1.DoRequest) streamClient {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), bound)
	tb.Cleanup(cancel)
	stream, err := caller(tb, p).Stream(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	if err := stream.Send(&apiv1.StreamRequest{Request: request}); err != nil {
		tb.Fatal(err)
	}
	return stream
}

func push(tb testing.TB, stream streamClient, body string) {
	tb.Helper()
	if err := stream.Send(&apiv1.StreamRequest{Body: []byte(body)}); err != nil && !errors.Is(err, io.EOF) {
		tb.Fatal(err)
	}
}

func halfClose(tb testing.TB, stream streamClient) {
	tb.Helper()
	if err := stream.CloseSend(); err != nil {
		tb.Fatal(err)
	}
}

// result is what came of a stream.
type result struct {
	head *apiv1.DoResponse
	body []byte
	end  *apiv1.StreamEnd
	err  error // nil after end
}

func finish(tb testing.TB, stream streamClient) (r result) {
	tb.Helper()
	for {
		message, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return r
		case err != nil:
			r.err = err
			return r
		case r.end != nil:
			tb.Error("an answer after the end")
		}
		if message.GetResponse() != nil {
			r.head = message.GetResponse()
		}
		if size := len(message.GetBody()); size > maxPiece {
			tb.Errorf("a piece of %d bytes, at most %d", size, maxPiece)
		}
		r.body = append(r.body, message.GetBody()...)
		r.end = message.GetEnd()
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "X-Sum")
	w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
	n, _ := io.Copy(w, r.Body)
	w.Header().Set("X-Sum", fmt.Sprint(n))
}

func TestAStreamCarriesBothBodiesAndTrailers(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, length := range []string{"", "10"} {
			t.Run(protocol+" "+length, func(t *testing.T) {
				p := open(t, nil)
				server := serve(t, echo)
				if protocol == "HTTP/2.0" {
					server = serveTLS(t, echo)
					trust(t, p, server)
				}
				request := &apiv1.DoRequest{Method: "POST", Url: server.URL, Body: []byte("one")}
				want := "-1"
				if length != "" {
					want = length
					request.Headers = map[string]string{"content-length": length}
				}
				stream := begin(t, p, request)
				push(t, stream, " two")
				push(t, stream, "")
				push(t, stream, " 3!")
				halfClose(t, stream)
				r := finish(t, stream)
				if r.err != nil {
					t.Fatal(r.err)
				}
				if got := string(r.body); got != "one two 3!" || r.head.GetStatus() != 200 || r.head.GetProtocol() != protocol {
					t.Errorf("got %d %s %q", r.head.GetStatus(), r.head.GetProtocol(), got)
				}
				if got := values(r.head, "X-Length"); len(got) != 1 || got[0] != want {
					t.Errorf("the server saw a length of %v, want %s", got, want)
				}
				if got := r.end.GetTrailers(); len(got) != 1 || got[0].GetName() != "X-Sum" || got[0].GetValue() != "10" {
					t.Errorf("trailers: got %v", got)
				}
				if r.end.GetSent() != 10 || r.end.GetReceived() != 10 || r.end.GetTiming().GetTotal() == nil || r.head.GetTiming().GetTotal() != nil {
					t.Errorf("end: got %v after %v", r.end, r.head.GetTiming())
				}
			})
		}
	}
}

func TestAGETWithoutABodyIsSentWithoutOne(t *testing.T) {
	server, requests := record(t)
	p := open(t, nil)
	stream := begin(t, p, &apiv1.DoRequest{Url: server.URL})
	halfClose(t, stream)
	if r := finish(t, stream); r.err != nil {
		t.Fatal(r.err)
	}
	got := <-requests
	if got.Length != 0 || got.Headers["Transfer-Encoding"] != nil || got.Body != "" {
		t.Errorf("got a length of %d and headers %v", got.Length, got.Headers)
	}
}

func TestAnEventIsReturnedWhenItComes(t *testing.T) {
	next := make(chan string)
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			_, _ = io.WriteString(w, event)
			w.(http.Flusher).Flush()
		}
	})
	stream := begin(t, open(t, nil), &apiv1.DoRequest{Url: server.URL})
	halfClose(t, stream)
	for i := range 5 {
		event := fmt.Sprintf("data: %d\n\n", i)
		next <- event
		for got := ""; got != event; {
			message, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			got += string(message.GetBody())
		}
	}
	close(next)
	if r := finish(t, stream); r.err != nil {
		t.Error(r.err)
	}
}

func TestAnEarlyAnswerEndsTheSending(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			refuse := func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				_, _ = io.WriteString(w, "too large")
			}
			p := open(t, nil)
			server := serve(t, refuse)
			if protocol == "HTTP/2.0" {
				server = serveTLS(t, refuse)
				trust(t, p, server)
			}
			stream := begin(t, p, &apiv1.DoRequest{Method: "POST", Url: server.URL})
			sent := make(chan error, 1)
			go func() {
				for {
					if err := stream.Send(&apiv1.StreamRequest{Body: make([]byte, 64<<10)}); err != nil {
						sent <- err
						return
					}
				}
			}()
			r := finish(t, stream)
			if r.err != nil || r.head.GetStatus() != 413 || string(r.body) != "too large" || r.end == nil {
				t.Errorf("got %v, %d %q", r.err, r.head.GetStatus(), r.body)
			}
			if err := <-sent; !errors.Is(err, io.EOF) {
				t.Errorf("sending on: got %v, want EOF", err)
			}
		})
	}
}

func TestAStreamHoldsBackWhoIsFaster(t *testing.T) {
	const size = 64 << 20
	taken := make(chan bool)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		<-taken
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.CopyN(w, zeros{}, size)
	})
	p := open(t, nil)
	stream := begin(t, p, &apiv1.DoRequest{Method: "POST", Url: server.URL})
	piece := &apiv1.StreamRequest{Body: make([]byte, 256<<10)}
	sent := make(chan int, 1)
	go func() {
		for range size / len(piece.Body) {
			if err := stream.Send(piece); err != nil {
				break
			}
		}
		sent <- 1
		_ = stream.CloseSend()
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	select {
	case <-sent:
		t.Error("64 MiB went into buffers")
	case <-time.After(200 * time.Millisecond):
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("%d bytes are held", grown)
	}
	close(taken)
	r := finish(t, stream)
	if r.err != nil || len(r.body) != size || r.end.GetSent() != size {
		t.Errorf("got %v, %d bytes, sent %d", r.err, len(r.body), r.end.GetSent())
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAStreamFollowsRedirectsItCanFollow(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/307":
			w.Header().Set("Location", "/end")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case "/303":
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Location", "/end")
			w.WriteHeader(http.StatusSeeOther)
		default:
			_, _ = io.WriteString(w, r.Method)
		}
	})
	tests := []struct {
		method, path, body string
		status             uint32
		want               string
	}{
		{"GET", "/307", "", 200, "GET"},
		{"POST", "/303", "body", 200, "GET"},
		{"POST", "/307", "body", 307, ""},
		{"PUT", "/307", "", 200, "PUT"},
	}
	for _, test := range tests {
		t.Run(test.method+test.path, func(t *testing.T) {
			request := &apiv1.DoRequest{Method: test.method, Url: server.URL + test.path, Body: []byte(test.body)}
			if test.body == "" {
				request.Headers = map[string]string{"Content-Length": "0"}
			}
			stream := begin(t, open(t, nil), request)
			halfClose(t, stream)
			r := finish(t, stream)
			if r.err != nil || r.head.GetStatus() != test.status || string(r.body) != test.want {
				t.Errorf("got %v, %d %q; want %d %q", r.err, r.head.GetStatus(), r.body, test.status, test.want)
			}
		})
	}
}

func TestStreamsLeaveNoGoroutines(t *testing.T) {
	server := serve(t, echo)
	p := open(t, nil)
	client := caller(t, p)
	run := func() {
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		defer cancel()
		stream, err := client.Stream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&apiv1.StreamRequest{Request: &apiv1.DoRequest{Method: "POST", Url: server.URL, Body: []byte("x")}})
		halfClose(t, stream)
		if r := finish(t, stream); r.err != nil {
			t.Fatal(r.err)
		}
	}
	run()
	before := runtime.NumGoroutine()
	for range 50 {
		run()
	}
	for end := time.Now().Add(bound); runtime.NumGoroutine() > before+2; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
		}
	}
}

func TestADrainedPoolEndsItsStreams(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		echo(w, r)
	})
	p := open(t, nil)
	stream := begin(t, p, &apiv1.DoRequest{Method: "POST", Url: server.URL, Body: bytes.Repeat([]byte("x"), 100<<10)})
	if message, err := stream.Recv(); err != nil || message.GetResponse().GetStatus() != 200 {
		t.Fatal(message, err)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	push(t, stream, "after")
	halfClose(t, stream)
	if r := finish(t, stream); r.err != nil || !strings.HasSuffix(string(r.body), "xafter") {
		t.Errorf("got %v, %d bytes", r.err, len(r.body))
	}
}
