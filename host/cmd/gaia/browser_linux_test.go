package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const pages = "pages" // the subsystem

// pagesConfig is a house whose browsers may reach the servers of a test, with
// more in its config, in its subsystem and after it.
func pagesConfig(config, subsystem, after string) string {
	return fmt.Sprintf(`
host { http = "127.0.0.1:0" }
subsystem "pages" {
  plugin = "gaia-browser-pool"
  config {
    %s
  }
  %s
}
%s`, config, subsystem, after)
}

// openPages runs a house with a browser pool, whose files and those of its
// browsers are in home. Without a browser the test is skipped.
func openPages(t *testing.T, config string) (h *house, home string) {
	t.Helper()
	if _, err := os.Stat(headlessShell); err != nil {
		t.Skipf("no browser: %v", err)
	}
	home, err := os.MkdirTemp("", "b") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	dir := newHouse(t)
	t.Cleanup(func() { wantNoChromium(t, home) })
	t.Setenv("TMPDIR", home)
	h = open(t, dir, config)
	h.await(t, pages, isReady)
	return h, home
}

func (h *house) browser() browserv1.BrowserPoolClient { return browserv1.NewBrowserPoolClient(h.conn) }

// colourOf a job, which no other one of the same test has.
func colourOf(job int) color.RGBA {
	return color.RGBA{byte(job * 37), byte(job * 91), byte(job >> 4 * 53), 255}
}

// painted serves a page for each job, with its title and in its colour.
func painted(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		job, err := strconv.Atoi(r.URL.Query().Get("job"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		c := colourOf(job)
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, "<!DOCTYPE html><title>Job %d</title><body style='background:#%02x%02x%02x'><script>localStorage.job = %d</script>", job, c.R, c.G, c.B, job)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// job opens the page of a job and looks at its title and picture.
func (h *house) job(ctx context.Context, url string, n int, page *browserv1.Page) error {
	page.Viewport = &browserv1.Viewport{Width: 120, Height: 80}
	response, err := h.browser().Screenshot(ctx, &browserv1.ScreenshotRequest{Url: fmt.Sprintf("%s/?job=%d", url, n), Page: page})
	if err != nil {
		return err
	}
	if got, want := response.GetPage().GetTitle(), fmt.Sprintf("Job %d", n); got != want {
		return fmt.Errorf("title: got %q, want %q", got, want)
	}
	return paintedIn(response.GetContent(), colourOf(n))
}

// paintedIn looks at the middle of a picture.
func paintedIn(picture []byte, want color.RGBA) error {
	decoded, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return err
	}
	middle := decoded.Bounds().Max.Div(2)
	if got := color.RGBAModel.Convert(decoded.At(middle.X, middle.Y)); got != want {
		return fmt.Errorf("colour: got %v, want %v", got, want)
	}
	return nil
}

// jobs lets workers do jobs until n are done, some of each isolation, and calls
// between with the number of a job before it starts. None may fail.
func (h *house) jobs(t *testing.T, url string, workers, n int, between func(job int)) {
	t.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for job := int(next.Add(1)); job <= n; job = int(next.Add(1)) {
				between(job)
				page := &browserv1.Page{Client: []string{"", "a", "b"}[job%3]}
				if err := h.job(t.Context(), url, job, page); err != nil {
					t.Errorf("job %d: %v", job, err)
				}
			}
		})
	}
	group.Wait()
}

// process is one of a browser's.
type process struct {
	pid, group int // the group is that of its browser
	isRenderer bool
	isZombie   bool
}

// chromium is what runs of the browsers whose profiles are in home, in any state.
func chromium(t testing.TB, home string) []process {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var all []process
	browsers := make(map[int]bool)
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		line, lineErr := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || lineErr != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		p := process{isZombie: fields[0] == "Z", isRenderer: bytes.Contains(line, []byte("--type=renderer"))}
		p.pid, _ = strconv.Atoi(strings.Split(path, "/")[2])
		p.group, _ = strconv.Atoi(fields[2])
		all = append(all, p)
		if bytes.Contains(line, []byte("--user-data-dir="+home)) {
			browsers[p.group] = true
		}
	}
	return slices.DeleteFunc(all, func(p process) bool { return !browsers[p.group] })
}

// profiles are the directories of browsers in home.
func profiles(t testing.TB, home string) []string {
	t.Helper()
	found, err := filepath.Glob(home + "/gaia-browser-*/*/*/gaia.group")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wantNoChromium waits until no process of a browser is left, and looks for
// directories.
func wantNoChromium(t *testing.T, home string) {
	t.Helper()
	if !eventually(t, func() bool { return len(chromium(t, home)) == 0 }) {
		t.Errorf("left of the browsers: %+v", chromium(t, home))
	}
	if left := profiles(t, home); len(left) > 0 {
		t.Errorf("left of the profiles: %v", left)
	}
	if err := os.RemoveAll(home); err != nil {
		t.Error(err)
	}
}

// killOne kills a browser, or a renderer, that runs, if there is one.
func killOne(t testing.TB, home string, renderer bool) bool {
	t.Helper()
	running := slices.DeleteFunc(chromium(t, home), func(p process) bool {
		return p.isZombie || p.isRenderer != renderer || !renderer && p.pid != p.group
	})
	return len(running) > 0 && syscall.Kill(running[len(running)/2].pid, syscall.SIGKILL) == nil
}

func TestAScreenshotIsACallFromTheCommandLine(t *testing.T) {
	h, _ := openPages(t, pagesConfig(loopbackRule, "", ""))
	url := painted(t)
	call := exec.CommandContext(t.Context(), filepath.Join(h.dir, "bin/gaia"), "call", "pages.Screenshot", "url="+url+"/?job=7",
		"page.viewport.width=300", "page.viewport.height=200")
	call.Dir = h.dir
	output, err := call.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	var answer struct {
		Content []byte `json:"content"`
		Page    struct {
			Title string `json:"title"`
		} `json:"page"`
	}
	if err := json.Unmarshal(output, &answer); err != nil {
		t.Fatal(err)
	}
	if err := paintedIn(answer.Content, colourOf(7)); err != nil || answer.Page.Title != "Job 7" {
		t.Errorf("got %v and %v", answer.Page, err)
	}
}

func TestAKilledBrowserFailsNoCallThatMayBeRepeated(t *testing.T) {
	h, home := openPages(t, pagesConfig(loopbackRule, "", ""))
	var kills atomic.Int64
	h.jobs(t, painted(t), 4, 40, func(job int) {
		if job%10 == 5 && killOne(t, home, false) {
			kills.Add(1)
		}
	})
	if kills.Load() == 0 {
		t.Error("no browser was killed")
	}
	if n := h.metric(t, `gaia_browser_crashes_total{subsystem="pages",what="browser"}`); int64(n) != kills.Load() {
		t.Errorf("crashes counted: got %v, want %d", n, kills.Load())
	}
}

func TestBrowsersDieWithTheirPluginAndCallsGoOn(t *testing.T) {
	h, home := openPages(t, pagesConfig(loopbackRule, quick, ""))
	url := painted(t)
	for n := range 3 {
		before := h.await(t, pages, isReady)
		if err := h.job(t.Context(), url, n, &browserv1.Page{}); err != nil {
			t.Fatal(err)
		}
		groups := make(map[int]bool)
		for _, p := range chromium(t, home) {
			groups[p.group] = true
		}
		old := profiles(t, home)
		if len(groups) == 0 || len(old) == 0 {
			t.Fatalf("got browsers %v with profiles %v, want some", groups, old)
		}
		kill(t, before.GetPid())
		if err := h.job(t.Context(), url, n+100, &browserv1.Page{}); err != nil { // held, or repeated
			t.Errorf("a call after the kill: %v\n%s", err, h.stderr)
		}
		if !eventually(t, func() bool {
			return !slices.ContainsFunc(chromium(t, home), func(p process) bool { return groups[p.group] })
		}) {
			t.Errorf("browsers %v have outlived their plugin: %+v", groups, chromium(t, home))
		}
		for _, path := range old {
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there: %v", path, err)
			}
		}
	}
}

func TestAReloadAndASwapOfTheBrowserPoolLoseNoCall(t *testing.T) {
	h, _ := openPages(t, pagesConfig(loopbackRule, "", ""))
	h.jobs(t, painted(t), 4, 60, func(job int) {
		switch job % 20 {
		case 10:
			config := pagesConfig(loopbackRule+fmt.Sprintf("    max_uses = %d\n", job), "", "")
			if r := h.configure(t, config); !r.GetApplied() {
				t.Errorf("reload at job %d: %v", job, r)
			}
		case 0:
			if _, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: pages}); err != nil {
				t.Errorf("swap at job %d: %v", job, err)
			}
		}
	})
}

func TestPagesOfADomainHaveARateOfTheirOwn(t *testing.T) {
	h, _ := openPages(t, pagesConfig(loopbackRule, `
  rate "domain" {
    key   = "domain"
    limit = "1/h"
    burst = 2
  }`, ""))
	url := painted(t)
	for n := range 2 {
		if err := h.job(t.Context(), url, n, &browserv1.Page{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.job(t.Context(), url, 3, &browserv1.Page{}); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "rate.domain") {
		t.Errorf("a third page of the domain: got %v, want ResourceExhausted by the rate", err)
	}
	if err := h.job(t.Context(), strings.Replace(url, "127.0.0.1", "localhost", 1), 4, &browserv1.Page{}); err != nil {
		t.Errorf("a page of another domain: %v", err)
	}
}

func TestABreakerSparesADomainThatIsDown(t *testing.T) {
	h, _ := openPages(t, pagesConfig(loopbackRule, `
  breaker {
    key      = "domain"
    failures = 2
    open_for = "1h"
  }`, ""))
	url := painted(t)
	down := fmt.Sprintf("http://127.0.0.2:%d", freePort(t))
	if err := h.job(t.Context(), down, 1, &browserv1.Page{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a page that cannot be reached: got %v, want Unavailable", err)
	}
	if !eventually(t, func() bool {
		err := h.job(t.Context(), down, 1, &browserv1.Page{})
		return err != nil && strings.Contains(err.Error(), "breaker")
	}) {
		t.Error("the breaker does not open")
	}
	if err := h.job(t.Context(), url, 2, &browserv1.Page{}); err != nil {
		t.Errorf("a page of another domain: %v", err)
	}
}

func TestTheMetricsOfThePoolAreOnThePageOfTheHost(t *testing.T) {
	h, _ := openPages(t, pagesConfig(loopbackRule, "", ""))
	if err := h.job(t.Context(), painted(t), 1, &browserv1.Page{Client: "a"}); err != nil {
		t.Fatal(err)
	}
	for series, least := range map[string]float64{
		`gaia_browser_browsers{subsystem="pages"}`:                                                      1,
		`gaia_browser_tabs{subsystem="pages"}`:                                                          1,
		`gaia_browser_page_load_seconds_count{subsystem="pages"}`:                                       1,
		`gaia_browser_requests_total{subsystem="pages"}`:                                                1,
		`gaia_browser_cpu_seconds_total{subsystem="pages"}`:                                             0,
		`gaia_browser_recycles_total{reason="hung",subsystem="pages"}`:                                  0,
		`gaia_calls_total{code="OK",method="gaia.browser.v1.BrowserPool/Screenshot",subsystem="pages"}`: 1,
	} {
		if got := h.metric(t, series); got < least {
			t.Errorf("%s: got %v, want %v at least", series, got, least)
		}
	}
}

func TestWithoutABrowserThePoolIsFailedAndTheOthersRun(t *testing.T) {
	h := open(t, newHouse(t), pagesConfig(`headless_shell = "/nowhere/shell"`, "", "subsystem \"api\" { plugin = \"gaia-api-client-pool\" }\n"))
	h.await(t, "api", isReady)
	s := h.await(t, pages, func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_FAILED })
	if reason := s.GetReason(); !strings.Contains(reason, "config.hcl:6") || !strings.Contains(reason, "/nowhere/shell") || strings.Contains(reason, "\n") {
		t.Errorf("got %q, want a line with the place in the config", reason)
	}
	if _, err := h.browser().Text(t.Context(), &browserv1.TextRequest{Url: "about:blank"}); err == nil || !strings.Contains(err.Error(), "/nowhere/shell") {
		t.Errorf("a call: got %v, want why there is no browser", err)
	}
}

// One line of HCL sends pages out by the network coordinator.
func TestPagesGoOutByTheCoordinatorInTheirOwnName(t *testing.T) {
	port := freePort(t)
	proxy := fmt.Sprintf("proxy = \"http://pages:of-the-pages@127.0.0.1:%d\"\n", port)
	h, _ := openPages(t, pagesConfig(proxy+loopbackRule, "", fmt.Sprintf(`
subsystem "network" {
  plugin = "gaia-network-coordinator"
  config {
    listen = "127.0.0.1:%d"
    client "pages" { token = "of-the-pages" }
    egress {
      rule {
        action = "deny"
        hosts  = ["*.example.com"]
      }
      rule {
        action    = "allow"
        addresses = ["loopback"]
      }
    }
  }
}`, port)))
	h.await(t, "network", isReady)
	if err := h.job(t.Context(), painted(t), 5, &browserv1.Page{}); err != nil {
		t.Fatal(err)
	}
	if n := h.metric(t, `gaia_network_connections_opened_total{door="connect",subsystem="network"}`); n < 1 {
		t.Errorf("got %v connections by CONNECT, want one", n)
	}
	_, err := h.browser().Text(t.Context(), &browserv1.TextRequest{Url: "http://www.example.com/secret-path"})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "config.hcl:") {
		t.Errorf("what the coordinator denies: got %v, want PermissionDenied with the rule", err)
	}
	if text := err.Error(); strings.Contains(text, "secret-path") || strings.Contains(text, "of-the-pages") {
		t.Errorf("the error tells a secret: %v", text)
	}
}

// Every job brings its own page, whatever dies meanwhile.
func TestSlowAThousandJobsOutliveTwentyBrowsersAndTwentyRenderers(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes minutes; make test-slow runs it")
	}
	h, home := openPages(t, pagesConfig(loopbackRule, "", ""))
	var browsers, renderers atomic.Int64
	h.jobs(t, painted(t), 6, 1000, func(job int) {
		switch {
		case job%50 == 25 && killOne(t, home, false):
			browsers.Add(1)
		case job%50 == 0 && killOne(t, home, true):
			renderers.Add(1)
		}
	})
	if browsers.Load() < 20 || renderers.Load() < 20 {
		t.Errorf("killed %d browsers and %d renderers, want 20 of each", browsers.Load(), renderers.Load())
	}
	if !eventually(t, func() bool {
		return !slices.ContainsFunc(chromium(t, home), func(p process) bool { return p.isZombie })
	}) {
		t.Errorf("zombies: %+v", chromium(t, home))
	}
	alive := make(map[int]bool)
	for _, p := range chromium(t, home) {
		alive[p.group] = true
	}
	if left := profiles(t, home); len(left) != len(alive) {
		t.Errorf("%d profiles of %d browsers: %v", len(left), len(alive), left)
	}
}
