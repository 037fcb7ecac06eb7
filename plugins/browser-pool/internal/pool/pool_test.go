package pool

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
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
	p := New()
	if err := p.Configure(t.Context(), config); err != nil {
		t.Skipf("no browser: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
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
