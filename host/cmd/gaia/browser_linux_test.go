package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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
