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
)

// world is where a script runs.
type world bool

const (
	// mainWorld is the page's own, with its variables.
	mainWorld world = false
	// ownWorld sees the same document, but none of what the page's scripts did
	// to its functions.
	ownWorld world = true
)

// Exception is what a script threw.
type Exception struct {
	// Text of it, at most 1000 bytes, without the stack.
	Text string
}

// Error is the text.
func (e *Exception) Error() string { return e.Text }

func exception(details *runtime.ExceptionDetails, err error) error {
	if err != nil || details == nil {
		return err
	}
	text := details.Text
	if thrown := details.Exception; thrown != nil {
		text, _, _ = strings.Cut(thrown.Description, "\n")
		if text == "" {
			text = string(thrown.Value)
		}
	}
	return &Exception{Text: clip(text, 1000)}
}

// call calls a function with args in the main frame, awaits its promise, and
// decodes what it returns into result, unless that is nil. The error may be an
// *Exception.
func (t *Tab) call(ctx context.Context, in world, function string, result any, args ...any) error {
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
		made, err := devtools.Call(ctx, t.Session, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: cdp.FrameID(t.Target), WorldName: "gaia"})
		if err != nil {
			return err
		}
		params.ContextID = made.ExecutionContextID
	}
	returned, err := devtools.Call(ctx, t.Session, runtime.Evaluate, params)
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
