package page

import (
	"context"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// frame is a document of the page, and the session of the process that it is in.
type frame struct {
	session   *devtools.Session
	id        cdp.FrameID
	outermost bool // the page's main document
}

func (t *Tab) main() frame {
	return frame{session: t.Session, id: cdp.FrameID(t.Target), outermost: true}
}

// frame finds a document by its frame's name or a part of its URL; "" is the
// main one.
func (t *Tab) frame(ctx context.Context, name string) (frame, error) {
	if name == "" {
		return t.main(), nil
	}
	tree, err := devtools.Call(ctx, t.Session, page.GetFrameTree, cdp.Empty{})
	if err != nil {
		return frame{}, t.Fault(ctx, err, "the frames")
	}
	for rest := tree.FrameTree.ChildFrames; len(rest) > 0; rest = rest[1:] {
		f := rest[0].Frame
		if f.Name == name || strings.Contains(f.URL, name) {
			return frame{session: t.Session, id: f.ID}, nil
		}
		rest = append(rest, rest[0].ChildFrames...)
	}
	return frame{}, status.Errorf(codes.NotFound, "no frame has the name %q, or it in its URL", name)
}
