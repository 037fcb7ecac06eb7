package pool

import (
	"context"
	"strings"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// open begins a session.
func open(t testing.TB, p *Pool, request *browserv1.OpenRequest) string {
	t.Helper()
	response, err := p.Open(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return response.GetSession()
}

// evaluate returns the text that an expression is.
func evaluate(t testing.TB, p *Pool, session, expression string) string {
	t.Helper()
	response, err := p.Evaluate(t.Context(), &browserv1.EvaluateRequest{Session: session, Expression: expression})
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return response.GetValue().GetStringValue()
}

func TestASessionStaysAsItWasLeft(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<title>one</title>`, "/two": `<title>two</title><p>second`})
	opened, err := p.Open(t.Context(), &browserv1.OpenRequest{Url: url + "/", Page: &browserv1.Page{Client: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if opened.GetPage().GetTitle() != "one" || opened.GetReopened() || opened.GetPage().GetIsolation() != browserv1.Isolation_RESET {
		t.Errorf("Open: got %v", opened)
	}
	id := opened.GetSession()
	evaluate(t, p, id, `window.kept = "yes"`)
	if got := evaluate(t, p, id, `window.kept`); got != "yes" {
		t.Errorf("a variable: got %q, want it kept", got)
	}
	went, err := p.Navigate(t.Context(), &browserv1.NavigateRequest{Session: id, Url: url + "/two"})
	if err != nil || went.GetPage().GetTitle() != "two" || went.GetPage().GetStatus() != 200 {
		t.Errorf("Navigate: got %v, %v", went, err)
	}
	list, err := p.Sessions(t.Context(), &browserv1.SessionsRequest{Client: "a"})
	if err != nil || len(list.GetSessions()) != 1 || list.GetSessions()[0].GetPage().GetTitle() != "two" || list.GetSessions()[0].GetBrowser() == 0 {
		t.Errorf("Sessions: got %v, %v", list, err)
	}
	for range 2 { // to close one that has ended is no error
		if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
			t.Error(err)
		}
	}
	_, err = p.Evaluate(t.Context(), &browserv1.EvaluateRequest{Session: id, Expression: "1"})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "it was closed") || strings.Contains(err.Error(), id) {
		t.Errorf("after Close: got %v", err)
	}
}

func TestAnIdleSessionEnds(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := open(t, p, &browserv1.OpenRequest{IdleTimeout: durationpb.New(time.Second), Page: &browserv1.Page{Client: "a"}})
	// Longer than the time-out, and no idleness.
	if got := evaluate(t, p, id, `new Promise((done) => setTimeout(() => done("late"), 2000))`); got != "late" {
		t.Errorf("got %q", got)
	}
	ended := follow(t, p, id).until(t, func(e *browserv1.EventsResponse) bool { return e.GetEnded() != "" })
	if ended.GetEnded() != "idle" {
		t.Errorf("got %v, want idle", ended)
	}
	_, err := p.Capture(t.Context(), &browserv1.CaptureRequest{Session: id, Html: true})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "idle") {
		t.Errorf("got %v, want a NotFound that says why", err)
	}
	if got := metric(t, p, "gaia_browser_sessions_ended_total", "reason", "idle"); got != 1 {
		t.Errorf("ended for being idle: got %v, want 1", got)
	}
}

func TestOneNameIsOneSession(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	request := func(client string) *browserv1.OpenRequest {
		return &browserv1.OpenRequest{Name: "n", Page: &browserv1.Page{Client: client, Isolation: browserv1.Isolation_STICKY}}
	}
	type result struct {
		response *browserv1.OpenResponse
		err      error
	}
	results := make(chan result)
	for range 8 {
		go func() {
			response, err := p.Open(context.WithoutCancel(t.Context()), request("a"))
			results <- result{response, err}
		}()
	}
	ids, fresh := make(map[string]bool), 0
	for range 8 {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		ids[r.response.GetSession()] = true
		if !r.response.GetReopened() {
			fresh++
		}
		if r.response.GetPage().GetIsolation() != browserv1.Isolation_STICKY {
			t.Errorf("isolation: got %v", r.response.GetPage())
		}
	}
	if len(ids) != 1 || fresh != 1 {
		t.Errorf("8 Opens of one name: %d sessions, %d opened; want one", len(ids), fresh)
	}
	if other := open(t, p, request("b")); ids[other] {
		t.Error("another client has the session")
	}
	for id := range ids {
		if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
			t.Error(err)
		}
		if again := open(t, p, request("a")); ids[again] {
			t.Error("the name still leads to a session that was closed")
		}
	}
}

func TestCloseEndsAnActionAtWorkAndThoseInLine(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a"}})
	started := make(chan struct{})
	errs := make(chan error)
	for range 3 {
		go func() {
			started <- struct{}{}
			_, err := p.Evaluate(context.WithoutCancel(t.Context()), &browserv1.EvaluateRequest{Session: id, Expression: `new Promise(() => {})`})
			errs <- err
		}()
		<-started
	}
	if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
		t.Error(err)
	}
	for range 3 {
		if code := status.Code(<-errs); code != codes.Aborted && code != codes.NotFound {
			t.Errorf("got %v, want Aborted, or NotFound for one in line", code)
		}
	}
}

func TestActionsOfASessionTakeTurns(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a"}})
	evaluate(t, p, id, `(window.inside = 0, "")`)
	errs := make(chan error)
	for range 5 {
		go func() {
			response, err := p.Evaluate(context.WithoutCancel(t.Context()), &browserv1.EvaluateRequest{Session: id, Expression: `(async () => {
				const others = window.inside++
				await new Promise((done) => setTimeout(done, 20))
				window.inside--
				return String(others)
			})()`})
			if err == nil && response.GetValue().GetStringValue() != "0" {
				err = status.Errorf(codes.Internal, "%s others at work", response.GetValue().GetStringValue())
			}
			errs <- err
		}()
	}
	for range 5 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Evaluate(ctx, &browserv1.EvaluateRequest{Session: id, Expression: `new Promise(() => {})`}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	if got := evaluate(t, p, id, `"fine"`); got != "fine" {
		t.Errorf("after an action that was given up: got %q", got)
	}
}

func TestSessionsThatHaveAllTabsGoOnWhileJobsWaitForThem(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{MaxTabs: 2, MaxJobs: 2})
	url := serve(t, map[string]string{"/": "<title>here</title>"})
	ids := []string{open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a"}}), open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a"}})}
	if _, err := p.Open(t.Context(), &browserv1.OpenRequest{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one session too many: got %v, want ResourceExhausted", err)
	}
	const jobs = 4
	errs := make(chan error, jobs)
	for range jobs {
		go func() {
			_, err := p.Content(context.WithoutCancel(t.Context()), &browserv1.ContentRequest{Url: url + "/"})
			errs <- err
		}()
	}
	r, err := p.use()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all jobs wait", func() bool { return r.slots.Counts().Waiting == jobs })
	for _, id := range ids {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if _, err := p.Navigate(ctx, &browserv1.NavigateRequest{Session: id, Url: url + "/"}); err != nil {
			t.Error(err)
		}
		cancel()
	}
	for _, id := range ids {
		if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
			t.Error(err)
		}
	}
	for range jobs {
		if err := <-errs; err != nil {
			t.Errorf("a job that has waited: %v", err)
		}
	}
}

func TestASessionWhosePageHangsCanBeClosed(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a", Html: `<title>loops</title>`}})
	evaluate(t, p, id, `(setTimeout(() => { for (;;) {} }), "")`)
	_, err := p.WaitFor(t.Context(), &browserv1.WaitForRequest{Session: id, Wait: &browserv1.Wait{Selector: "#never"}, Timeout: durationpb.New(1500 * time.Millisecond)})
	if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Aborted {
		t.Errorf("got %v, want DeadlineExceeded, or Aborted if the page was ended for it", err)
	}
	if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
		t.Error(err)
	}
	if got := metric(t, p, "gaia_browser_recycles_total", "reason", "hung") + metric(t, p, "gaia_browser_recycles_total", "reason", "crash"); got != 1 {
		t.Errorf("tabs thrown away for it: got %v, want 1", got)
	}
	if got := evaluate(t, p, open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a"}}), `"fine"`); got != "fine" {
		t.Errorf("another session: got %q", got)
	}
}

func TestTheTabOfASessionIsWipedAndUsedAgain(t *testing.T) {
	p := start(t, nil)
	for range 3 {
		id := open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Client: "a"}})
		if _, err := p.Close(t.Context(), &browserv1.CloseRequest{Session: id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, reason := range []string{"strict", "unwipeable", "wipe", "hung", "crash"} {
		if got := metric(t, p, "gaia_browser_recycles_total", "reason", reason); got != 0 {
			t.Errorf("thrown away for %q: %v", reason, got)
		}
	}
}
