package page

import (
	"context"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// Reset takes away all that a job left, so that the next one of the same client
// finds the tab as a new one: the page and its history, cookies, the storage of
// all origins, service workers, HTTP cache, permissions, window.name and what Set
// has set. The renderer stays, which is what makes it worth while. What the
// browser has no command for it leaves, and whoever needs it does not reset:
// passwords given to servers, and the names of servers that asked for HTTPS only.
//
// The page goes first: while it is there it could write again, and its rules hold
// until it has gone.
func (t *Tab) Reset(ctx context.Context) error {
	listened := t.listening() != nil
	t.update(func() { t.milestone, t.policy, t.listener = nothing, nil, nil })
	if listened {
		t.undo = append(t.undo, devtools.Do(runtime.Disable, cdp.Empty{}))
	}
	if t.script != nil { // not in the page that comes now
		if _, err := devtools.Call(ctx, t.Session, page.RemoveScriptToEvaluateOnNewDocument, *t.script); err != nil {
			return err
		}
		t.script = nil
	}
	if err := t.Batch(ctx, devtools.Do(page.Navigate, page.NavigateParams{URL: "about:blank"})); err != nil {
		return err
	}
	if err := t.until(ctx, browserv1.Wait_LOAD); err != nil {
		return err
	}
	if err := t.leaveParts(ctx); err != nil {
		return err
	}
	clean := append(t.undo,
		devtools.Do(storage.ClearDataForOrigin, storage.ClearDataForOriginParams{Origin: "*", StorageTypes: "all"}),
		devtools.Do(network.ClearBrowserCache, cdp.Empty{}),
		devtools.Do(page.ResetNavigationHistory, cdp.Empty{}),
		devtools.Do(runtime.Evaluate, runtime.EvaluateParams{Expression: "window.name = ''"}),
	)
	t.undo = nil
	if err := t.Batch(ctx, clean...); err != nil {
		return err
	}
	t.forget()
	return t.Browser.Batch(ctx,
		devtools.Do(storage.ClearCookies, storage.ClearCookiesParams{BrowserContextID: t.Context}),
		devtools.Do(browser.ResetPermissions, browser.ResetPermissionsParams{BrowserContextID: t.Context}),
	)
}

// forget starts counting anew.
func (t *Tab) forget() {
	t.update(func() {
		t.state = state{loader: t.loader, url: t.url, milestone: t.milestone, open: t.open, frames: t.frames}
		clear(t.open)
	})
}
