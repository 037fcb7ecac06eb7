package page

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxParts bounds what a page may consist of at a time, nested ones included.
const maxParts = 500

// errPartGone is the end of a part, with which calls in it fail: its frame has
// been removed, has gone to another process, or has crashed; its worker has ended.
var errPartGone = errors.New("the frame has gone")

// part is a share of the page that lives apart from its main document and has a
// session of its own: frames of another site in a process of theirs, or a worker.
// What holds for the page has to be told to each, and each tells of its requests.
type part struct {
	*devtools.Session
	outer *devtools.Session // of the part, or tab, that it is within
	info  *target.Info
}

func (p *part) isFrame() bool { return p.info.Type == "iframe" }

// attachParts has the browser attach to all parts of a session from now on, and
// hold each until it has been told what holds for the page: none of its requests
// comes before that.
func attachParts() devtools.Command {
	return devtools.Do(target.SetAutoAttach, target.SetAutoAttachParams{
		AutoAttach: true, WaitForDebuggerOnStart: true, Flatten: new(true),
		Filter: target.Filter{{Type: "iframe"}, {Type: "worker"}, {Type: "shared_worker"}, {Type: "service_worker"}},
	})
}

// share has all parts that come from now on told the page's options.
func (t *Tab) share(options []devtools.Command) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shared = options
}

// told is an option as a part is told it. Rules that it refused would not hold,
// so that only the others are optional: workers have no colour scheme, and the
// first part of a process sets its timezone. A worker's requests are its frame's
// to intercept.
func (p *part) told(option devtools.Command) devtools.Command {
	isRule := strings.HasPrefix(option.Method, "Network.") || strings.HasPrefix(option.Method, "Fetch.")
	option.Optional = !isRule || p.info.Type == "worker" && option.Method == fetch.CommandEnable
	option.Result = nil
	if script, ok := option.Params.(page.AddScriptToEvaluateOnNewDocumentParams); ok && !p.isFrame() {
		return devtools.Do(runtime.Evaluate, runtime.EvaluateParams{Expression: script.Source})
	}
	return option
}

// attached begins with a part, which waits.
func (t *Tab) attached(outer *devtools.Session, e *target.EventAttachedToTarget) {
	p := &part{outer: outer, info: e.TargetInfo}
	p.Session = t.conn.Open(e.SessionID, func(e devtools.Event) { t.handleOf(p, e) })
	commands := []devtools.Command{devtools.Do(network.Enable, network.EnableParams{}), attachParts()}
	if p.isFrame() {
		commands = append(commands, devtools.Do(inspector.Enable, cdp.Empty{}), devtools.Do(page.Enable, page.EnableParams{}))
	}
	t.mu.Lock()
	tooMany := len(t.parts) >= maxParts
	t.parts = append(t.parts, p)
	if t.listener != nil {
		commands = append(commands, devtools.Do(runtime.Enable, cdp.Empty{}))
	}
	for _, option := range t.shared {
		commands = append(commands, p.told(option))
	}
	t.mu.Unlock()
	commands = append(commands, devtools.Do(runtime.RunIfWaitingForDebugger, cdp.Empty{}))
	if tooMany {
		t.End(status.Errorf(codes.ResourceExhausted, "the page has more than %d workers and frames of other sites", maxParts))
	}
	if err := t.Err(); err != nil {
		p.End(err) // it came too late for the end of the tab to find it
		return
	}
	go t.begin(p, commands) // it ends with the part at the latest
}

// begin tells a part what holds, and lets it go on. They are sent at once: a frame
// answers some only when it has gone on.
func (t *Tab) begin(p *part, commands []devtools.Command) {
	err := p.Batch(context.Background(), commands...)
	if refused, ok := errors.AsType[*cdproto.Error](err); ok && (refused.Code == methodNotFound || refused.Code == invalidParams) {
		// Its requests would escape.
		t.End(status.Errorf(codes.Internal, "internal: the page's rules do not hold in its %s: %v", p.info.Type, err))
	}
}

// Codes of JSON-RPC.
const (
	methodNotFound = -32601
	invalidParams  = -32602
)

// handleOf follows the events of a part.
func (t *Tab) handleOf(p *part, e devtools.Event) {
	switch e.Method {
	case "Target.attachedToTarget":
		read(e, func(a *target.EventAttachedToTarget) { t.attached(p.Session, a) })
	case "Network.requestWillBeSent":
		read(e, func(r *network.EventRequestWillBeSent) { t.requested(p.Session, r) })
	case "Fetch.requestPaused":
		read(e, func(r *fetch.EventRequestPaused) { t.paused(p.Session, r) })
	case "Fetch.authRequired":
		read(e, func(r *fetch.EventAuthRequired) { t.authenticate(p.Session, r) })
	case "Inspector.targetCrashed":
		// The frame shows as a sad one. If it is loaded again, it is another part.
		p.outer.Post(target.CommandDetachFromTarget, target.DetachFromTargetParams{SessionID: p.ID()})
		t.gone(p.ID())
	default:
		t.handle(e)
		return
	}
	t.hear(e)
}

// gone forgets a part, those within it, and their requests.
func (t *Tab) gone(id target.SessionID) {
	t.update(func() {
		ended := map[*devtools.Session]bool{}
		t.parts = slices.DeleteFunc(t.parts, func(p *part) bool { // those within come after it
			isGone := p.ID() == id || ended[p.outer]
			if isGone {
				ended[p.Session] = true
				p.End(errPartGone)
			}
			return isGone
		})
		for request, session := range t.open {
			if ended[session] {
				delete(t.open, request)
			}
		}
	})
}

// leaveParts lets go of the parts that are left when their page has gone: its
// service workers. Parts of the next page are told nothing of this one's options.
func (t *Tab) leaveParts(ctx context.Context) error {
	t.mu.Lock()
	left := len(t.parts)
	t.shared = nil
	t.mu.Unlock()
	if left == 0 {
		return nil
	}
	// Each is told of as detached before the answer.
	return t.Batch(ctx, devtools.Do(target.SetAutoAttach, target.SetAutoAttachParams{Flatten: new(true)}), attachParts())
}

// End ends the tab with all its parts; see devtools.Session.End.
func (t *Tab) End(why error) {
	t.Session.End(why)
	t.mu.Lock()
	parts := t.parts
	t.parts = nil
	t.mu.Unlock()
	for _, p := range parts {
		p.End(why)
	}
}
