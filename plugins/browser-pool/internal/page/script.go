package page

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/dom"
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

// errResult is of a script whose result is not what it is to be: the page has
// changed JSON.stringify, say.
var errResult = errors.New("result of a script")

// Exception is what a script threw.
type Exception struct {
	// Text of it, at most 1000 bytes, without the stack.
	Text string
	// Line of the script in which it was thrown, from 1.
	Line int64
}

// Error is the text.
func (e *Exception) Error() string { return e.Text }

func exception(details *runtime.ExceptionDetails, err error) error {
	if err != nil || details == nil {
		return err
	}
	text, line := details.Text, details.LineNumber+1
	if thrown := details.Exception; thrown != nil {
		text, _, _ = strings.Cut(thrown.Description, "\n")
		line = lineOf(thrown.Description, line)
		if text == "" {
			text = string(thrown.Value)
		}
	}
	return &Exception{Text: clip(text, 1000), Line: line}
}

// lineOf is the line of a script of ours, which has no URL, in an error's stack. The
// browser itself says the last line that ran.
func lineOf(stack string, otherwise int64) int64 {
	_, after, _ := strings.Cut(stack, "<anonymous>:")
	number, _, _ := strings.Cut(after, ":")
	if line, err := strconv.ParseInt(number, 10, 64); err == nil {
		return line
	}
	return otherwise
}

// call calls a function in the main document; see frame.call.
func (t *Tab) call(ctx context.Context, in world, function string, result any, args ...any) error {
	return t.main().call(ctx, in, function, result, args...)
}

// call calls a function with args in the document, awaits its promise, and
// decodes what it returns into result, unless that is nil. The error may be an
// *Exception.
func (f frame) call(ctx context.Context, in world, function string, result any, args ...any) error {
	if in == mainWorld && !f.outermost {
		return f.callWithin(ctx, function, result, args...)
	}
	value, err := f.run(ctx, in, function, true, args...)
	if err != nil {
		return err
	}
	return decode(value, result)
}

// run is call for a result that stays in the page, if it is not wanted by value.
// The main world is that of the outermost document of the frame's session.
func (f frame) run(ctx context.Context, in world, function string, byValue bool, args ...any) (*runtime.RemoteObject, error) {
	expression := strings.Builder{}
	expression.WriteString("(" + function + ")(")
	for _, arg := range args {
		value, err := jsonv2.Marshal(arg, jsonv2.AllowInvalidUTF8(true)) // JSON is JavaScript
		if err != nil {
			return nil, err
		}
		expression.Write(append(value, ','))
	}
	expression.WriteString(")")
	params := runtime.EvaluateParams{Expression: expression.String(), AwaitPromise: new(true), ReturnByValue: &byValue, Silent: new(true)}
	if in == ownWorld {
		// It is not kept: the next document has another, and this takes less than
		// a millisecond.
		made, err := devtools.Call(ctx, f.session, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: f.id, WorldName: "gaia"})
		if err != nil {
			return nil, err
		}
		params.ContextID = made.ExecutionContextID
	}
	returned, err := devtools.Call(ctx, f.session, runtime.Evaluate, params)
	return returned.Result, exception(returned.ExceptionDetails, err)
}

// callWithin calls a function in the main world of a frame within a page, which
// has no name there unless one follows the making of all worlds: it is where the
// browser takes the frame's document to.
func (f frame) callWithin(ctx context.Context, function string, result any, args ...any) error {
	document, err := f.run(ctx, ownWorld, `function() { return document }`, false)
	if err != nil {
		return err
	}
	ours := element{frame: f, object: document.ObjectID}
	defer ours.release()
	node, err := devtools.Call(ctx, f.session, dom.DescribeNode, dom.DescribeNodeParams{ObjectID: ours.object})
	if err != nil {
		return err
	}
	resolved, err := devtools.Call(ctx, f.session, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: node.Node.BackendNodeID})
	if err != nil {
		return err
	}
	theirs := element{frame: f, object: resolved.Object.ObjectID}
	defer theirs.release()
	return theirs.call(ctx, function, result, args...)
}

// element is one that was found. It stays the same one while the page changes
// around it.
type element struct {
	frame

	object runtime.RemoteObjectID
}

// callParams are those of a call whose arguments may be empty: cdproto would leave
// out the value of "" and have it undefined.
type callParams struct {
	runtime.CallFunctionOnParams

	Arguments []argument `json:"arguments,omitempty"`
}

type argument struct {
	Value jsonv2.Value `json:"value"`
}

// call calls a function on the element, in the world that it was found in; see
// frame.call.
func (e element) call(ctx context.Context, function string, result any, args ...any) error {
	params := callParams{CallFunctionOnParams: runtime.CallFunctionOnParams{
		FunctionDeclaration: function, ObjectID: e.object, AwaitPromise: new(true), ReturnByValue: new(true), Silent: new(true),
	}}
	for _, arg := range args {
		value, err := jsonv2.Marshal(arg, jsonv2.AllowInvalidUTF8(true))
		if err != nil {
			return err
		}
		params.Arguments = append(params.Arguments, argument{value})
	}
	var returned runtime.CallFunctionOnResult
	err := e.session.Call(ctx, runtime.CommandCallFunctionOn, params, &returned)
	if err := exception(returned.ExceptionDetails, err); err != nil {
		return err
	}
	return decode(returned.Result, result)
}

// release lets the page forget the element. Without it the page keeps it until it
// goes elsewhere.
func (e element) release() {
	e.session.Post(runtime.CommandReleaseObject, runtime.ReleaseObjectParams{ObjectID: e.object})
}

func decode(value *runtime.RemoteObject, result any) error {
	if result == nil || value == nil || len(value.Value) == 0 {
		return nil
	}
	if err := jsonv2.Unmarshal(value.Value, result, jsonv2.AllowInvalidUTF8(true)); err != nil {
		return fmt.Errorf("%w: %w", errResult, err)
	}
	return nil
}
