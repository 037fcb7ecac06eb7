package page

import (
	"context"
	"strings"

	"github.com/chromedp/cdproto/runtime"
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

// call calls a function in the main document; see frame.call.
func (t *Tab) call(ctx context.Context, in world, function string, result any, args ...any) error {
	return t.main().call(ctx, in, function, result, args...)
}
