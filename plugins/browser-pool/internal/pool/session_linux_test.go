package pool

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// killAll kills processes that are this test's own.
func killAll(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func browsers(t testing.TB) []int {
	t.Helper()
	var pids []int
	for pid := range children(t) {
		pids = append(pids, pid)
	}
	return pids
}

func TestASessionThatCrashesSaysSo(t *testing.T) {
	for name, victims := range map[string]func(testing.TB) []int{"browser": browsers, "renderer": renderers} {
		t.Run(name+" at work", func(t *testing.T) {
			p := start(t, nil)
			reached := make(chan struct{}, 1)
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				select {
				case reached <- struct{}{}:
				default:
				}
				<-r.Context().Done()
			}))
			defer server.Close()
			id := open(t, p, &browserv1.OpenRequest{Name: "n", Page: &browserv1.Page{Html: "<title>here</title>", Client: "a"}})
			events := follow(t, p, id)
			errs := make(chan error, 1)
			go func() {
				_, err := p.Evaluate(context.WithoutCancel(t.Context()), &browserv1.EvaluateRequest{
					Session: id, Expression: fmt.Sprintf(`fetch(%q, {mode: "no-cors"}).then(() => "x")`, server.URL),
				})
				errs <- err
			}()
			<-reached
			killAll(victims(t))
			if err := <-errs; status.Code(err) != codes.Aborted {
				t.Errorf("the action at work: got %v, want Aborted", err)
			}
			if got := events.until(t, isEnd).GetEnded(); got != "crashed" {
				t.Errorf("the stream: got %q, want crashed", got)
			}
			expectCrashed(t, p, id)
			if again := open(t, p, &browserv1.OpenRequest{Name: "n", Page: &browserv1.Page{Client: "a"}}); again == id {
				t.Error("the name still leads to the session that crashed")
			}
		})
		t.Run(name+" idle", func(t *testing.T) {
			p := start(t, nil)
			id := open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a"}})
			events := follow(t, p, id)
			killAll(victims(t))
			if got := events.until(t, isEnd).GetEnded(); got != "crashed" {
				t.Errorf("the stream: got %q, want crashed", got)
			}
			expectCrashed(t, p, id)
		})
	}
}

func isEnd(e *browserv1.EventsResponse) bool { return e.GetEnded() != "" }

func expectCrashed(t *testing.T, p *Pool, id string) {
	t.Helper()
	_, err := p.Evaluate(t.Context(), &browserv1.EvaluateRequest{Session: id, Expression: "1"})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "it crashed") {
		t.Errorf("later: got %v, want a NotFound that says it crashed", err)
	}
	if got := metric(t, p, "gaia_browser_sessions_ended_total", "reason", "crashed"); got != 1 {
		t.Errorf("counted: got %v, want 1", got)
	}
	if got := metric(t, p, "gaia_browser_sessions"); got != 0 {
		t.Errorf("open sessions: got %v, want 0", got)
	}
}

func TestARunIsNotRepeatedOnceAStepHasBegun(t *testing.T) {
	p := start(t, nil)
	reached := make(chan struct{}, 1)
	var begun int
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		begun++
		mu.Unlock()
		reached <- struct{}{}
		<-r.Context().Done()
	}))
	defer server.Close()
	type result struct {
		response *browserv1.RunResponse
		err      error
	}
	results := make(chan result, 1)
	go func() {
		response, err := p.Run(context.WithoutCancel(t.Context()), &browserv1.RunRequest{
			Page: &browserv1.Page{Html: "<title>here</title>"},
			Steps: []*browserv1.Step{
				stepEvaluate(`"done"`), stepEvaluate(fmt.Sprintf(`fetch(%q, {mode: "no-cors"}).then(() => "x")`, server.URL)), stepEvaluate(`"never"`),
			},
		})
		results <- result{response, err}
	}()
	<-reached
	killAll(renderers(t))
	r := <-results
	if r.err != nil || len(r.response.GetResults()) != 2 {
		t.Fatalf("got %v, %v; want 2 results", r.response, r.err)
	}
	if last := r.response.GetResults()[1]; codes.Code(last.GetCode()) != codes.Aborted {
		t.Errorf("got %v, want Aborted", last)
	}
	if r.response.GetPage().GetTitle() != "here" || r.response.GetCost().GetAttempts() != 1 {
		t.Errorf("got %v", r.response)
	}
	mu.Lock()
	defer mu.Unlock()
	if begun != 1 {
		t.Errorf("the step was taken %d times, want once", begun)
	}
}

func TestManySessionsShareNothingBetweenClients(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{MaxBrowsers: 3, MaxTabs: 45})
	address := site(t)
	address += "/leave?other=" + strings.Replace(address, "127.0.0.1", "localhost", 1)
	const sessions = 30
	ids := make([]string, sessions)
	var group sync.WaitGroup
	each := func(work func(n int) error) {
		t.Helper()
		for n := range sessions {
			group.Go(func() {
				if err := work(n); err != nil {
					t.Errorf("session %d: %v", n, err)
				}
			})
		}
		group.Wait()
	}
	each(func(n int) error {
		response, err := p.Open(t.Context(), &browserv1.OpenRequest{Url: address, Page: &browserv1.Page{Client: fmt.Sprint("client ", n), Wait: done()}})
		ids[n] = response.GetSession()
		return err
	})
	if t.Failed() {
		return
	}
	used := make(map[uint64]int)
	list, err := p.Sessions(t.Context(), &browserv1.SessionsRequest{})
	if err != nil || len(list.GetSessions()) != sessions {
		t.Fatalf("Sessions: got %d, %v; want %d", len(list.GetSessions()), err, sessions)
	}
	for _, s := range list.GetSessions() {
		used[s.GetBrowser()]++
	}
	if len(used) > 3 {
		t.Errorf("browsers: got %v, want at most 3", used)
	}
	for round := range 2 {
		each(func(n int) error {
			mine := fmt.Sprintf("%d of %d", n, round)
			response, err := p.Evaluate(t.Context(), &browserv1.EvaluateRequest{Session: ids[n], Expression: fmt.Sprintf(
				`(() => { const before = [localStorage.who, window.who, document.cookie].join(); localStorage.who = window.who = %q; return before })()`, mine)})
			want := ",,c=1"
			if round > 0 {
				want = fmt.Sprintf("%[1]d of 0,%[1]d of 0,c=1", n)
			}
			if got := response.GetValue().GetStringValue(); err == nil && got != want {
				err = fmt.Errorf("found %q, want %q", got, want)
			}
			return err
		})
	}
	each(func(n int) error {
		_, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: ids[n]})
		return err
	})
}

func TestNothingIsLeftOfSessions(t *testing.T) {
	address := colours(t)
	before, goroutines := descriptors(t), runtime.NumGoroutine()
	p := configured(t, &browserv1.Config{Egress: loopback()})
	ctx, giveUp := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for n := range 6 {
		id := open(t, p, &browserv1.OpenRequest{Url: address + "/?c=ff0000", Page: &browserv1.Page{Client: fmt.Sprint(n % 2)}})
		group.Go(func() {
			// Callers who die in the middle of an action, and some who do not.
			caller := ctx
			if n%2 == 0 {
				caller = context.WithoutCancel(ctx)
			}
			_, err := p.Evaluate(caller, &browserv1.EvaluateRequest{Session: id, Expression: `new Promise(() => {})`})
			if code := status.Code(err); code == codes.OK || code == codes.Internal {
				t.Errorf("got %v", err)
			}
		})
	}
	home := p.running.home.Dir()
	giveUp()
	shut(t, p)
	group.Wait()
	if got := children(t); len(got) > 0 {
		t.Errorf("processes: %v are left", got)
	}
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("files: got %v, want them gone", err)
	}
	settle(t, before, goroutines)
}

func TestTheEndOfThePoolEndsSessionsAndTheirStreams(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := open(t, p, &browserv1.OpenRequest{})
	events := follow(t, p, id)
	shut(t, p)
	if got := events.until(t, isEnd).GetEnded(); got != "draining" {
		t.Errorf("got %q, want draining", got)
	}
	if _, err := p.Evaluate(t.Context(), &browserv1.EvaluateRequest{Session: id, Expression: "1"}); status.Code(err) != codes.Unavailable {
		t.Errorf("later: got %v, want Unavailable", err)
	}
}

func TestSessionsOfCallersThatComeAndGoLeaveNothing(t *testing.T) {
	p := start(t, nil)
	address, client := colours(t), connect(t, p)
	round := func() {
		for n := range 4 {
			id := open(t, p, &browserv1.OpenRequest{Url: address + "/?c=ff0000", Page: &browserv1.Page{Client: fmt.Sprint(n % 2)}})
			events := followBy(t, client, id)
			if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
				t.Error(err)
			}
			events.rest(t)
		}
	}
	round()
	goroutines := runtime.NumGoroutine()
	for range 6 {
		round()
	}
	eventually(t, "goroutines have ended", func() bool {
		return runtime.NumGoroutine() <= goroutines+16 // of warm tabs and connections; 24 sessions have come and gone
	})
	if left, _ := filepath.Glob(filepath.Join(p.running.home.Dir(), "uploads-*")); len(left) > 0 {
		t.Errorf("directories: %v are left", left)
	}
	if got := metric(t, p, "gaia_browser_sessions"); got != 0 {
		t.Errorf("sessions: got %v, want none", got)
	}
}

func shut(t *testing.T, p *Pool) {
	t.Helper()
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
