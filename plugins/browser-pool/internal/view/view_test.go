package view

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/outlet"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

// silent is a slot.Meter that counts nothing.
type silent struct{}

func (silent) Started(time.Duration) {}
func (silent) Made(time.Duration)    {}
func (silent) Wiped(time.Duration)   {}
func (silent) Recycled(string)       {}
func (silent) Crashed(string)        {}
func (silent) Sampled(uint64)        {}

// browsers is a pool of one headless shell, which ends with the test. Without one
// here, the test is skipped.
func browsers(t testing.TB) *slot.Pool {
	t.Helper()
	return browsersOf(t, browserv1.Engine_HEADLESS_SHELL)
}

func browsersOf(t testing.TB, kind slot.Engine) *slot.Pool {
	t.Helper()
	program, err := engine.Find(t.Context(), kind, "")
	if err != nil {
		t.Skipf("no browser: %v", err)
	}
	home, err := engine.OpenHome("")
	if err != nil {
		t.Fatal(err)
	}
	policy, err := egress.Configure(t.Context(), "egress", &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}}}})
	if err != nil {
		t.Fatal(err)
	}
	pool := slot.New(slot.Options{
		Programs: map[slot.Engine]engine.Program{kind: program}, Default: kind,
		Launch: engine.Options{Home: home}, Outlets: &outlet.Rules{Policy: policy},
		MaxBrowsers: 1, MaxTabs: 20, MaxUses: 100, MaxAge: time.Hour, IdleTimeout: time.Hour, Memory: 8 << 30, MaxTabMemory: 1 << 30,
		Log: func(message string, args ...any) { t.Log(append([]any{message}, args...)...) }, Meter: silent{},
	})
	t.Cleanup(func() {
		pool.Close()
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool
}

// open returns a view that ends with the test.
func open(t testing.TB, pool *slot.Pool) *View {
	t.Helper()
	v, err := Open(t.Context(), pool, Options{Engine: pool.Default, Client: t.Name(), MaxTabs: 3, Outlets: pool.Outlets})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// inView is how chromedp gets its browser here.
type inView struct{ *View }

func (i inView) Allocate(ctx context.Context, opts ...chromedp.BrowserOption) (*chromedp.Browser, error) {
	return chromedp.NewBrowserTransport(ctx, Transport(i), opts...)
}
func (inView) Wait()          {}
func (inView) Attaches() bool { return true }

func driver(t *testing.T, v *View) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	ctx, end := chromedp.NewAllocatorContext(ctx, inView{v})
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	return ctx
}

func site(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			http.SetCookie(w, &http.Cookie{Name: "who", Value: r.URL.Query().Get("who"), Path: "/"}) //nolint:gosec // G124: a test's
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(`<title>` + r.URL.Query().Get("who") + `</title><body style="background:#f00">`))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestChromedpRunsInAViewBesideAnother(t *testing.T) {
	pool, url := browsers(t), site(t)
	for _, who := range []string{"ann", "bob"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			ctx := driver(t, open(t, pool))
			if err := chromedp.Do(ctx, chromedp.Navigate(url+"/login?who="+who)); err != nil {
				t.Fatal(err)
			}
			title, err := chromedp.Run(ctx, chromedp.Title())
			if err != nil || title != who {
				t.Errorf("title: got %q, %v", title, err)
			}
			cookie, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.cookie`))
			if err != nil || cookie != "who="+who {
				t.Errorf("cookie: got %q, %v", cookie, err)
			}
			picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
			if err != nil || len(picture) < 100 {
				t.Errorf("screenshot: %d bytes, %v", len(picture), err)
			}
			targets, err := chromedp.Targets(ctx)
			if err != nil || len(targets) != 1 {
				t.Errorf("targets: got %d, %v; want its own alone", len(targets), err)
			}
		})
	}
}
