package page

import (
	"context"
	_ "embed"
	"strings"

	"github.com/chromedp/cdproto/input"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

//go:embed fill.js
var fillable string

// filled returns what a control has of a text that was typed into it: its length
// and the text's, in characters that a control never drops.
const filled = `function(text) {
	const count = (t) => t.replace(/\s+/g, "").length
	return [count(this.isContentEditable ? this.textContent : this.value), count(text)]
}`

// Fill puts a text into an input, textarea or editable element, or the control of a
// label, in place of what is there. It arrives there as from a keyboard; a date, a
// number, a colour or a range is set as a whole. As with a keyboard, the element has
// the focus then, and its change event comes when it loses it.
func (t *Tab) Fill(ctx context.Context, request *browserv1.FillRequest) error {
	ctx, cancel := limited(ctx, request.GetTarget().GetTimeout(), defaultReach)
	defer cancel()
	text := strings.ReplaceAll(request.GetText(), "\r\n", "\n")
	e, ready, err := t.prepare(ctx, request.GetTarget(), wantControl, fillable, text)
	if err != nil {
		return err
	}
	defer e.release()
	if !ready.Typed {
		return nil
	}
	if text == "" {
		return t.press(ctx, stroke{key: keyOf("Delete")})
	}
	if _, err := devtools.Call(ctx, t.Session, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		return t.hung(ctx, e.session, err, "the page to take the text")
	}
	var count [2]int
	if err := e.call(ctx, filled, &count, text); err != nil {
		if t.Err() == nil && ctx.Err() == nil {
			return nil // a script went on with it: the element is no more
		}
		return t.Fault(ctx, err, "the page to take the text")
	}
	if count[0] < count[1] {
		return status.Errorf(codes.FailedPrecondition, "selector %q: it has taken %d of %d characters; see its maxlength and scripts",
			clip(request.GetTarget().GetSelector(), 200), count[0], count[1])
	}
	return nil
}
