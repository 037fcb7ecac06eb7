package page

import (
	"context"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// mark counts the navigations of a tab, those within a document included, and
// those that failed.
type mark uint64

// mark is where the tab is now. What is noted before a click or a command finds
// the navigation that it leads to, however fast that is.
func (t *Tab) mark() mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.navigations
}

// left reports whether the tab has gone elsewhere since.
func (t *Tab) left(before mark) bool { return t.mark() > before }

// follow waits until the tab has left a place. The error is that of Open, if the
// page could not be reached.
func (t *Tab) follow(ctx context.Context, before mark, what string, why func(string) error) error {
	var failed string
	err := t.await(ctx, what, func() (bool, time.Duration) {
		failed = t.failed
		return t.navigations > before, 0
	})
	if err == nil && failed != "" {
		// Until the browser's own page is there, the tab cannot be used.
		if err := t.until(ctx, browserv1.Wait_LOAD); err != nil {
			return err
		}
		return unreachable(t.asked(), failed, why)
	}
	return err
}

// Go goes to a URL, back or forward in the history, or loads the page again, and
// waits. why is as in Open.
func (t *Tab) Go(ctx context.Context, request *browserv1.NavigateRequest, why func(string) error) error {
	ctx, cancel := limited(ctx, request.GetTimeout(), defaultWait)
	defer cancel()
	switch {
	case request.GetUrl() != "":
		t.Interrupt(ctx)
		return t.Open(ctx, request.GetUrl(), request.GetWait(), why)
	case request.GetReload():
		return t.again(ctx, devtools.Do(page.Reload, page.ReloadParams{}), "the page to load again", request.GetWait(), why)
	case request.GetBack():
		return t.history(ctx, -1, request.GetWait(), why)
	}
	return t.history(ctx, +1, request.GetWait(), why)
}

// history goes some steps in it.
func (t *Tab) history(ctx context.Context, steps int64, wait *browserv1.Wait, why func(string) error) error {
	history, err := devtools.Call(ctx, t.Session, page.GetNavigationHistory, cdp.Empty{})
	if err != nil {
		return t.Fault(ctx, err, "the history")
	}
	to := history.CurrentIndex + steps
	if to < 0 {
		return status.Error(codes.FailedPrecondition, "back: it is the first page of the history")
	}
	if to >= int64(len(history.Entries)) {
		return status.Error(codes.FailedPrecondition, "forward: it is the last page of the history")
	}
	entry := page.NavigateToHistoryEntryParams{EntryID: history.Entries[to].ID}
	return t.again(ctx, devtools.Do(page.NavigateToHistoryEntry, entry), "the page of the history", wait, why)
}

// again gives a command that leads to a page which was there before.
func (t *Tab) again(ctx context.Context, command devtools.Command, what string, wait *browserv1.Wait, why func(string) error) error {
	before := t.mark()
	if err := t.Call(ctx, command.Method, command.Params, command.Result); err != nil {
		return t.Fault(ctx, err, what)
	}
	if err := t.follow(ctx, before, what, why); err != nil {
		return err
	}
	return t.Wait(ctx, wait)
}
