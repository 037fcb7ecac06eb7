package pool

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// quick is a Config whose repetitions come at once.
func quick() *apiv1.Config {
	return &apiv1.Config{Retry: &apiv1.Retry{BaseDelay: durationpb.New(time.Microsecond)}}
}

// abort ends the connection of a request without an answer, with a reset.
func abort(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// The acceptance test of repetitions: of a server that answers 5 % of the
// requests with 503 and resets the connection of 2 % more.
func TestCallersOfAFlakyServerSeeNextToNoErrors(t *testing.T) {
	const calls, workers = 8000, 32
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(1, 2))
	var upstream atomic.Int64
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		upstream.Add(1)
		mu.Lock()
		roll := dice.Float64()
		mu.Unlock()
		switch {
		case roll < 0.05:
			w.WriteHeader(http.StatusServiceUnavailable)
		case roll < 0.07:
			abort(w)
		default:
			_, _ = io.WriteString(w, "ok")
		}
	})
	p := open(t, quick())
	var failed atomic.Int64
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range calls / workers {
				response, err := do(t, p, &apiv1.DoRequest{Url: fmt.Sprintf("%s/%d/%d", server.URL, worker, i)})
				if err != nil || response.GetStatus() != 200 {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	share, load := float64(failed.Load())/calls, float64(upstream.Load())/calls
	t.Logf("%.4f of the calls failed; the server saw %.3f requests a call", share, load)
	if share >= 0.001 || load > 1.1 {
		t.Errorf("failed %.4f, want < 0.001; requests a call %.3f, want <= 1.1", share, load)
	}
}

// counter answers with the statuses given, in turn, then 200.
func counter(t *testing.T, statuses ...int) (string, *atomic.Int64) {
	t.Helper()
	var seen atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := int(seen.Add(1))
		body, _ := io.ReadAll(r.Body)
		if n > len(statuses) {
			_, _ = w.Write(body)
			return
		}
		if statuses[n-1] == 0 {
			abort(w)
			return
		}
		w.WriteHeader(statuses[n-1])
	})
	return server.URL, &seen
}

func TestOnlyWhatHTTPAllowsIsSentAgain(t *testing.T) {
	tests := []struct {
		name       string
		request    *apiv1.DoRequest
		statuses   []int // 0 is a reset
		wantStatus uint32
		wantSeen   int64
	}{
		{"a GET after 503", &apiv1.DoRequest{}, []int{503}, 200, 2},
		{"a GET after 429, 502 and 504 and three retries", &apiv1.DoRequest{Retries: new(uint32(3))}, []int{429, 502, 504}, 200, 4},
		{"a GET after a reset", &apiv1.DoRequest{}, []int{0}, 200, 2},
		{"a PUT with its body", &apiv1.DoRequest{Method: "PUT", Body: []byte("x")}, []int{503}, 200, 2},
		{"a POST with a key", &apiv1.DoRequest{Method: "POST", IdempotencyKey: "k"}, []int{0, 503}, 200, 3},
		{"the last response is the answer", &apiv1.DoRequest{}, []int{503, 503, 504, 502}, 504, 3},
		{"never, if asked so", &apiv1.DoRequest{Retries: new(uint32(0))}, []int{503}, 503, 1},
		{"not a POST after 503", &apiv1.DoRequest{Method: "POST"}, []int{503}, 503, 1},
		{"a POST with a key of the old name", &apiv1.DoRequest{Method: "POST", Headers: map[string]string{"X-Idempotency-Key": "k"}}, []int{0, 503}, 200, 3},
		{"not a PATCH after a reset", &apiv1.DoRequest{Method: "PATCH"}, []int{0}, 0, 1},
		{"not after 500", &apiv1.DoRequest{}, []int{500}, 500, 1},
		{"not after 404", &apiv1.DoRequest{}, []int{404}, 404, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url, seen := counter(t, test.statuses...)
			test.request.Url = url
			response, err := do(t, open(t, quick()), test.request)
			if test.wantStatus == 0 {
				wantError(t, err, codes.Unavailable, "the server may have processed the request")
			} else if err != nil || response.GetStatus() != test.wantStatus || int64(response.GetAttempts()) != test.wantSeen {
				t.Errorf("got %v, %v; want status %d after %d attempts", response, err, test.wantStatus, test.wantSeen)
			}
			if test.wantStatus == 200 && string(response.GetBody()) != string(test.request.GetBody()) {
				t.Errorf("body: got %q, want %q", response.GetBody(), test.request.GetBody())
			}
			if seen.Load() != test.wantSeen {
				t.Errorf("the server saw %d requests, want %d", seen.Load(), test.wantSeen)
			}
		})
	}
}

func TestABodyThatBreaksOffIsAskedForAgain(t *testing.T) {
	var seen atomic.Int64
	address := misbehave(t, func(conn net.Conn) {
		text := "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!"
		if seen.Add(1) == 2 {
			text += "-half"
		}
		answer(text)(conn)
	})
	response := mustDo(t, open(t, quick()), &apiv1.DoRequest{Url: "http://" + address})
	if string(response.GetBody()) != "half!-half" || response.GetAttempts() != 2 {
		t.Errorf("got %q after %d attempts, want the whole body after 2", response.GetBody(), response.GetAttempts())
	}
}

func TestTheConnectionOfA503IsUsedAgain(t *testing.T) {
	server, census := counted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(make([]byte, 100_000))
	})
	if got := mustDo(t, open(t, quick()), &apiv1.DoRequest{Url: server.URL}).GetAttempts(); got != 3 {
		t.Errorf("attempts: got %d, want 3", got)
	}
	if _, _, all := census.numbers(); all != 1 {
		t.Errorf("%d connections, want 1", all)
	}
}

// info is the ErrorInfo of an error.
func info(t *testing.T, err error) *errdetails.ErrorInfo {
	t.Helper()
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	t.Fatalf("%v has no ErrorInfo", err)
	return nil
}

func TestAnErrorSaysWhetherTheServerMayHaveProcessedTheRequest(t *testing.T) {
	tests := []struct {
		name, method, url, wantReason, wantProcessed, wantAttempts string
	}{
		{"nobody listens: a POST may be repeated", "POST", "http://" + refused(t), "CONNECT", "no", "3"},
		{"no TLS", "POST", "https://" + misbehave(t, func(net.Conn) {}), "TLS", "no", "3"},
		{"closed after the request", "POST", "http://" + misbehave(t, answer("")), "HEADERS", "maybe", "1"},
		{"closed after the request: a GET", "GET", "http://" + misbehave(t, answer("")), "HEADERS", "maybe", "3"},
		{"a body that breaks off", "POST", "http://" + misbehave(t, answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")), "BODY", "maybe", "1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := do(t, open(t, quick()), &apiv1.DoRequest{Method: test.method, Url: test.url})
			wantError(t, err, codes.Unavailable)
			got := info(t, err)
			if got.GetDomain() != "gaia.api.v1" || got.GetReason() != test.wantReason {
				t.Errorf("got %s %s, want gaia.api.v1 %s", got.GetDomain(), got.GetReason(), test.wantReason)
			}
			want := map[string]string{"processed": test.wantProcessed, "attempts": test.wantAttempts}
			if diff := cmp.Diff(want, got.GetMetadata()); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
			if says := strings.Contains(err.Error(), "the server may have processed the request"); says != (test.wantProcessed == "maybe") {
				t.Errorf("the text is %q", err)
			}
		})
	}
}

func TestAPauseHoldsForTheWholeServerAndForNoOther(t *testing.T) {
	var seen atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.URL.Path == "/limited" {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	other := serve(t, func(http.ResponseWriter, *http.Request) {})
	p := open(t, quick())
	// A repetition would come after the deadline: the answer is the 429 itself.
	if response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL + "/limited"}); response.GetStatus() != 429 || response.GetAttempts() != 1 {
		t.Errorf("got %d after %d attempts, want 429 after 1", response.GetStatus(), response.GetAttempts())
	}
	_, err := do(t, p, &apiv1.DoRequest{Method: "POST", Url: server.URL})
	wantError(t, err, codes.ResourceExhausted, ": connect: the server asked for a pause until ", "after the deadline of the call")
	if got := info(t, err).GetMetadata(); got["processed"] != "no" || got["attempts"] != "0" {
		t.Errorf("metadata: got %v, want not processed and no attempt", got)
	}
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			if wait := retry.GetRetryDelay().AsDuration(); wait > time.Minute || wait < 30*time.Second {
				t.Errorf("retry delay: got %v, want nearly max_pause, 1m, however long the server asked for", wait)
			}
		}
	}
	if seen.Load() != 1 {
		t.Errorf("the server saw %d requests, want 1", seen.Load())
	}
	mustDo(t, p, &apiv1.DoRequest{Url: other.URL})
	none := quick()
	none.Retry.MaxPause = durationpb.New(0)
	p = open(t, none)
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL + "/limited"})
	if response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL}); response.GetStatus() != 200 {
		t.Errorf("max_pause 0s: got %d, want 200", response.GetStatus())
	}
}

func TestASecondCopyWinsWhenTheFirstIsSlowAndTheServerSeesTheLoserEnd(t *testing.T) {
	ended := make(chan struct{})
	var seen atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) == 1 {
			<-r.Context().Done()
			close(ended)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("fast", 50_000))
	})
	p := open(t, quick())
	request := &apiv1.DoRequest{Url: server.URL, HedgeAfter: durationpb.New(short)}
	response := mustDo(t, p, request)
	if len(response.GetBody()) != 200_000 || response.GetAttempts() != 2 {
		t.Errorf("got %d bytes after %d attempts, want 200000 after 2", len(response.GetBody()), response.GetAttempts())
	}
	select {
	case <-ended:
	case <-time.After(bound):
		t.Error("the server was not told that the first copy is no longer wanted")
	}
	if got := gather(t, p); got["gaia_api_hedges_won_total"] != 1 || got[`gaia_api_repetitions_total{reason="hedge"}`] != 1 {
		t.Errorf("metrics: got %v, want one second copy that won", got)
	}
}

func TestAPOSTHasNoSecondCopy(t *testing.T) {
	release := make(chan struct{})
	var seen atomic.Int64
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			seen.Add(1)
			<-release
		}
	})
	time.AfterFunc(short, func() { close(release) })
	mustDo(t, open(t, quick()), &apiv1.DoRequest{Method: "POST", Url: server.URL, HedgeAfter: durationpb.New(time.Microsecond)})
	if seen.Load() != 1 {
		t.Errorf("the server saw %d requests, want 1", seen.Load())
	}
}

// A redirect behind a shared exchange: attempts are those of the last request.
func TestAttemptsCountSinceTheLastRedirect(t *testing.T) {
	busy := 0
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/end":
		case busy == 0:
			busy++
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			http.Redirect(w, r, "/end", http.StatusFound)
		}
	})
	if got := mustDo(t, open(t, quick()), &apiv1.DoRequest{Url: server.URL}); got.GetStatus() != 200 || got.GetAttempts() != 1 {
		t.Errorf("got %d after %d attempts, want 200 after 1", got.GetStatus(), got.GetAttempts())
	}
	gone := "http://" + refused(t)
	away := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, gone, http.StatusTemporaryRedirect) })
	for _, method := range []string{"GET", "POST"} {
		_, err := do(t, open(t, quick()), &apiv1.DoRequest{Method: method, Url: away.URL})
		wantError(t, err, codes.Unavailable, ": connect: ")
		if got := info(t, err).GetMetadata(); got["processed"] != "maybe" || got["attempts"] != "3" {
			t.Errorf("%s: got %v, want maybe processed, by the server that redirected, after 3 attempts", method, got)
		}
	}
}
