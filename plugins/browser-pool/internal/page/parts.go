package page

import (
	"context"
	"errors"
	"slices"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxParts bounds what a page may consist of, nested ones included.
const maxParts = 500

// errPartGone is the end of a part, with which calls in it fail: its frame has
// been removed, has gone to another process, or has crashed; its worker has ended.
var errPartGone = errors.New("the frame has gone")

// part is a share of the page that lives apart from its main document and has a
// session of its own: the frames of another site, or a worker. What holds for the
// page has to be told to each of them, and each tells of its requests itself.
type part struct {
	*devtools.Session
	outer *devtools.Session // of the part that it is within
	info  *target.Info
}

func (p *part) isFrame() bool { return p.info.Type == "iframe" }

// attachParts has the browser attach to all parts of a session from now on, and
// hold each until it has been told what holds for the page: not one of its
// requests comes before that.
func attachParts() devtools.Command {
	return devtools.Do(target.SetAutoAttach, target.SetAutoAttachParams{
		AutoAttach: true, WaitForDebuggerOnStart: true, Flatten: new(true),
		Filter: target.Filter{{Type: "iframe"}, {Type: "worker"}, {Type: "shared_worker"}, {Type: "service_worker"}},
	})
}

// attached begins with a part that waits to be told what holds.
func (t *Tab) attached(outer *devtools.Session, e *target.EventAttachedToTarget) {
	p := &part{outer: outer, info: e.TargetInfo}
	p.Session = t.conn.Open(e.SessionID, func(e devtools.Event) { t.handleOf(p, e) })
	t.mu.Lock()
	ended, tooMany := t.Err(), len(t.parts) >= maxParts
	if ended == nil {
		t.parts = append(t.parts, p)
	}
	commands := append(slices.Clone(t.shared), begin(p)...)
	t.mu.Unlock()
	switch {
	case ended != nil:
		p.End(ended)
	case tooMany:
		t.End(status.Errorf(codes.ResourceExhausted, "the page has more than %d workers and frames of other sites", maxParts))
	default:
		// It ends with the part at the latest.
		go t.begin(p, commands)
	}
}

// begin is what every part gets before it goes on.
func begin(p *part) []devtools.Command {
	commands := []devtools.Command{devtools.Do(network.Enable, network.EnableParams{}), attachParts()}
	if p.isFrame() {
		commands = append(commands, devtools.Do(page.Enable, page.EnableParams{}))
	}
	return append(commands, devtools.Do(runtime.RunIfWaitingForDebugger, cdp.Empty{}))
}

// begin tells a part what holds and lets it go on.
func (t *Tab) begin(p *part, commands []devtools.Command) {
	_ = p.Batch(context.Background(), commands...)
}

// handleOf follows the events of a part.
func (t *Tab) handleOf(p *part, e devtools.Event) {
	switch e.Method {
	case "Target.attachedToTarget":
		read(e, func(a *target.EventAttachedToTarget) { t.attached(p.Session, a) })
	case "Inspector.targetCrashed":
		p.Post(target.CommandDetachFromTarget, nil)
		t.gone(p.ID())
	default:
		t.handle(e)
	}
}

// gone forgets a part and those within it.
func (t *Tab) gone(id target.SessionID) {
	t.update(func() {
		t.parts = slices.DeleteFunc(t.parts, func(p *part) bool {
			if p.ID() == id {
				p.End(errPartGone)
			}
			return p.ID() == id
		})
	})
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
