// Package page works on the page in a tab: it opens one, waits, does what a person
// would, and takes what is there.
//
// A Tab follows what its browser tells (tab.go, loading.go for when a page counts as
// loaded, parts.go for its frames and workers). Set says how pages are in it, and
// Reset wipes it. An action finds its element (find.go) and calls a function on it
// until nothing hinders the action (click.go, fill.go, …). A login is read and
// written on empty pages of its origins (storage.go, bridge.go).
package page

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

const (
	// DefaultWidth is that of a viewport that nobody asked for, in CSS pixels.
	DefaultWidth = 1280
	// DefaultHeight is its height.
	DefaultHeight = 720

	// maxOpen is how many requests in flight are told apart; a page that has
	// more has them counted only.
	maxOpen = 4096

	// maxFrames is how many frames of a page are told apart from another's.
	maxFrames = 4096
)

// ErrCrashed is the end of a tab whose renderer has died.
var ErrCrashed = errors.New("the page has crashed")

// Tab is a page in a browser. Its methods are safe for concurrent use, but one
// job at a time works on it.
type Tab struct {
	*devtools.Session

	Target  target.ID
	Browser *devtools.Session
	Context cdp.BrowserContextID

	conn     *devtools.Conn
	crashed  func() error
	viewport viewport
	undo     []devtools.Command                              // what wipes the overrides of the job; of its goroutine
	script   *page.RemoveScriptToEvaluateOnNewDocumentParams // as undo, or nil

	mu      sync.Mutex
	changed chan struct{}      // closed when what follows has changed
	parts   []*part            // in the order in which they came
	shared  []devtools.Command // what each part is told: the page's options
	state
}

// state is what the browser has told of the page.
type state struct {
	loader    cdp.LoaderID // of the document that is there
	url       string
	request   string // URL of the newest main document that was asked for
	requestID network.RequestID
	loss      string // why that document did not come
	failed    string // why the document that is there is the browser's own, of an error
	milestone milestone
	document  response // of the newest main document
	requests  uint32
	received  uint64
	open      map[network.RequestID]*devtools.Session // requests, by who told of them
	activity  time.Time                               // when a request last began or ended
	refusals  uint32                                  // dialogs that kept the page from being left
	frames    map[cdp.FrameID]struct{}                // frames of the page, the main one left out
	places    []place                                 // that documents were from, in the order of their first
	awaited   chan<- target.ID
	bridged   bool
	copied    string // the tab's clipboard

	navigations mark

	interception *interception
	listener     *listener               // who hears of all this, or nil
	policy       *browserv1.DialogPolicy // nil for the default
}

// response is the beginning of a document's.
type response struct {
	loader   cdp.LoaderID
	status   uint32
	mimeType string
}

// Attach makes the tab of a target ready for work: when it returns, its domains
// are enabled and acknowledged, so that no event of the first page is lost. crashed
// says why the renderer has died, when it has: ErrCrashed, or a status.
func Attach(ctx context.Context, conn *devtools.Conn, context cdp.BrowserContextID, id target.ID, crashed func() error) (*Tab, error) {
	attached, err := devtools.Call(ctx, conn.Session, target.AttachToTarget, target.AttachToTargetParams{TargetID: id, Flatten: new(true)})
	if err != nil {
		return nil, err
	}
	t := &Tab{Target: id, Browser: conn.Session, Context: context, conn: conn, crashed: crashed, changed: make(chan struct{})}
	t.frames = make(map[cdp.FrameID]struct{})
	t.open = make(map[network.RequestID]*devtools.Session)
	t.Session = conn.Open(attached.SessionID, t.handle)
	t.viewport = viewport{width: DefaultWidth, height: DefaultHeight, scale: 1}
	err = t.Batch(ctx,
		devtools.Do(page.Enable, page.EnableParams{}),
		devtools.Do(page.SetLifecycleEventsEnabled, page.SetLifecycleEventsEnabledParams{Enabled: true}),
		devtools.Do(network.Enable, network.EnableParams{}),
		devtools.Do(inspector.Enable, cdp.Empty{}),
		devtools.Do(performance.Enable, performance.EnableParams{}),
		attachParts(),
		devtools.Do(emulation.SetDeviceMetricsOverride, t.viewport.params()),
		devtools.Do(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}),
	)
	if err != nil {
		t.End(err)
		return nil, err
	}
	return t, nil
}

// handle follows the browser's events. It runs for all pages of the browser on
// one goroutine.
func (t *Tab) handle(e devtools.Event) {
	switch e.Method {
	case "Page.frameNavigated":
		read(e, t.navigated)
	case "Page.frameAttached":
		read(e, func(a *page.EventFrameAttached) { t.framed(a.FrameID) })
	case "Page.frameDetached":
		read(e, t.detached)
	case "Page.navigatedWithinDocument":
		read(e, t.moved)
	case "Page.lifecycleEvent":
		read(e, t.reached)
	case "Page.frameStoppedLoading":
		read(e, t.stopped)
	case "Page.javascriptDialogOpening":
		read(e, t.dialog)
	case "Network.requestWillBeSent":
		read(e, func(r *network.EventRequestWillBeSent) { t.requested(t.Session, r) })
	case "Network.responseReceived":
		read(e, t.responded)
	case "Network.loadingFinished":
		read(e, func(f *network.EventLoadingFinished) { t.finished(f.RequestID, f.EncodedDataLength) })
	case "Network.loadingFailed":
		read(e, t.lost)
	case "Fetch.requestPaused":
		read(e, func(r *fetch.EventRequestPaused) { t.paused(t.Session, r) })
	case "Fetch.authRequired":
		read(e, func(r *fetch.EventAuthRequired) { t.authenticate(t.Session, r) })
	case "Target.attachedToTarget":
		read(e, func(a *target.EventAttachedToTarget) { t.attached(t.Session, a) })
	case "Target.detachedFromTarget":
		read(e, func(d *target.EventDetachedFromTarget) { t.gone(d.SessionID) })
	case "Inspector.targetCrashed":
		t.End(t.crashed())
	}
	t.hear(e)
}

// read hands an event on in its own type. One that cannot be read, of a newer
// browser say, is passed over.
func read[E any](e devtools.Event, use func(*E)) {
	var event E
	if jsonv2.Unmarshal(e.Params, &event, jsonv2.AllowInvalidUTF8(true)) == nil {
		use(&event)
	}
}

// update changes the state and wakes whoever waits for a change.
func (t *Tab) update(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.changed)
	t.changed = make(chan struct{})
}

// Has reports whether a frame is one of the page's.
func (t *Tab) Has(id cdp.FrameID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.frames[id]
	return ok || t.isMain(id)
}

func (t *Tab) framed(id cdp.FrameID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.frames) < maxFrames {
		t.frames[id] = struct{}{}
	}
}

// detached forgets a frame, unless another process has it now.
func (t *Tab) detached(e *page.EventFrameDetached) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Reason != page.FrameDetachedReasonSwap {
		delete(t.frames, e.FrameID)
	}
}

func (t *Tab) isMain(frame cdp.FrameID) bool { return string(frame) == string(t.Target) }

func (t *Tab) requested(s *devtools.Session, e *network.EventRequestWillBeSent) {
	if e.Type == network.ResourceTypeDocument && !t.isMain(e.FrameID) {
		t.visited(e.Request.URL, false) // of a frame in another process no more is told here
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.activity = time.Now()
	t.requests++
	if e.Type == network.ResourceTypeDocument && t.isMain(e.FrameID) {
		t.request, t.requestID, t.loss = e.Request.URL, e.RequestID, ""
	}
	// Nobody tells of the end of an event source, or of a shared worker's script: a
	// worker's script is a frame's request without a loader. What a worker asks for
	// has neither.
	isWorkersScript := e.LoaderID == "" && e.FrameID != ""
	if e.Type != network.ResourceTypeEventSource && !isWorkersScript && len(t.open) < maxOpen {
		t.open[e.RequestID] = s
	}
}

func (t *Tab) responded(e *network.EventResponseReceived) {
	if e.Type != network.ResourceTypeDocument || !t.isMain(e.FrameID) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.document = response{loader: e.LoaderID, status: uint32(max(0, min(e.Response.Status, 999))), mimeType: e.Response.MimeType}
}

func (t *Tab) finished(id network.RequestID, bytes float64) {
	t.update(func() {
		t.received += uint64(max(0, bytes))
		t.activity = time.Now()
		delete(t.open, id)
	})
}

func (t *Tab) lost(e *network.EventLoadingFailed) {
	t.mu.Lock()
	if e.RequestID == t.requestID {
		t.loss = e.ErrorText
	}
	t.mu.Unlock()
	t.finished(e.RequestID, 0)
}

// asked is the URL of the newest main document that was asked for, after
// redirects.
func (t *Tab) asked() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.request
}
