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

func TestAPageThatAlwaysGoesElsewhereIsNoFaultOfOurs(t *testing.T) {
	p := start(t, nil)
	url := serve(t, map[string]string{
		"/twice": `<script>onload = () => { location = "/once" }</script>`,
		"/once":  `<script>onload = () => { location = "/there" }</script>`,
		"/there": `<title>there</title>`,
		"/storm": `<button>x</button><script>setInterval(() => location.reload())</script>`,
	})
	for range 3 {
		if _, err := p.Text(t.Context(), &browserv1.TextRequest{Url: url + "/twice"}); err != nil {
			t.Errorf("text: %v", err)
		}
		if _, err := p.Screenshot(t.Context(), &browserv1.ScreenshotRequest{Url: url + "/twice"}); err != nil {
			t.Errorf("picture: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if _, err := p.Text(ctx, &browserv1.TextRequest{Url: url + "/storm"}); status.Code(err) == codes.Internal {
			t.Errorf("text of a page that never stays: %v", err)
		}
		cancel()
	}
}

func TestAPageThatLoopsCanBeUsedAfterTheTimeOutAndLeft(t *testing.T) {
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<title>fine</title><button>x</button>`})
	// At a moment of its own, and when it is to be left.
	for name, script := range map[string]string{
		"a timer":      `void setTimeout(() => { for (;;); })`,
		"beforeunload": `void addEventListener("beforeunload", () => { for (;;); })`,
	} {
		t.Run(name, func(t *testing.T) {
			id := open(t, p, &browserv1.OpenRequest{Url: url + "/"})
			short, long := durationpb.New(2*time.Second), durationpb.New(time.Minute)
			evaluate(t, p, id, script)
			if name == "a timer" {
				_, err := p.WaitFor(t.Context(), &browserv1.WaitForRequest{Session: id, Wait: &browserv1.Wait{Selector: "i"}, Timeout: short})
				if status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("got %v, want DeadlineExceeded", err)
				}
			} else {
				_, err := p.Navigate(t.Context(), &browserv1.NavigateRequest{Session: id, Url: url + "/", Timeout: short})
				if status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("got %v, want DeadlineExceeded", err)
				}
			}
			if _, err := p.Evaluate(t.Context(), &browserv1.EvaluateRequest{Session: id, Expression: "1", Timeout: long}); err != nil {
				t.Errorf("after the time-out: %v", err)
			}
			if name == "beforeunload" {
				return // it would loop again
			}
			evaluate(t, p, id, script)
			went, err := p.Navigate(t.Context(), &browserv1.NavigateRequest{Session: id, Url: url + "/", Timeout: long})
			if err != nil || went.GetPage().GetTitle() != "fine" {
				t.Errorf("Navigate: got %v, %v", went, err)
			}
		})
	}
}

// A page has no say in what an error is.
func TestAPageThatChangesWhatScriptsWorkWithHasItsOwnFaults(t *testing.T) {
	p := start(t, nil)
	for _, html := range []string{
		`<script>JSON.stringify = () => ({length: 1})</script>`,
		`<script>String = () => ({}); JSON.stringify = () => { throw 1 }</script>`,
	} {
		id := open(t, p, &browserv1.OpenRequest{Page: &browserv1.Page{Html: html}})
		_, err := p.Evaluate(t.Context(), &browserv1.EvaluateRequest{Session: id, Expression: "[1]"})
		if status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: got %v, want FailedPrecondition", html, err)
		}
	}
}

func TestTheEndOfAPageIsToldWithoutTheCommandThatMetIt(t *testing.T) {
	p := start(t, &browserv1.Config{MaxTabMemory: 128 << 20})
	_, err := p.Text(t.Context(), &browserv1.TextRequest{Page: &browserv1.Page{
		Html: `<script>const kept = []; setInterval(() => kept.push(new Uint8Array(8 << 20).fill(1)), 20)</script>`,
		Wait: &browserv1.Wait{Selector: "i"},
	}})
	if status.Code(err) != codes.ResourceExhausted || strings.Contains(status.Convert(err).Message(), "rpc error") {
		t.Errorf("got %v", err)
	}
}

func TestAHeaderThatIsTheBrowsersOwnIsRefused(t *testing.T) {
	p := start(t, nil)
	url := serve(t, map[string]string{"/": ""})
	for _, name := range []string{"Host", "content-length", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Keep-Alive", "Proxy-Authorization"} {
		_, err := p.Text(t.Context(), &browserv1.TextRequest{Url: url + "/", Page: &browserv1.Page{Headers: map[string]string{name: "5"}}})
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "page.headers") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, name := range []string{"Cookie", "Authorization", "Referer", "Accept-Encoding", "DNT"} {
		if _, err := p.Text(t.Context(), &browserv1.TextRequest{Url: url + "/", Page: &browserv1.Page{Headers: map[string]string{name: "5"}}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
