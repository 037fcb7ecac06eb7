package page

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// partTime is how long a part of the page may take to tell of its frames; one
// that is busy does not keep the others from being found.
const partTime = 2 * time.Second

// frame is a document of the page, and the session of the process that it is in.
type frame struct {
	session   *devtools.Session
	id        cdp.FrameID
	outermost bool // the page's main document
}

func (t *Tab) main() frame {
	return frame{session: t.Session, id: cdp.FrameID(t.Target), outermost: true}
}

// frame finds a document by its frame's name or a part of its URL, whichever
// process it is in; "" is the main one.
func (t *Tab) frame(ctx context.Context, name string) (frame, error) {
	if name == "" {
		return t.main(), nil
	}
	for _, session := range t.documents() {
		found, err := search(ctx, session, name)
		switch {
		case err == nil && found.id != "":
			return found, nil
		case err != nil && (ctx.Err() != nil || t.Err() != nil):
			return frame{}, t.Fault(ctx, err, "the frames")
		}
		// A part that has gone meanwhile or does not answer has no frames.
	}
	return frame{}, status.Errorf(codes.NotFound, "no frame has the name %q, or it in its URL", name)
}

// documents are the sessions that have documents, the main one first.
func (t *Tab) documents() []*devtools.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	sessions := []*devtools.Session{t.Session}
	for _, p := range t.parts {
		if p.isFrame() {
			sessions = append(sessions, p.Session)
		}
	}
	return sessions
}

// search finds a frame among those of a session; the main document is not one.
func search(ctx context.Context, session *devtools.Session, name string) (frame, error) {
	ctx, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	tree, err := devtools.Call(ctx, session, page.GetFrameTree, cdp.Empty{})
	if err != nil {
		return frame{}, err
	}
	for rest := []*page.FrameTree{tree.FrameTree}; len(rest) > 0; rest = rest[1:] {
		f := rest[0].Frame
		if f.ParentID != "" && (f.Name == name || strings.Contains(f.URL, name)) {
			return frame{session: session, id: f.ID}, nil
		}
		rest = append(rest, rest[0].ChildFrames...)
	}
	return frame{}, nil
}

// at is where a point of a document's viewport, as its scripts see it, is within
// the main viewport, in CSS pixels, where the mouse goes to. Frames may be nested,
// scrolled, scaled and turned. What the session of a frame says of places (box
// models) counts from the outermost document of its process.
func (t *Tab) at(ctx context.Context, f frame, x, y float64) (float64, float64, error) {
	for f.id != t.main().id {
		session, outer := t.outside(f)
		owner, err := devtools.Call(ctx, session, dom.GetFrameOwner, dom.GetFrameOwnerParams{FrameID: f.id})
		if err != nil {
			return 0, 0, err
		}
		box, err := devtools.Call(ctx, session, dom.GetBoxModel, dom.GetBoxModelParams{BackendNodeID: owner.BackendNodeID})
		if err != nil {
			return 0, 0, err
		}
		x, y = inside(box.Model, x, y)
		f = outer
	}
	return x, y, nil
}

// outside is the session that has the element of a frame, and the document from
// which that session counts.
func (t *Tab) outside(f frame) (*devtools.Session, frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	session := f.session
	for _, p := range t.parts {
		if p.Session == session && string(p.info.TargetID) == string(f.id) {
			session = p.outer
		}
	}
	for _, p := range t.parts {
		if p.Session == session {
			return session, frame{session: session, id: cdp.FrameID(p.info.TargetID)}
		}
	}
	return session, t.main()
}

// inside is where a point of a frame's document is, given the frame's box. Its
// width is that without transforms, so that the border's edge tells the scale.
func inside(box *dom.BoxModel, x, y float64) (float64, float64) {
	c, b := box.Content, box.Border
	along := func(px float64, to int, from int64) (dx, dy float64) {
		outer := math.Hypot(b[to]-b[0], b[to+1]-b[1])
		if outer == 0 {
			return 0, 0
		}
		unit := px * outer / float64(from) // CSS pixels of the frame in those outside
		inner := math.Hypot(c[to]-c[0], c[to+1]-c[1])
		if inner == 0 {
			return 0, 0
		}
		return (c[to] - c[0]) / inner * unit, (c[to+1] - c[1]) / inner * unit
	}
	rightX, rightY := along(x, 2, box.Width) // the corner after the first is at its right
	downX, downY := along(y, 6, box.Height)  // the last one is below it
	return c[0] + rightX + downX, c[1] + rightY + downY
}
