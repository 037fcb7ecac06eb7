package page

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"slices"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

//go:embed click.js
var clickable string

// Click moves the mouse to an element and clicks it there, once it has come into
// view, stands still, is not disabled and is what would be hit. why is as in Open,
// for the page that is waited for.
func (t *Tab) Click(ctx context.Context, request *browserv1.ClickRequest, why func(string) error) error {
	in, cancel := limited(ctx, request.GetTarget().GetTimeout(), defaultReach)
	defer cancel()
	e, ready, err := t.prepare(in, request.GetTarget(), wantSeen, clickable)
	if err != nil {
		return err
	}
	defer e.release()
	x, y, err := t.locate(in, request.GetTarget(), e, ready)
	if err != nil {
		return err
	}
	before := t.mark()
	if err := t.Batch(in, mouseEvents(request, x, y)...); err != nil && !t.left(before) {
		return t.hung(in, e.session, err, "the page to take the click")
	}
	if !request.GetWaitNavigation() {
		return nil
	}
	limit := defaultReach
	if d := request.GetTarget().GetTimeout(); d != nil {
		limit = d.AsDuration()
	}
	return t.arrive(ctx, before, limit, "a navigation that the click leads to", why)
}

// mouseEvents are those of clicks at a point of the page.
func mouseEvents(request *browserv1.ClickRequest, x, y float64) []devtools.Command {
	event := input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: x, Y: y}
	events := []devtools.Command{devtools.Do(input.DispatchMouseEvent, event)}
	button := buttonOf(request)
	event.Button = input.MouseButton(button)
	for i := range int64(max(1, request.GetCount())) {
		event.Type, event.Buttons, event.ClickCount = input.DispatchMouseEventTypeMousePressed, 1<<slices.Index(buttons(), button), i+1
		events = append(events, devtools.Do(input.DispatchMouseEvent, event))
		event.Type, event.Buttons = input.DispatchMouseEventTypeMouseReleased, 0
		events = append(events, devtools.Do(input.DispatchMouseEvent, event))
	}
	return events
}

// buttons of the mouse, in the order of the bits that stand for them.
func buttons() []string { return []string{"left", "right", "middle"} }

func buttonOf(request *browserv1.ClickRequest) string { return cmp.Or(request.GetButton(), "left") }

// hitFrame says what hinders a click into a frame at a point of the page.
const hitFrame = `function(x, y) {
	let hit = document.elementFromPoint(x, y)
	while (hit?.shadowRoot) {
		const inner = hit.shadowRoot.elementFromPoint(x, y)
		if (!inner || inner === hit) break
		hit = inner
	}
	if (!hit) return "its frame is not in the viewport"
	return hit.matches("iframe, frame, object, embed") ? "" : "its frame is covered by " + hit.cloneNode(false).outerHTML.slice(0, 120)
}`

// locate is where a point of an element's document is on the page. For one in a
// frame that is where it stays for two looks, as the pages around scroll too, and
// what would be hit is a frame.
func (t *Tab) locate(ctx context.Context, target *browserv1.Target, e element, ready readiness) (x, y float64, err error) {
	if e.outermost {
		return ready.X, ready.Y, nil
	}
	hindered := "its frame moves"
	err = t.repeat(ctx, func() (bool, error) {
		nowX, nowY, err := t.at(ctx, e.frame, ready.X, ready.Y)
		if err != nil {
			return false, err
		}
		isSame := nowX == x && nowY == y
		x, y = nowX, nowY
		if !isSame {
			return false, nil
		}
		err = t.call(ctx, ownWorld, hitFrame, &hindered, x, y)
		return err == nil && hindered == "", err
	})
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && hindered != "" && t.Err() == nil {
		return 0, 0, readiness{Hindered: hindered}.err(target)
	}
	return x, y, t.Fault(ctx, err, "the place of the element")
}

// arrive waits for the navigation that follows after a place, which begins within
// limit, and until its page is loaded.
func (t *Tab) arrive(ctx context.Context, before mark, limit time.Duration, what string, why func(string) error) error {
	begun, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := t.follow(begun, before, what, why); err != nil {
		return err
	}
	loaded, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	return t.until(loaded, browserv1.Wait_LOAD)
}
