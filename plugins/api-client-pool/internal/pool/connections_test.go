package pool

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestCallsOneAfterAnotherShareOneConnection(t *testing.T) {
	server, census := counted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	p := open(t, nil)
	for i := range 64 {
		response := mustDo(t, p, &apiv1.DoRequest{Method: "POST", Url: server.URL, Body: make([]byte, i*1000)})
		if response.GetReusedConnection() != (i > 0) {
			t.Errorf("call %d: reused: got %v", i, response.GetReusedConnection())
		}
	}
	if _, _, all := census.numbers(); all != 1 {
		t.Errorf("64 calls took %d connections, want 1", all)
	}
}

func TestNoMoreConnectionsThanConfiguredAreOpenAtOnce(t *testing.T) {
	const connections = 64
	arrived, release := make(chan struct{}, 2*connections), make(chan struct{})
	server, census := counted(t, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	})
	p := open(t, &apiv1.Config{Coalesce: new(false)}) // 64 connections are the default
	var wg sync.WaitGroup
	for range connections + 1 {
		wg.Go(func() {
			if _, err := do(t, p, &apiv1.DoRequest{Url: server.URL}); err != nil {
				t.Errorf("Do: %v", err)
			}
		})
	}
	for range connections {
		<-arrived
	}
	// All connections are busy: one more call waits, and says so if it may not.
	_, err := do(t, p, &apiv1.DoRequest{Url: server.URL, Timeout: durationpb.New(short)})
	wantError(t, err, codes.DeadlineExceeded, ": connect: deadline exceeded after ", "waiting for one of 64 connections (connections_per_host)")
	// So does one that a redirect brings there.
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, server.URL, http.StatusFound) })
	_, err = do(t, p, &apiv1.DoRequest{Url: elsewhere.URL, Timeout: durationpb.New(5 * short)})
	wantError(t, err, codes.DeadlineExceeded, "GET "+server.Listener.Addr().String()+": connect: deadline exceeded after ", "waiting for one of")
	if len(arrived) != 0 {
		t.Error("a call more than there are connections has reached the server")
	}
	close(release)
	wg.Wait()
	if _, most, all := census.numbers(); most != connections || all != connections {
		t.Errorf("connections: got %d at once, %d in all, want %d", most, all, connections)
	}
}

func TestHTTP2CarriesManyCallsOnOneConnection(t *testing.T) {
	const calls = 500
	server, census := countedTLS(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	p := open(t, nil)
	trust(t, p, server)
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL})
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			body := strings.Repeat("x", i)
			response, err := do(t, p, &apiv1.DoRequest{Method: "PUT", Url: server.URL, Body: []byte(body)})
			if err != nil || string(response.GetBody()) != body {
				t.Errorf("call %d: got %d bytes, error %v", i, len(response.GetBody()), err)
			}
		})
	}
	wg.Wait()
	if _, _, all := census.numbers(); all != 1 {
		t.Errorf("%d calls took %d connections, want 1", calls, all)
	}
}

// All begin at once on a pool without a connection: the dials race.
func TestAColdStartOverHTTP2LosesNoCall(t *testing.T) {
	server, census := countedTLS(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	p := open(t, &apiv1.Config{ConnectionsPerHost: 4, Coalesce: new(false)})
	trust(t, p, server)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			response, err := do(t, p, &apiv1.DoRequest{Url: server.URL})
			if err != nil || string(response.GetBody()) != "ok" {
				t.Errorf("Do: %q, %v", response.GetBody(), err)
			}
		})
	}
	wg.Wait()
	if _, most, _ := census.numbers(); most > 4 {
		t.Errorf("%d connections at once, want 4 at most", most)
	}
}

func TestAServerOfOneStreamAConnectionLosesNoCall(t *testing.T) {
	server, _ := unstarted(t, func(http.ResponseWriter, *http.Request) {})
	server.EnableHTTP2 = true
	server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1}
	server.StartTLS()
	p := open(t, &apiv1.Config{ConnectionsPerHost: 4, Coalesce: new(false)})
	trust(t, p, server)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := do(t, p, &apiv1.DoRequest{Url: server.URL}); err != nil {
				t.Errorf("Do: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestAConnectionThatTheServerClosedWhileIdleIsReplaced(t *testing.T) {
	server, census := counted(t, func(http.ResponseWriter, *http.Request) {})
	p := open(t, nil)
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL})
	server.CloseClientConnections()
	census.empty(t)
	if response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL}); response.GetStatus() != 200 {
		t.Errorf("status: got %d, want 200", response.GetStatus())
	}
}

// A body over its limit is not read to the end, so its connection is worth
// nothing, and must not go back to the pool with the rest in it.
func TestAConnectionWithHalfAnAnswerIsNotUsedAgain(t *testing.T) {
	server, census := counted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			_, _ = w.Write(make([]byte, 100_000))
		}
	})
	p := open(t, &apiv1.Config{MaxResponseBody: 1000})
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL})
	_, err := do(t, p, &apiv1.DoRequest{Url: server.URL + "/big"})
	wantError(t, err, codes.ResourceExhausted)
	census.empty(t)
	if response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL}); response.GetReusedConnection() {
		t.Error("the connection was used again")
	}
}

func TestIdleConnectionsEndAfterTheirTime(t *testing.T) {
	server, census := counted(t, func(http.ResponseWriter, *http.Request) {})
	p := open(t, &apiv1.Config{IdleTimeout: durationpb.New(time.Millisecond)})
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL})
	census.empty(t)
}

// The regression test of a pool that panicked in both cases.
func TestCloseLetsCallsInFlightEndAndRefusesNewOnes(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	server, census := counted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
		http.Redirect(w, r, "/end", http.StatusFound)
	})
	p := open(t, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		response, err := do(t, p, &apiv1.DoRequest{Url: server.URL + "/slow"})
		if err != nil || response.GetUrl() != server.URL+"/end" {
			t.Errorf("in flight: got %v, %v; want it to end, redirects included", response, err)
		}
	})
	<-arrived
	for range 2 {
		if err := p.Shutdown(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
		_, err := do(t, p, &apiv1.DoRequest{Url: server.URL})
		wantError(t, err, codes.Unavailable, "closed")
		if err := p.Configure(t.Context(), &apiv1.Config{}); err == nil {
			t.Error("Configure after Close: got no error")
		}
	}
	close(release)
	wg.Wait()
	census.empty(t)
}

func TestConfigureKeepsCallsInFlightAndOpensNewConnections(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	server, census := counted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
		_, _ = io.WriteString(w, r.UserAgent())
	})
	p := open(t, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		response, err := do(t, p, &apiv1.DoRequest{Url: server.URL + "/slow"})
		if err != nil || string(response.GetBody()) != "gaia" {
			t.Errorf("in flight: got %v, %v; want the old user agent", response, err)
		}
	})
	<-arrived
	if err := p.Configure(t.Context(), local(&apiv1.Config{UserAgent: "new"})); err != nil {
		t.Fatal(err)
	}
	if response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL}); string(response.GetBody()) != "new" {
		t.Errorf("user agent: got %q, want new", response.GetBody())
	}
	close(release)
	wg.Wait()
	if err := p.Configure(t.Context(), &apiv1.Config{UserAgent: "a\nb"}); err == nil || !strings.Contains(err.Error(), "user_agent") {
		t.Errorf("a user agent with a line break: got %v, want an error about user_agent", err)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	census.empty(t)
}

// The regression test of a pool that left 98 goroutines behind 100 lives.
func TestAHundredLivesLeaveNothingBehind(t *testing.T) {
	plain, plainCensus := counted(t, func(http.ResponseWriter, *http.Request) {})
	secure, secureCensus := countedTLS(t, func(http.ResponseWriter, *http.Request) {})
	hung := misbehave(t, silence)

	for range 100 {
		p := New()
		if err := p.Configure(t.Context(), local(nil)); err != nil {
			t.Fatal(err)
		}
		trust(t, p, secure)
		var wg sync.WaitGroup
		for _, url := range []string{plain.URL, plain.URL, secure.URL, secure.URL} {
			wg.Go(func() {
				if _, err := do(t, p, &apiv1.DoRequest{Url: url}); err != nil {
					t.Errorf("Do: %v", err)
				}
			})
		}
		wg.Go(func() {
			_, err := do(t, p, &apiv1.DoRequest{Url: "http://" + hung, Timeout: durationpb.New(5 * time.Millisecond)})
			wantError(t, err, codes.DeadlineExceeded)
		})
		wg.Wait()
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	plainCensus.empty(t)
	secureCensus.empty(t)
	noGoroutines(t, "net/http.(*persistConn)", "net/http.(*http2ClientConn)", "net/http.(*Transport)", "(*sockets)")
}

// A dial that is under way when the pool closes is ended, too.
func TestCloseEndsADialThatNobodyWaitsForAnyMore(t *testing.T) {
	p := open(t, nil)
	asked(t, p, mute)
	_, err := do(t, p, &apiv1.DoRequest{Url: "http://no.such.test", Timeout: durationpb.New(short)})
	wantError(t, err, codes.DeadlineExceeded, "resolve")
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	noGoroutines(t, "(*sockets).dial")
}

// noGoroutines waits until no stack has any of the names in it.
func noGoroutines(t *testing.T, names ...string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	stacks := make([]byte, 4<<20)
	for deadline := time.Now().Add(bound); ; <-tick.C {
		found := ""
		all := string(stacks[:runtime.Stack(stacks, true)])
		for _, name := range names {
			if strings.Contains(all, name) {
				found += fmt.Sprintf(" %q", name)
			}
		}
		if found == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("goroutines with%s in their stacks after %v:\n%s", found, bound, all)
		}
	}
}
