package page

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// kinds are the parts that a tab has.
func kinds(tab *Tab) []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	var all []string
	for _, p := range tab.parts {
		all = append(all, p.info.Type)
	}
	slices.Sort(all)
	return all
}

// becomes waits until holds does.
func becomes(ctx context.Context, t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestNothingOfAPagesPartsIsLeftAfterIt(t *testing.T) {
	s := &web{html: map[string]string{
		"/":           `<iframe src=http://b.test/1></iframe><script>new Worker("/worker.js"); navigator.serviceWorker.register("/service.js")</script>`,
		"/1":          `<iframe src=http://c.test/2></iframe><script>new Worker("/worker.js")</script>`,
		"/2":          `2`,
		"/worker.js":  `location.search || new Worker("/worker.js?inner")`,
		"/service.js": `1`,
	}}
	tab := tabOn(t, s.ServeHTTP, apart)
	ctx := shown(t, tab, "http://localhost/", idle(), &browserv1.Page{})
	want := []string{"iframe", "iframe", "service_worker", "worker", "worker", "worker", "worker"}
	if diff := cmp.Diff(want, kinds(tab)); diff != "" {
		t.Error(diff)
	}
	if err := tab.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if got := kinds(tab); len(got) > 0 || len(tab.open) > 0 {
		t.Errorf("left: %q, %d requests", got, len(tab.open))
	}
	becomes(ctx, t, "no goroutine of a part", func() bool {
		stacks := make([]byte, 1<<20)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "page.(*Tab).begin")
	})
	shown(t, tab, "http://localhost/", idle(), &browserv1.Page{})
	f, err := tab.frame(ctx, "http://c.test/2")
	if err != nil {
		t.Fatal(err)
	}
	tab.End(ErrCrashed)
	if got := kinds(tab); len(got) > 0 || f.session.Err() == nil {
		t.Errorf("left of a tab that has ended: %q, %v", got, f.session.Err())
	}
}

func TestAFrameThatCrashesHoldsNothingUp(t *testing.T) {
	s := &web{html: map[string]string{
		"/":  `<title>main</title><iframe id=f src=http://b.test/1></iframe>`,
		"/1": `<script>fetch("/hangs")</script>`, "/2": `<script>fetch("/blocked").catch(() => fetch("/told"))</script>`,
	}}
	tab := tabOn(t, s.ServeHTTP, apart)
	ctx := shown(t, tab, "http://a.test/", nil, &browserv1.Page{Rules: &browserv1.Rules{BlockUrls: []string{"*/blocked"}}})
	f, err := tab.frame(ctx, "b.test")
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan error)
	go func() {
		called <- f.call(ctx, ownWorld, `function() { return new Promise(() => {}) }`, nil)
	}()
	becomes(ctx, t, "the request of the frame", func() bool { return slices.Contains(s.asked(), "b.test/hangs") })
	f.session.Post(page.CommandCrash, nil)
	if err := tab.Fault(ctx, <-called, "the frame"); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "the frame has gone") {
		t.Errorf("a call in it: got %v", err)
	}
	if err := tab.Wait(ctx, idle()); err != nil {
		t.Error(err)
	}
	if info, err := tab.Info(ctx); err != nil || info.GetTitle() != "main" {
		t.Errorf("the page: got %v, %v", info, err)
	}
	// Loaded again it is held by the rules again.
	if err := tab.call(ctx, ownWorld, `function() { f.src = "http://b.test/2" }`, nil); err != nil {
		t.Fatal(err)
	}
	becomes(ctx, t, "the frame as another page", func() bool { return slices.Contains(s.asked(), "b.test/told") })
	if got := s.asked(); slices.Contains(got, "b.test/blocked") {
		t.Errorf("rules do not hold after the crash: %q", got)
	}
	if err := tab.Reset(ctx); err != nil {
		t.Error(err)
	}
}

func TestAFrameThatIsBusyForEverIsLeft(t *testing.T) {
	s := &web{html: map[string]string{
		"/":  `<iframe name=busy src=http://b.test/1></iframe><iframe src=http://c.test/2></iframe>`,
		"/1": `<script>addEventListener("message", () => { for (;;); })</script>`, "/2": `<p>2`,
	}}
	tab := tabOn(t, s.ServeHTTP, apart)
	ctx := shown(t, tab, "http://a.test/", nil, &browserv1.Page{})
	if err := tab.call(ctx, ownWorld, `function() { document.querySelector("iframe").contentWindow.postMessage("go", "*") }`, nil); err != nil {
		t.Fatal(err)
	}
	if f, err := tab.frame(ctx, "c.test"); err != nil {
		t.Errorf("another frame: got %v, %v", f, err)
	}
	if err := tab.Reset(ctx); err != nil {
		t.Error(err)
	}
	if got := kinds(tab); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

func TestAnIdleNetworkIsThatOfAllFramesThatAreThere(t *testing.T) {
	const late = `<script>fetch("/slow").then(() => fetch("/told"))</script>`
	for name, args := range modes() {
		t.Run(name, func(t *testing.T) {
			s := &web{html: map[string]string{
				"/": `<iframe src=http://b.test/1></iframe>`, "/1": `<iframe src=http://c.test/2></iframe>`, "/2": late,
				"/removed": `<iframe id=f src=http://b.test/3></iframe><script>setTimeout(() => f.remove(), 300)</script>`, "/3": `<script>fetch("/hangs")</script><iframe src=http://c.test/hangs></iframe>`,
				"/worker": `<script>new Worker("/worker.js")</script>`, "/worker.js": `fetch("/slow").then(() => fetch("/told"))`,
			}}
			tab := tabOn(t, s.ServeHTTP, args...)
			ctx := shown(t, tab, "http://a.test/", idle(), &browserv1.Page{})
			if got := s.asked(); !slices.Contains(got, "c.test/told") {
				t.Errorf("a frame in a frame was not waited for: %q", got)
			}
			used, err := tab.Used(ctx)
			if err != nil || used.Requests != 5 || used.Received < 500 {
				t.Errorf("used: got %+v, %v, want 5 requests", used, err)
			}
			shown(t, tab, "http://a.test/worker", idle(), &browserv1.Page{})
			if got := s.asked(); !slices.Contains(got, "a.test/told") {
				t.Errorf("a worker was not waited for: %q", got)
			}
			shown(t, tab, "http://a.test/removed", idle(), &browserv1.Page{})
			if got := s.asked(); !slices.Contains(got, "b.test/hangs") {
				t.Errorf("asked: %q", got)
			}
		})
	}
}

func TestDialogsOfFramesHoldNothingUp(t *testing.T) {
	for name, args := range modes() {
		t.Run(name, func(t *testing.T) {
			s := &web{html: map[string]string{
				"/":  `<iframe name=f src=http://b.test/1></iframe>`,
				"/1": `<script>onload = () => { alert("1"); document.title = "done " + confirm("2") + prompt("3") }</script>`,
			}}
			tab := tabOn(t, s.ServeHTTP, args...)
			ctx := shown(t, tab, "http://a.test/", nil, &browserv1.Page{})
			f, err := tab.frame(ctx, "b.test")
			if err != nil {
				t.Fatal(err)
			}
			var title string
			becomes(ctx, t, "the dialogs of the frame to be answered", func() bool {
				return f.call(ctx, ownWorld, `function() { return document.title }`, &title) == nil && strings.HasPrefix(title, "done")
			})
		})
	}
}
