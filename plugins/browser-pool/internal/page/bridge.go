package page

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What an origin has stored can be reached from its pages alone. To go there
// without asking its server, all requests of a tab are answered here for a while,
// with an empty page that has a script of ours: a bridge.

//go:embed storage.js
var storageScript string

// bridge makes all pages of the tab empty ones, or ends that.
func (t *Tab) bridge(ctx context.Context, on bool) error {
	t.update(func() { t.bridged = on })
	if !on {
		return t.Batch(ctx,
			devtools.Do(fetch.Disable, cdp.Empty{}),
			devtools.Do(network.SetBypassServiceWorker, network.SetBypassServiceWorkerParams{}))
	}
	return t.Batch(ctx,
		devtools.Do(fetch.Enable, fetch.EnableParams{}),
		devtools.Do(network.SetBypassServiceWorker, network.SetBypassServiceWorkerParams{Bypass: true}))
}

// cross answers a request of a session of a tab that is bridged.
func (t *Tab) cross(s *devtools.Session, e *fetch.EventRequestPaused) {
	if e.ResourceType != network.ResourceTypeDocument {
		t.answer(s, fetch.CommandFailRequest, fetch.FailRequestParams{RequestID: e.RequestID, ErrorReason: network.ErrorReasonBlockedByClient})
		return
	}
	t.answer(s, fetch.CommandFulfillRequest, fetch.FulfillRequestParams{
		RequestID: e.RequestID, ResponseCode: 200,
		ResponseHeaders: []*fetch.HeaderEntry{{Name: "Content-Type", Value: "text/html; charset=utf-8"}, {Name: "Cache-Control", Value: "no-store"}},
		Body:            []byte(`<!DOCTYPE html><link rel="icon" href="data:,"><body><script>` + storageScript + `</script>`),
	})
}

// maxTries of opening an empty page. That of a window which has just opened may be
// aborted by its first document, and by nothing else.
const maxTries = 3

// ask has the script do a command at a place, with the tab bridged.
func (t *Tab) ask(ctx context.Context, p place, command string, argument any) (string, error) {
	top := p.Top
	if top == "" {
		top = p.Origin
	}
	err := t.Open(ctx, top+"/", nil, nil)
	for tries := 1; status.Code(err) == codes.Unavailable && tries < maxTries; tries++ {
		err = t.Open(ctx, top+"/", nil, nil)
	}
	if err != nil {
		return "", err
	}
	var answer struct {
		Value string `json:"value"`
		Error string `json:"error"`
	}
	const call = `(origin, command, argument) => gaiaStorage(origin, command, argument)`
	if err := t.call(ctx, mainWorld, call, &answer, p.Origin, command, argument); err != nil {
		return "", t.Fault(ctx, err, "the storage of "+p.Origin)
	}
	if answer.Error != "" {
		return "", fmt.Errorf("%s: %s", p.Origin, answer.Error)
	}
	return answer.Value, nil
}

// window opens another window of the tab's browser context, whose session storage
// is a copy of the page's, as of all windows that pages open. The caller closes it
// with leave.
func (t *Tab) window(ctx context.Context) (*Tab, error) {
	opened := make(chan target.ID, 1)
	t.update(func() { t.awaited = opened })
	defer t.update(func() { t.awaited = nil })
	_, err := devtools.Call(ctx, t.Session, runtime.Evaluate, runtime.EvaluateParams{Expression: `void open()`, Silent: new(true)})
	if err != nil {
		return nil, t.Fault(ctx, err, "another window")
	}
	timer := time.NewTimer(windowTime)
	defer timer.Stop()
	select {
	case id := <-opened:
		return t.enter(ctx, id)
	case <-timer.C:
		return nil, status.Error(codes.FailedPrecondition, "storage: the page may open no window, in which its storage is read")
	case <-ctx.Done():
		return nil, t.Fault(ctx, context.Cause(ctx), "another window")
	case <-t.Ended():
		return nil, t.Fault(ctx, t.Err(), "another window")
	}
}

// windowTime is how long a window may take to open: it is told of before the
// command that opens it has its answer.
const windowTime = time.Second

func (t *Tab) enter(ctx context.Context, id target.ID) (*Tab, error) {
	w, err := Attach(ctx, t.conn, t.Context, id, t.crashed)
	if err == nil {
		err = w.bridge(ctx, true)
	}
	if err != nil {
		t.Browser.Post(target.CommandCloseTarget, target.CloseTargetParams{TargetID: id})
		return nil, t.Fault(ctx, err, "another window")
	}
	return w, nil
}

// leave closes a window.
func (t *Tab) leave() {
	t.Browser.Post(target.CommandCloseTarget, target.CloseTargetParams{TargetID: t.Target})
	t.End(errLeft)
}

// IsAwaited reports whether a window that has been opened is one that the tab
// itself has asked for. It is called by whoever hears of the windows of a browser.
func (t *Tab) IsAwaited(id target.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.awaited == nil {
		return false
	}
	t.awaited <- id // has room for one
	t.awaited = nil
	return true
}

// clean leaves a bridged tab as if nothing had been there.
func (t *Tab) clean(ctx context.Context) error {
	if err := t.Open(ctx, "about:blank", nil, nil); err != nil {
		return err
	}
	if err := t.bridge(ctx, false); err != nil {
		return t.Fault(ctx, err, "the tab")
	}
	if _, err := devtools.Call(ctx, t.Session, page.ResetNavigationHistory, cdp.Empty{}); err != nil {
		return t.Fault(ctx, err, "the tab")
	}
	return nil
}
