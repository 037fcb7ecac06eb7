package page

import (
	"context"
	"fmt"
	"slices"

	"github.com/chromedp/cdproto/input"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// focusable gives an element the focus.
const focusable = `function(attempt) {
	this.scrollIntoViewIfNeeded()
	if (this.matches(":disabled")) return { Hindered: "it is disabled" }
	if (this.getRootNode().activeElement !== this) this.focus({ preventScroll: true })
	if (this.getRootNode().activeElement !== this) return { Hindered: "it does not take the focus" }
	return {}
}`

// Press presses keys, one after the other, on an element or where the focus is. Its
// target's time-out is that of it all.
func (t *Tab) Press(ctx context.Context, request *browserv1.PressRequest) error {
	strokes := make([]stroke, len(request.GetKeys()))
	for i, text := range request.GetKeys() {
		var err error
		if strokes[i], err = parseStroke(text); err != nil {
			return field("").invalid(fmt.Sprintf("keys[%d]", i), "%v", err)
		}
	}
	ctx, cancel := limited(ctx, request.GetTarget().GetTimeout(), defaultReach)
	defer cancel()
	if request.GetTarget() != nil {
		e, _, err := t.prepare(ctx, request.GetTarget(), wantControl, focusable)
		if err != nil {
			return err
		}
		defer e.release()
	}
	for _, s := range strokes {
		if err := t.press(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// press holds the modifiers of a stroke, presses its key, and lets go of them.
func (t *Tab) press(ctx context.Context, s stroke) error {
	var press, release []devtools.Command
	var held int64
	for _, m := range s.modifiers {
		held |= m.bit
		press = append(press, devtools.Do(input.DispatchKeyEvent, m.event(input.DispatchKeyEventTypeRawKeyDown, held)))
	}
	down := s.key.event(input.DispatchKeyEventTypeRawKeyDown, held|s.key.bit)
	if s.key.text != "" && held&^shift == 0 {
		down.Type, down.Text, down.UnmodifiedText = input.DispatchKeyEventTypeKeyDown, s.key.text, s.key.text
	}
	use := ClipboardUse(down.WindowsVirtualKeyCode, held, down.Key)
	if down.Commands = s.commands(); use != "" {
		down.Commands, down.WindowsVirtualKeyCode = []string{Inert}, 0
	}
	press = append(press, devtools.Do(input.DispatchKeyEvent, down))
	release = append(release, devtools.Do(input.DispatchKeyEvent, s.key.event(input.DispatchKeyEventTypeKeyUp, held)))
	for _, m := range slices.Backward(s.modifiers) {
		held &^= m.bit
		release = append(release, devtools.Do(input.DispatchKeyEvent, m.event(input.DispatchKeyEventTypeKeyUp, held)))
	}
	if use != "" {
		return t.pressClipboard(ctx, use, press, release)
	}
	before := t.mark()
	if err := t.Batch(ctx, append(press, release...)...); err != nil && !t.left(before) {
		return t.hung(ctx, t.Session, err, "the page to take the key")
	}
	return nil
}
