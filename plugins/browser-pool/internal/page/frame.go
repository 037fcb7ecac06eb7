package page

import (
	"context"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// frame is a document of the page, and the session of the process that it is in.
type frame struct {
	session *devtools.Session
	id      cdp.FrameID
}

func (t *Tab) main() frame { return frame{session: t.Session, id: cdp.FrameID(t.Target)} }

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

// call calls a function with args in the document, awaits its promise, and
// decodes what it returns into result, unless that is nil. The error may be an
// *Exception.
func (f frame) call(ctx context.Context, in world, function string, result any, args ...any) error {
	expression := strings.Builder{}
	expression.WriteString("(" + function + ")(")
	for _, arg := range args {
		value, err := jsonv2.Marshal(arg, jsonv2.AllowInvalidUTF8(true)) // JSON is JavaScript
		if err != nil {
			return err
		}
		expression.Write(append(value, ','))
	}
	expression.WriteString(")")
	params := runtime.EvaluateParams{Expression: expression.String(), AwaitPromise: new(true), ReturnByValue: new(true), Silent: new(true)}
	if in == ownWorld {
		// It is not kept: the next document has another, and this takes less than
		// a millisecond.
		made, err := devtools.Call(ctx, f.session, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: f.id, WorldName: "gaia"})
		if err != nil {
			return err
		}
		params.ContextID = made.ExecutionContextID
	}
	returned, err := devtools.Call(ctx, f.session, runtime.Evaluate, params)
	if err := exception(returned.ExceptionDetails, err); err != nil {
		return err
	}
	if result == nil || returned.Result == nil || len(returned.Result.Value) == 0 {
		return nil
	}
	if err := jsonv2.Unmarshal(returned.Result.Value, result, jsonv2.AllowInvalidUTF8(true)); err != nil {
		return fmt.Errorf("result of a script: %w", err)
	}
	return nil
}
