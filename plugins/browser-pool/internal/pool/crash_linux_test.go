package pool

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// children are the processes that this one has started, browsers.
func children(t testing.TB) map[int]bool {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int]bool)
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if string(fields[1]) == strconv.Itoa(os.Getpid()) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			found[pid] = true
		}
	}
	return found
}

func renderers(t testing.TB) []int {
	t.Helper()
	var found []int
	for _, processes := range new(engine.Sampler).Sample(children(t)) {
		for _, p := range processes {
			if p.IsRenderer {
				found = append(found, p.PID)
			}
		}
	}
	return found
}

// colours serves pages of the colour that the query names, each a bit late.
func colours(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<title>%[1]s</title><body style="background:#%[1]s"><img src=/img>`, r.URL.Query().Get("c"))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// shoot takes a picture of a colour and compares it.
func shoot(ctx context.Context, t *testing.T, p *Pool, address string, n int, client string) error {
	t.Helper()
	want := color.RGBA{byte(n * 37), byte(n * 91), byte(n * 53), 255}
	code := fmt.Sprintf("%02x%02x%02x", want.R, want.G, want.B)
	response, err := p.Screenshot(ctx, &browserv1.ScreenshotRequest{
		Url:  address + "/?c=" + code,
		Page: &browserv1.Page{Client: client, Viewport: &browserv1.Viewport{Width: 100, Height: 80}},
	})
	if err != nil {
		return err
	}
	if got := response.GetPage().GetTitle(); got != code {
		return fmt.Errorf("title: got %q, want %q", got, code)
	}
	if got := at(picture(t, response.GetContent()), 50, 40); got != want {
		return fmt.Errorf("colour: got %v, want %v", got, want)
	}
	return nil
}

func TestKilledBrowsersAndRenderersFailNoJobThatMayBeRepeated(t *testing.T) {
	p := start(t, nil)
	address := colours(t)
	const jobs, workers = 120, 6
	var next atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for n := next.Add(1); n <= jobs; n = next.Add(1) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				if err := shoot(ctx, t, p, address, int(n), []string{"", "a", "b"}[n%3]); err != nil {
					t.Errorf("job %d: %v", n, err)
				}
				cancel()
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		group.Wait()
	}()
	kills := 0
	for wait(finished, &next, int64(10*kills+10)) {
		kills++
		if kills%3 == 0 {
			for pid := range children(t) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
		} else if pids := renderers(t); len(pids) > 0 {
			_ = syscall.Kill(pids[kills%len(pids)], syscall.SIGKILL)
		}
	}
	t.Logf("%d kills, %v retries", kills, metric(t, p, "gaia_browser_retries_total"))
}

// wait returns true when so many jobs have begun, and false when all have ended.
func wait(finished <-chan struct{}, begun *atomic.Int64, jobs int64) bool {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for begun.Load() < jobs {
		select {
		case <-ticker.C:
		case <-finished:
			return false
		}
	}
	return true
}

// silent is a server that never answers.
func silent(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(server.Close)
	return server.URL
}

func TestAPageThatHangsCostsNobodyElseAnything(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	address := colours(t)
	hung := serve(t, map[string]string{
		"/loop":    `<script>for (;;) {}</script>`,
		"/sync":    `<script>const request = new XMLHttpRequest(); request.open("GET", "` + silent(t) + `", false); request.send()</script>`,
		"/late":    `<body><script>addEventListener("load", () => setTimeout(() => { for (;;) {} }, 0))</script>`,
		"/alert":   `<title>alerts</title><script>alert(1); confirm(2); prompt(3); document.title = "answered"</script>`,
		"/leave":   `<title>stays</title><script>addEventListener("beforeunload", (e) => { e.preventDefault(); e.returnValue = "x" })</script>`,
		"/popup":   `<title>popups</title><script>for (let i = 0; i < 5; i++) window.open("/alert")</script>`,
		"/windows": `<title>windows</title><script>for (let i = 0; i < 30; i++) window.open("/alert")</script>`,
		"/many":    `<title>dialogs</title><script>for (let i = 0; i < 300; i++) alert(i); document.title = "all answered"</script>`,
	})
	for path, title := range map[string]string{"/windows": "windows", "/many": "all answered"} { // which take a while
		response, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: hung + path, Page: &browserv1.Page{Client: "a", Timeout: durationpb.New(2 * time.Minute)}})
		if err != nil || response.GetPage().GetTitle() != title {
			t.Errorf("%s: got %q, %v", path, response.GetPage().GetTitle(), err)
		}
	}
	for round := range 2 {
		for _, path := range []string{"/loop", "/late", "/sync"} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			_, err := p.Screenshot(ctx, &browserv1.ScreenshotRequest{
				Url: hung + path, Page: &browserv1.Page{Client: "a", Timeout: durationpb.New(700 * time.Millisecond)},
				Picture: &browserv1.Picture{FullPage: true},
			})
			cancel()
			if status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("%s: got %v, want DeadlineExceeded", path, err)
			}
		}
		for path, title := range map[string]string{"/alert": "answered", "/leave": "stays", "/popup": "popups"} {
			response, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: hung + path, Page: &browserv1.Page{Client: "a", Timeout: durationpb.New(30 * time.Second)}})
			if err != nil || response.GetPage().GetTitle() != title {
				t.Errorf("%s: got %q, %v", path, response.GetPage().GetTitle(), err)
			}
		}
		if err := shoot(t.Context(), t, p, address, round+1, "a"); err != nil {
			t.Error(err)
		}
	}
}

func TestAPageThatEatsMemoryIsEndedAlone(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{MaxTabMemory: 300 << 20})
	address := colours(t)
	eater := serve(t, map[string]string{"/": `<script>
		const all = []; const eat = () => { for (let i = 0; i < 8; i++) all.push(new Uint8Array(4 << 20).fill(1)); setTimeout(eat, 10) }; eat()</script>`})
	var others sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	others.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			if err := shoot(t.Context(), t, p, address, n, "b"); err != nil {
				t.Error(err)
			}
		}
	})
	_, err := p.Content(t.Context(), &browserv1.ContentRequest{
		Url: eater + "/", Page: &browserv1.Page{Client: "a", Wait: &browserv1.Wait{Selector: "#never"}, Timeout: durationpb.New(30 * time.Second)},
	})
	cancel()
	others.Wait()
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "max_tab_memory") {
		t.Errorf("got %v, want ResourceExhausted", err)
	}
}

func TestNothingIsLeftOfAPool(t *testing.T) {
	before, goroutines := descriptors(t), runtime.NumGoroutine()
	p := configured(t, &browserv1.Config{Egress: loopback()})
	address := colours(t)
	for n := range 4 {
		if err := shoot(t.Context(), t, p, address, n+1, "a"); err != nil {
			t.Error(err)
		}
	}
	home := p.running.home.Dir()
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := children(t); len(got) > 0 {
		t.Errorf("processes: %v are left", got)
	}
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("profiles: got %v, want them gone", err)
	}
	settle(t, before, goroutines)
	if _, err := p.Screenshot(t.Context(), &browserv1.ScreenshotRequest{Url: address}); status.Code(err) != codes.Unavailable {
		t.Errorf("after the end: got %v, want Unavailable", err)
	}
}

// settle waits until there are no more descriptors and goroutines than before, but
// for those of the test's own server.
func settle(t *testing.T, fds, goroutines int) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "descriptors and goroutines are as before", func() bool {
		return descriptors(t) <= fds+8 && runtime.NumGoroutine() <= goroutines+4
	})
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
