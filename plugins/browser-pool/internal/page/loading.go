package page

import (
	"cmp"
	"context"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// milestone is how far a document is. Browsers lose events when a page changes
// its renderer, so that each milestone has several signs, and the document itself
// is asked now and then.
type milestone uint8

const (
	nothing   milestone = iota
	committed           // its response has begun
	parsed              // DOMContentLoaded
	loaded              // with all it includes
)

const (
	// probeEvery is how often a document is asked how far it is, should events
	// have been lost.
	probeEvery = 250 * time.Millisecond

	// quietTime is how long there is no request when the network is idle.
	quietTime = 500 * time.Millisecond
)

func (t *Tab) navigated(e *page.EventFrameNavigated) {
	if t.isMain(e.Frame.ID) {
		t.update(func() {
			t.loader, t.url, t.milestone = e.Frame.LoaderID, e.Frame.URL+e.Frame.URLFragment, committed
			t.navigations, t.failed = t.navigations+1, ""
			if e.Frame.UnreachableURL != "" {
				t.failed = cmp.Or(t.loss, "net::ERR_FAILED")
			}
			if e.Type == page.NavigationTypeBackForwardCacheRestore {
				t.milestone = loaded // it was before
			}
		})
	}
	t.visited(e.Frame.SecurityOrigin, t.isMain(e.Frame.ID))
}

func (t *Tab) moved(e *page.EventNavigatedWithinDocument) {
	if t.isMain(e.FrameID) {
		t.update(func() { t.url, t.navigations = e.URL, t.navigations+1 })
	}
}

func (t *Tab) reached(e *page.EventLifecycleEvent) {
	if !t.isMain(e.FrameID) {
		return
	}
	switch e.Name {
	case "DOMContentLoaded":
		t.reach(e.LoaderID, parsed)
	case "load":
		t.reach(e.LoaderID, loaded)
	}
}

func (t *Tab) stopped(e *page.EventFrameStoppedLoading) {
	if t.isMain(e.FrameID) {
		t.mu.Lock()
		loader, isThere := t.loader, t.milestone >= committed
		t.mu.Unlock()
		if isThere {
			t.reach(loader, loaded)
		}
	}
}

// reach notes a milestone of the document that is there.
func (t *Tab) reach(loader cdp.LoaderID, m milestone) {
	t.update(func() {
		if t.loader == loader && t.milestone != nothing {
			t.milestone = max(t.milestone, m)
		}
	})
}

// Open goes to a URL and waits. The errors are those of the service; why tells
// more of a connection, "host:port", that failed, and may be nil.
func (t *Tab) Open(ctx context.Context, url string, wait *browserv1.Wait, why func(string) error) error {
	t.mu.Lock()
	before, refusals := t.milestone, t.refusals
	t.milestone = nothing
	t.mu.Unlock()
	result, err := devtools.Call(ctx, t.Session, page.Navigate, page.NavigateParams{URL: url})
	switch {
	case err != nil:
		return t.Fault(ctx, err, "the response of "+origin(url))
	case result.IsDownload:
		t.stay(before)
		return status.Errorf(codes.FailedPrecondition, "%s is a file to download, not a page", origin(url))
	case result.ErrorText == "net::ERR_ABORTED":
		if t.dies(ctx) {
			return fromEnd(t.Err())
		}
		if t.stay(before) > refusals {
			return status.Error(codes.FailedPrecondition, "the page asked whether it may be left (beforeunload), and dialogs says no")
		}
		return unreachable(t.asked(), result.ErrorText, why)
	case result.ErrorText != "":
		return unreachable(t.asked(), result.ErrorText, why)
	case result.LoaderID == "": // within the same document
		t.update(func() { t.milestone = loaded })
	}
	return t.Wait(ctx, wait)
}

// stay goes back to how far the document is that is there still, for no other has
// come. It returns how often pages were not left for their dialogs' sake.
func (t *Tab) stay(before milestone) (refusals uint32) {
	t.update(func() {
		if t.milestone == nothing {
			t.milestone = before
		}
		refusals = t.refusals
	})
	return refusals
}

// dyingTime is how long it may take until a page is told dead.
const dyingTime = 5 * time.Second

// dies reports whether the page is about to be told dead: a navigation whose
// renderer dies is aborted first. One that lives answers.
func (t *Tab) dies(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, dyingTime)
	defer cancel()
	_ = t.repeat(ctx, func() (bool, error) {
		_, err := devtools.Call(ctx, t.Session, runtime.Evaluate, runtime.EvaluateParams{Expression: "0"})
		return err == nil, nil
	})
	return t.Err() != nil
}

// Write shows html in place of a page, and waits.
func (t *Tab) Write(ctx context.Context, html string, wait *browserv1.Wait) error {
	t.update(func() { t.milestone = committed })
	const write = `function(html) { document.open(); document.write(html); document.close() }`
	if err := t.call(ctx, mainWorld, write, nil, html); err != nil {
		return t.Fault(ctx, err, "the document")
	}
	return t.Wait(ctx, wait)
}

func (t *Tab) until(ctx context.Context, until browserv1.Wait_Until) error {
	reached := func(m milestone) func() (bool, time.Duration) {
		return func() (bool, time.Duration) { return t.milestone >= m, 0 }
	}
	switch until {
	case browserv1.Wait_COMMIT:
		return t.await(ctx, "the response", reached(committed))
	case browserv1.Wait_DOM_CONTENT_LOADED:
		return t.await(ctx, "DOM_CONTENT_LOADED", reached(parsed))
	case browserv1.Wait_NETWORK_IDLE:
		return t.await(ctx, "NETWORK_IDLE", func() (bool, time.Duration) {
			if t.milestone < loaded || len(t.open) > 0 {
				return false, 0
			}
			quiet := time.Since(t.activity)
			return quiet >= quietTime, quietTime - quiet
		})
	case browserv1.Wait_UNTIL_UNSPECIFIED, browserv1.Wait_LOAD:
	}
	return t.await(ctx, "LOAD", reached(loaded))
}

// await returns when holds does, which is asked under the lock whenever something
// has changed, and again after the time that it names, if any.
func (t *Tab) await(ctx context.Context, what string, holds func() (bool, time.Duration)) error {
	probe := time.NewTicker(probeEvery)
	defer probe.Stop()
	for {
		t.mu.Lock()
		ok, again := holds()
		changed := t.changed
		t.mu.Unlock()
		if ok {
			return nil
		}
		var later <-chan time.Time
		if again > 0 {
			later = time.After(again)
		}
		select {
		case <-changed:
		case <-later:
		case <-probe.C:
			t.probe(ctx)
		case <-ctx.Done():
			return t.Fault(ctx, context.Cause(ctx), what)
		case <-t.Ended():
			return t.Fault(ctx, t.Err(), what)
		}
	}
}

// probe asks the document itself how far it is.
func (t *Tab) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	t.mu.Lock()
	loader, isThere := t.loader, t.milestone >= committed
	t.mu.Unlock()
	var state string
	if !isThere || t.call(ctx, mainWorld, `function() { return document.readyState }`, &state) != nil {
		return
	}
	switch state {
	case "interactive":
		t.reach(loader, parsed)
	case "complete":
		t.reach(loader, loaded)
	}
}
