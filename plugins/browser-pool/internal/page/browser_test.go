package page

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/outlet"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

// apart puts frames of other sites in processes of their own, as Chromium does and
// the headless shell does not by itself.
const apart = "--site-per-process"

// tabOn returns a tab of a real browser, in which the sites a.test, b.test and
// c.test are all served by handler. Without a browser here, the test is skipped.
func tabOn(t *testing.T, handler http.HandlerFunc, args ...string) *Tab {
	t.Helper()
	program, err := engine.Find(t.Context(), browserv1.Engine_HEADLESS_SHELL, "")
	if err != nil {
		t.Skip(err)
	}
	home, err := engine.OpenHome(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	policy, err := egress.Configure(t.Context(), "egress", &egressv1.Egress{})
	if err != nil {
		t.Fatal(err)
	}
	rules := &outlet.Rules{Policy: policy, Resolve: make(map[string]string)}
	for _, site := range []string{"a.test:80", "b.test:80", "c.test:80", "localhost:80"} {
		rules.Resolve[site] = server.Listener.Addr().String()
	}
	out, err := rules.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out.Use("", nil)
	t.Cleanup(out.Close)
	browser, err := engine.Start(t.Context(), engine.Options{Program: program, Home: home, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(browser.Close)
	context, err := devtools.Call(t.Context(), browser.Session, target.CreateBrowserContext, target.CreateBrowserContextParams{
		ProxyServer: out.Address(), ProxyBypassList: "<-loopback>",
	})
	if err != nil {
		t.Fatal(err)
	}
	created, err := devtools.Call(t.Context(), browser.Session, target.CreateTarget, target.CreateTargetParams{
		URL: "about:blank", BrowserContextID: context.BrowserContextID, Width: DefaultWidth, Height: DefaultHeight,
	})
	if err != nil {
		t.Fatal(err)
	}
	tab, err := Attach(t.Context(), browser.Conn, context.BrowserContextID, created.TargetID, func() error { return ErrCrashed })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.End(ErrCrashed) })
	return tab
}

// pages answers with HTML by path.
func pages(html map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page, ok := html[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(page))
	}
}
