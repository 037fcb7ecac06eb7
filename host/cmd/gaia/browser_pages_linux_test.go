package main

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
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
