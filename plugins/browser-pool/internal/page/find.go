package page

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp/jsonv2"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// defaultReach is how long an action waits for its element.
const defaultReach = 10 * time.Second

//go:embed find.js
var finder string

// want is what is looked for; see find.js.
type want string

const (
	wantSeen    want = "seen"
	wantControl want = "control"
	wantFile    want = "file"
)

// look looks once for the first element that fits a selector. If there is none,
// missing says what there is. field is named in the error of a bad selector.
func (f frame) look(ctx context.Context, selector, field string, what want) (e element, missing string, err error) {
	found, err := f.run(ctx, ownWorld, finder, false, selector, string(what))
	if thrown, ok := errors.AsType[*Exception](err); ok && strings.HasPrefix(thrown.Text, "SyntaxError") {
		return e, "", status.Errorf(codes.InvalidArgument, "%s: %q is no selector: CSS, parts of it joined by >>> through shadow roots, or text=", field, clip(selector, 200))
	}
	switch {
	case err != nil:
		return e, "", err
	case found.ObjectID == "":
		err = jsonv2.Unmarshal(found.Value, &missing, jsonv2.AllowInvalidUTF8(true))
		return e, missing, err
	}
	return element{frame: f, object: found.ObjectID}, "", nil
}

// seen is the first element that fits a selector and can be seen now. The caller
// releases it.
func (t *Tab) seen(ctx context.Context, f frame, selector, field string) (element, error) {
	e, missing, err := f.look(ctx, selector, field, wantSeen)
	if err == nil && missing != "" {
		err = status.Errorf(codes.NotFound, "selector %q: %s", clip(selector, 200), missing)
	}
	return e, t.Fault(ctx, err, "the element")
}

// readiness is what a function of an action returns: what hinders it yet, or what
// the action goes on with.
type readiness struct {
	Hindered string // "" for ready
	Final    bool   // it will not change by waiting
	Invalid  bool   // the request is at fault, in the field that Hindered begins with
	Missing  bool   // a part of it that is looked for is not there

	X, Y   float64  // where to click, in the document's viewport
	Typed  bool     // the text is to be typed
	Values []string // that are chosen
}

// err is what hinders an action as the service's error.
func (r readiness) err(target *browserv1.Target) error {
	if r.Invalid {
		return status.Error(codes.InvalidArgument, r.Hindered)
	}
	code := codes.FailedPrecondition
	if r.Missing {
		code = codes.NotFound
	}
	return status.Errorf(code, "selector %q: %s", clip(target.GetSelector(), 200), r.Hindered)
}

// find looks once for a target's element, which the caller releases. NotFound says
// what there is.
func (t *Tab) find(ctx context.Context, target *browserv1.Target, what want) (element, error) {
	f, err := t.frame(ctx, target.GetFrame())
	if err != nil {
		return element{}, err
	}
	e, missing, err := f.look(ctx, target.GetSelector(), "target.selector", what)
	if missing != "" {
		err = status.Errorf(codes.NotFound, "selector %q: %s", clip(target.GetSelector(), 200), missing)
	}
	return e, err
}

// prepare finds an action's element and calls a function on it, with the number of
// the attempt and args, until it says that nothing hinders the action any more. The
// element is looked for anew each time: scripts replace theirs. ctx ends with the
// target's time-out. The caller releases the element.
func (t *Tab) prepare(ctx context.Context, target *browserv1.Target, what want, function string, args ...any) (element, readiness, error) {
	var (
		found   element
		ready   readiness
		latest  error // why not yet
		attempt int
	)
	begin := time.Now()
	limit, _ := ctx.Deadline()
	err := t.repeat(ctx, func() (bool, error) {
		e, err := t.find(ctx, target, what)
		if status.Code(err) == codes.NotFound {
			latest = err
			return false, nil
		}
		if err != nil {
			return false, err
		}
		ready = readiness{}
		err = e.call(ctx, function, &ready, append([]any{attempt}, args...)...)
		attempt++
		if err == nil && ready.Hindered == "" {
			found = e
			return true, nil
		}
		e.release()
		if err == nil {
			latest = ready.err(target)
			if ready.Final {
				return false, latest
			}
		}
		return false, err
	})
	if latest != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil && t.Err() == nil {
		why := status.Convert(latest)
		err = status.Errorf(why.Code(), "%s (waited %v)", why.Message(), limit.Sub(begin).Round(100*time.Millisecond))
	}
	return found, ready, t.Fault(ctx, err, fmt.Sprintf("selector %q", clip(target.GetSelector(), 200)))
}

// limited is a context that ends after a time-out of a request, or after usual if
// it has none.
func limited(ctx context.Context, timeout *durationpb.Duration, usual time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(timeout.AsDuration(), usual))
}
