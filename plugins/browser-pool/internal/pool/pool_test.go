package pool

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// loopback lets pages reach the servers of tests.
func loopback() *egressv1.Egress {
	return &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}}}}
}

// start returns a pool that ends with the test; without a config it is small, as
// each starts a browser. Without a browser here, the test is skipped.
func start(t testing.TB, config *browserv1.Config) *Pool {
	t.Helper()
	if config == nil {
		config = &browserv1.Config{Warm: new(uint32(1))}
	}
	if config.Egress == nil {
		config.Egress = loopback()
	}
	p := configured(t, config)
	t.Cleanup(func() {
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// configured returns a pool that the test ends. Without a browser here, the test
// is skipped, and for no other reason.
func configured(t testing.TB, config *browserv1.Config) *Pool {
	t.Helper()
	if _, err := engine.Find(t.Context(), browserv1.Engine_HEADLESS_SHELL, ""); err != nil {
		t.Skipf("no browser: %v", err)
	}
	p := New()
	if err := p.Configure(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	return p
}

// serve answers with HTML by path.
func serve(t testing.TB, pages map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(page))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// on works on a page in a tab of the pool.
func on(t *testing.T, p *Pool, url string, work func(ctx context.Context, tab *page.Tab)) {
	t.Helper()
	_, _, err := p.do(t.Context(), job{url: url, work: func(ctx context.Context, h hand) error {
		work(ctx, h.slot.Tab)
		return nil
	}})
	if err != nil {
		t.Error(err)
	}
}

// value is what an expression has on the page, as JSON.
func value(ctx context.Context, t *testing.T, tab *page.Tab, expression string) any {
	t.Helper()
	v, err := tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: expression})
	if err != nil {
		t.Errorf("%s: %v", expression, err)
	}
	return v.AsInterface()
}

func target(selector string) *browserv1.Target { return &browserv1.Target{Selector: selector} }

// briefly is a target that is not waited for long.
func briefly(selector string) *browserv1.Target {
	return &browserv1.Target{Selector: selector, Timeout: durationpb.New(1500 * time.Millisecond)}
}

// metric is the value of one of the pool's series, or the count of a histogram.
func metric(t *testing.T, p *Pool, name string, label ...string) float64 {
	t.Helper()
	families, err := p.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if len(label) == 2 && (len(m.GetLabel()) != 1 || m.GetLabel()[0].GetValue() != label[1]) {
				continue
			}
			switch {
			case m.GetHistogram() != nil:
				return float64(m.GetHistogram().GetSampleCount())
			case m.GetCounter() != nil:
				return m.GetCounter().GetValue()
			}
			return m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// eventually waits until something holds, that nobody tells of.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	const limit = 30 * time.Second
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(limit)
	for !holds() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Errorf("not within %v: %s", limit, what)
			return
		}
	}
}

func picture(t *testing.T, content []byte) image.Image {
	t.Helper()
	decoded, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func at(i image.Image, x, y int) color.RGBA { return color.RGBAModel.Convert(i.At(x, y)).(color.RGBA) }

func TestAScreenshotShowsThePage(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<title>Red</title><body style="background:#f00">`})
	response, err := p.Screenshot(t.Context(), &browserv1.ScreenshotRequest{Url: url + "/"})
	if err != nil {
		t.Fatal(err)
	}
	i := picture(t, response.GetContent())
	if got, want := i.Bounds(), image.Rect(0, 0, 1280, 720); got != want {
		t.Errorf("size: got %v, want %v", got, want)
	}
	if got, want := at(i, 640, 360), (color.RGBA{255, 0, 0, 255}); got != want {
		t.Errorf("colour: got %v, want %v", got, want)
	}
	t.Log(response.GetPage(), response.GetCost())
}

// Full Chromium, in its new headless mode, where it is installed.
func TestTheOtherEngineDoesTheSame(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{Engine: browserv1.Engine_CHROMIUM})
	url := serve(t, map[string]string{"/": `<title>Green</title><body style="background:#0f0">`})
	for _, isolation := range []browserv1.Isolation{browserv1.Isolation_STRICT, browserv1.Isolation_RESET, browserv1.Isolation_RESET} {
		response, err := p.Screenshot(t.Context(), &browserv1.ScreenshotRequest{
			Url: url + "/", Page: &browserv1.Page{Client: "a", Isolation: isolation, Viewport: &browserv1.Viewport{Width: 300, Height: 200}},
		})
		if err != nil {
			t.Fatal(err)
		}
		i := picture(t, response.GetContent())
		if got, want := i.Bounds(), image.Rect(0, 0, 300, 200); got != want {
			t.Errorf("size: got %v, want %v", got, want)
		}
		if got, want := at(i, 150, 100), (color.RGBA{0, 255, 0, 255}); got != want {
			t.Errorf("colour: got %v, want %v", got, want)
		}
		if got := response.GetPage().GetEngine(); !strings.Contains(got, "Chrome/") {
			t.Errorf("engine: got %q", got)
		}
	}
}
