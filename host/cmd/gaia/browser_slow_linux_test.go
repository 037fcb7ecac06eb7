package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"golang.org/x/sync/errgroup"
)

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

// Each of many sessions at once keeps its own page and storage.
func TestSlowAHundredSessionsFitInEightBrowsers(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes a minute; make test-slow runs it")
	}
	const sessions = 100
	h, _ := openPages(t, pagesConfig("max_browsers = 8\n    max_tabs = 120\n"+loopbackRule, "", ""))
	url := painted(t)
	ids := make([]string, sessions)
	each := func(do func(n int) error) {
		t.Helper()
		group := new(errgroup.Group)
		group.SetLimit(8)
		for n := range sessions {
			group.Go(func() error { return do(n) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	each(func(n int) error {
		opened, err := h.browser().Open(t.Context(), &browserv1.OpenRequest{
			Url: fmt.Sprintf("%s/?job=%d", url, n), Page: &browserv1.Page{Viewport: &browserv1.Viewport{Width: 120, Height: 80}},
		})
		ids[n] = opened.GetSession()
		return err
	})
	listed, err := h.browser().Sessions(t.Context(), &browserv1.SessionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	browsers := make(map[uint64]int)
	for _, s := range listed.GetSessions() {
		browsers[s.GetBrowser()]++
	}
	if len(listed.GetSessions()) != sessions || len(browsers) > 8 {
		t.Errorf("got %d sessions in %d browsers %v, want %d in 8 at most", len(listed.GetSessions()), len(browsers), browsers, sessions)
	}
	each(func(n int) error {
		stored, err := h.browser().Evaluate(t.Context(), &browserv1.EvaluateRequest{Session: ids[n], Expression: "Number(localStorage.job)"})
		if err == nil && stored.GetValue().GetNumberValue() != float64(n) {
			err = fmt.Errorf("session %d has the storage of %v", n, stored.GetValue())
		}
		captured, captureErr := h.browser().Capture(t.Context(), &browserv1.CaptureRequest{Session: ids[n], Picture: &browserv1.Picture{}})
		return errors.Join(err, captureErr, paintedIn(captured.GetContent(), colourOf(n)))
	})
	each(func(n int) error {
		_, err := h.browser().Close(t.Context(), &browserv1.CloseRequest{Session: ids[n]})
		return err
	})
	if listed, err = h.browser().Sessions(t.Context(), &browserv1.SessionsRequest{}); err != nil || len(listed.GetSessions()) > 0 {
		t.Errorf("after Close: got %v and %v", listed, err)
	}
}
