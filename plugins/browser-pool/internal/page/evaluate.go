package page

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/runtime"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// answerTime is how long a page that is not busy takes to answer at most.
	answerTime = 500 * time.Millisecond

	// interruptTime is how long the end of a script takes at most, on a machine that
	// has much else to do.
	interruptTime = 5 * time.Second
)

// Evaluate runs JavaScript in the main world of a frame and returns its value as
// JSON has it: NaN, infinities, undefined, functions and symbols are null; an
// object that contains itself and a BigInt, of which JSON would be silent or wrong,
// are the script's error. A script that is not done in time is ended, if it still
// runs; the page lives on.
func (t *Tab) Evaluate(ctx context.Context, request *browserv1.EvaluateRequest) (*structpb.Value, error) {
	args := []any{maxResult / 4}
	for _, arg := range request.GetArgs() {
		args = append(args, arg.AsInterface())
	}
	ctx, cancel := limited(ctx, request.GetTimeout(), defaultWait)
	defer cancel()
	f, err := t.frame(ctx, request.GetFrame())
	if err != nil {
		return nil, err
	}
	var result scripted
	if err := f.call(ctx, mainWorld, scriptOf(request.GetExpression(), toJSON), &result, args...); err != nil {
		return nil, t.thrown(ctx, f.session, err)
	}
	switch {
	case result.NoFunction:
		return nil, status.Error(codes.InvalidArgument, "args: the expression is no function that would take them")
	case result.Fault != "":
		return nil, status.Errorf(codes.FailedPrecondition, "the value cannot be JSON: %s", clip(result.Fault, 200))
	case result.TooLong:
		return nil, status.Errorf(codes.ResourceExhausted, "the value has more than %d characters of JSON", maxResult/4)
	}
	var value any
	if err := json.Unmarshal([]byte(result.JSON), &value); err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "the value cannot be JSON: %v", err) // the page has changed JSON.stringify
	}
	return structpb.NewValue(value)
}

// thrown is the error of a script that is the caller's own.
func (t *Tab) thrown(ctx context.Context, s *devtools.Session, err error) error {
	exception, isThrown := errors.AsType[*Exception](err)
	switch {
	case isThrown:
		return status.Errorf(codes.FailedPrecondition, "the script threw %s (line %d)", exception.Text, exception.Line)
	case protocolError(err) != "" && t.Err() == nil:
		return status.Errorf(codes.FailedPrecondition, "the page went elsewhere while the script ran: %s", protocolError(err))
	}
	return t.hung(ctx, s, err, "the script")
}

// scripted is what a script with a value returns.
type scripted struct {
	JSON       string
	Fault      string // why there is no JSON
	TooLong    bool
	NoFunction bool // the expression is none, and there are args
}

// toJSON is the end of a script whose value is wanted.
const toJSON = `(value, most) => { try { const JSON = globalThis.JSON.stringify(value) ?? "null"; return JSON.length > most ? { TooLong: true } : { JSON } } catch (e) { return { Fault: String(e.message).split("\n")[0] } } }`

// scriptOf is a function that evaluates an expression, calls the function that it
// may be with its own args (but for the first, which is for end), awaits the
// promise that it may be, and returns what end makes of it. Nothing of ours is in
// the expression's scope, and its first line is the script's first.
func scriptOf(expression, end string) string {
	expression = strings.TrimRight(expression, " \t\r\n;")
	return `((run) => async (most, ...args) => { ` +
		`const value = await run.call(globalThis); ` +
		`if (typeof value === "function") return (` + end + `)(await value(...args), most); ` +
		`return args.length > 0 ? { NoFunction: true } : (` + end + `)(value, most) ` +
		`})(async function() { return (` + expression + `
)})`
}

// interrupt ends the script that keeps the process of a session from answering, if
// one does. It does not matter that the time of the call is over.
func interrupt(ctx context.Context, s *devtools.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptTime)
	defer cancel()
	for !answers(ctx, s) && ctx.Err() == nil { // to end nothing would be to end the next script
		_, _ = devtools.Call(ctx, s, runtime.TerminateExecution, cdp.Empty{}) // the answer to the next question tells
	}
}

// answers reports whether the process of a session, or the end of it, answers at
// once.
func answers(ctx context.Context, s *devtools.Session) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err := devtools.Call(ctx, s, runtime.Evaluate, runtime.EvaluateParams{Expression: "0"})
	return err == nil || ctx.Err() == nil
}

// Interrupt ends the script that keeps the page from answering, if one does: it
// could neither be used nor left. It does not matter that the time of ctx is over.
func (t *Tab) Interrupt(ctx context.Context) { interrupt(ctx, t.Session) }

// hung is the Fault of something that has the page run a script. If that is why
// the time is over, the script is ended, so that the page can be used again.
func (t *Tab) hung(ctx context.Context, s *devtools.Session, err error, what string) error {
	if err != nil && ctx.Err() != nil {
		interrupt(ctx, s)
	}
	return t.Fault(ctx, err, what)
}
