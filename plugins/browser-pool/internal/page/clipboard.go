package page

import (
	"context"
	_ "embed"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Chromium has one clipboard for all pages of a browser: what one client copies
// another one would paste. Keys therefore never reach it, and each tab has a
// clipboard of its own, for text, which Press does the work of.

// Inert is an editing command that does nothing: it has execCommand write tags, as
// it does at first. A key that is sent with it has no effect of its own on an
// editor, while the page sees its events. Forms in PDFs look at the number of a key
// and at nothing else, so that one that uses the clipboard is sent with number 0.
const Inert = "useCSS"

// maxClipboard bounds what a tab has copied, in UTF-16 units: 1 MiB of plain text.
const maxClipboard = 1 << 20

// maxDepth is how deep frames are followed.
const maxDepth = 64

// ClipboardUse is what a key does with the browser's clipboard: "copy", "cut",
// "paste", or "" for nothing. number, modifiers and name are those of a key event
// of the protocol; these keys were found by trying all numbers with all modifiers.
// With Meta it is so on macOS only.
func ClipboardUse(number, modifiers int64, name string) string {
	const (
		keyInsert = 45
		keyDelete = 46
	)
	held := modifiers & (alt | control | meta | shift)
	isCommand := held == control || held == meta
	switch {
	case name == "Copy", number == 'C' && isCommand, number == keyInsert && held == control:
		return "copy"
	case name == "Cut", number == 'X' && isCommand, number == keyDelete && held == shift:
		return "cut"
	case name == "Paste", number == 'V' && (isCommand || held == control|shift || held == meta|shift), number == keyInsert && held == shift:
		return "paste"
	}
	return ""
}

//go:embed clipboard.js
var clipboard string

// noteKey has a document note the next key, to see whether the page prevents what
// it does.
const noteKey = `function() {
	const note = { listen: (e) => { if (e.isTrusted && !["Alt", "Control", "Meta", "Shift"].includes(e.key)) note.event = e } }
	addEventListener("keydown", note.listen, true)
	return note
}`

// exchange is what a document does with the clipboard; see clipboard.js.
type exchange struct {
	Has     bool
	Text    string
	TooLong int
	Insert  string
}

// pressClipboard sends a key that copies, cuts or pastes, and does that in between
// its going down and up, unless the page prevents it.
func (t *Tab) pressClipboard(ctx context.Context, use string, down, up []devtools.Command) error {
	before := t.mark()
	f, err := t.focused(ctx)
	if err != nil {
		return t.hung(ctx, f.session, err, "the page to take the key")
	}
	note, err := f.run(ctx, ownWorld, noteKey, false)
	if err != nil {
		return t.hung(ctx, f.session, err, "the page to take the key")
	}
	key := element{frame: f, object: note.ObjectID}
	defer key.release()
	err = t.Batch(ctx, down...)
	if err == nil {
		err = t.exchange(ctx, use, key)
	}
	if released := t.Batch(ctx, up...); err == nil {
		err = released
	}
	if err == nil || t.left(before) || status.Code(err) == codes.ResourceExhausted {
		return err
	}
	return t.hung(ctx, f.session, err, "the page to take the key")
}

// exchange copies, cuts or pastes.
func (t *Tab) exchange(ctx context.Context, use string, key element) error {
	t.mu.Lock()
	text := t.copied
	t.mu.Unlock()
	var done exchange
	if err := key.call(ctx, clipboard, &done, use, text, maxClipboard); err != nil {
		return err
	}
	switch {
	case done.TooLong > 0:
		return status.Errorf(codes.ResourceExhausted, "keys: %s: the text has %d characters, limit %d", use, done.TooLong, maxClipboard)
	case done.Has:
		t.mu.Lock()
		t.copied = done.Text
		t.mu.Unlock()
	case done.Insert != "":
		_, err := devtools.Call(ctx, t.Session, input.InsertText, input.InsertTextParams{Text: done.Insert})
		return err
	}
	return nil
}

// focusedFrame is the element of the frame that has the focus, or null.
const focusedFrame = `function() {
	let focus = document.activeElement
	while (focus?.shadowRoot?.activeElement) focus = focus.shadowRoot.activeElement
	return focus?.matches("iframe, frame, object, embed") ? focus : null
}`

// focused is the document that keys go to. With an error it is the one that has
// not answered.
func (t *Tab) focused(ctx context.Context) (frame, error) {
	f := t.main()
	for range maxDepth {
		found, err := f.run(ctx, ownWorld, focusedFrame, false)
		if err != nil || found.ObjectID == "" {
			return f, err
		}
		owner := element{frame: f, object: found.ObjectID}
		described, err := devtools.Call(ctx, f.session, dom.DescribeNode, dom.DescribeNodeParams{ObjectID: owner.object})
		owner.release()
		if err != nil || described.Node.FrameID == "" {
			return f, err
		}
		f = t.inner(f, described.Node.FrameID)
	}
	return f, nil
}

// inner is a frame within a document, which may be in a process of its own.
func (t *Tab) inner(outer frame, id cdp.FrameID) frame {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.parts {
		if string(p.info.TargetID) == string(id) {
			return frame{session: p.Session, id: id}
		}
	}
	return frame{session: outer.session, id: id}
}
