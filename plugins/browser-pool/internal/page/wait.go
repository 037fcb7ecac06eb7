package page

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// pollEvery is how often a selector or an expression is looked at.
	pollEvery = 25 * time.Millisecond

	// defaultWait is how long WaitFor, Go and Evaluate take at most.
	defaultWait = 30 * time.Second
)

// Wait returns when all that is waited for holds.
func (t *Tab) Wait(ctx context.Context, wait *browserv1.Wait) error {
	return t.wait(ctx, wait, "", false)
}

// WaitFor waits for a state of the page. The DeadlineExceeded of one that does not
// come says what was waited for and what is there.
func (t *Tab) WaitFor(ctx context.Context, request *browserv1.WaitForRequest) error {
	wait := request.GetWait()
	ctx, cancel := limited(ctx, request.GetTimeout(), defaultWait)
	defer cancel()
	if pattern := request.GetUrl(); pattern != "" {
		if err := t.waitURL(ctx, pattern); err != nil {
			return err
		}
	}
	return t.wait(ctx, wait, request.GetFrame(), request.GetHidden())
}

func (t *Tab) waitURL(ctx context.Context, pattern string) error {
	now := ""
	err := t.await(ctx, fmt.Sprintf("url %q", clip(pattern, 200)), func() (bool, time.Duration) {
		now = t.url
		return fits(pattern, now), 0
	})
	if status.Code(err) == codes.DeadlineExceeded {
		return status.Errorf(codes.DeadlineExceeded, "%s (it is %s)", status.Convert(err).Message(), withoutQuery(now))
	}
	return err
}

// withoutQuery is a URL without what secrets travel in.
func withoutQuery(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the page's"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return clip(u.String(), 200)
}

func (t *Tab) wait(ctx context.Context, wait *browserv1.Wait, frame string, hidden bool) error {
	if err := t.until(ctx, wait.GetUntil()); err != nil {
		return err
	}
	if selector := wait.GetSelector(); selector != "" {
		if err := t.waitSelector(ctx, selector, frame, hidden); err != nil {
			return err
		}
	}
	if expression := wait.GetExpression(); expression != "" {
		return t.waitExpression(ctx, expression, frame)
	}
	return nil
}

func (t *Tab) waitSelector(ctx context.Context, selector, name string, hidden bool) error {
	what, now := fmt.Sprintf("selector %q", clip(selector, 200)), ""
	if hidden {
		what += " to be hidden"
	}
	err := t.repeat(ctx, func() (bool, error) {
		f, err := t.frame(ctx, name)
		if status.Code(err) == codes.NotFound {
			now = status.Convert(err).Message()
			return hidden, nil // with its frame it has gone
		}
		if err != nil {
			return false, err
		}
		e, missing, err := f.look(ctx, selector, "wait.selector", wantSeen)
		if err != nil {
			return false, err
		}
		if now = missing; missing == "" {
			e.release()
			now = "an element that fits can be seen"
		}
		return (missing == "") != hidden, nil
	})
	return t.Fault(ctx, err, what+inParentheses(now))
}

func (t *Tab) waitExpression(ctx context.Context, expression, name string) error {
	f, now := t.main(), ""
	err := t.repeat(ctx, func() (_ bool, err error) {
		f, err = t.frame(ctx, name)
		if status.Code(err) == codes.NotFound {
			now = status.Convert(err).Message()
			return false, nil
		}
		if err != nil {
			return false, err
		}
		var is bool
		err = f.call(ctx, mainWorld, scriptOf(expression, "Boolean"), &is)
		switch thrown, isThrown := err.(*Exception); { //nolint:errorlint // call returns it as it is
		case isThrown:
			now = thrown.Text
		case err == nil:
			now = "it is not true"
		}
		return is, err
	})
	return t.hung(ctx, f.session, err, fmt.Sprintf("expression %q", clip(expression, 200))+inParentheses(now))
}

func inParentheses(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// repeat makes attempts until one is done. An attempt that ends with the service's
// error is the last; any other error, as scripts have while a page goes elsewhere,
// is worth another attempt.
func (t *Tab) repeat(ctx context.Context, attempt func() (done bool, err error)) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		done, err := attempt()
		if done {
			return nil
		}
		if _, isStatus := status.FromError(err); err != nil && isStatus && ctx.Err() == nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.Ended():
			return t.Err()
		}
	}
}

// maxReads is how often something is read of a page that goes elsewhere meanwhile:
// many do so once or twice when they have been loaded.
const maxReads = 20

// steadily reads something of the page, again if that goes elsewhere meanwhile.
func (t *Tab) steadily(ctx context.Context, read func() error) error {
	var err error
	reads := 0
	if end := t.repeat(ctx, func() (bool, error) {
		err = read()
		reads++
		return !isElsewhere(err) || reads == maxReads, nil
	}); end != nil {
		return end
	}
	return err
}

func clip(text string, most int) string {
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
