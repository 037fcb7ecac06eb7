package view

import (
	"bytes"
	"fmt"
	"maps"

	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
)

// ours begins answers to commands that the view has sent in a session of the
// client's, whose own ids are not negative.
const ours = `{"id":-1,`

// notice is what an event of the domain Target tells.
type notice struct {
	Method string `json:"method"`
	Params struct {
		Info      target.Info      `json:"targetInfo"`
		TargetID  target.ID        `json:"targetId"`
		SessionID target.SessionID `json:"sessionId"`
	} `json:"params"`
}

// hear passes a message of the browser's in one of the client's sessions, if it
// is meant for the client. It is called by whoever reads the browser, and does
// not block.
func (v *View) hear(s *session, text []byte) {
	if bytes.HasPrefix(text, []byte(`{"method":"Target.`)) && !v.isFor(s, text) || bytes.HasPrefix(text, []byte(ours)) {
		return
	}
	if s == v.root {
		head, _ := devtools.CutSession(text)
		text = append(head, '}') // the client knows no session of the browser
	}
	v.tell(text)
}

// isFor reports whether an event about targets is the client's to know, and
// follows its sessions.
func (v *View) isFor(s *session, text []byte) bool {
	var n notice
	if err := jsonv2.Unmarshal(text, &n, jsonv2.AllowInvalidUTF8(true)); err != nil {
		return false
	}
	switch n.Method {
	case "Target.attachedToTarget":
		of := n.Params.Info.TargetID
		if n.Params.Info.Type == "browser" {
			of = ""
		}
		if s.isWide() && of != "" && !v.isOwn(&n.Params.Info) {
			v.release(s, n.Params.SessionID)
			return false
		}
		return v.adopt(n.Params.SessionID, of) != nil
	case "Target.detachedFromTarget":
		return v.abandon(n.Params.SessionID)
	case "Target.targetCreated", "Target.targetInfoChanged":
		return v.isOwn(&n.Params.Info) && v.know(s, n.Params.Info.TargetID)
	case "Target.targetCrashed":
		return v.knows(s, n.Params.TargetID)
	case "Target.targetDestroyed":
		isKnown := v.knows(s, n.Params.TargetID)
		v.locked(func() { delete(s.known, n.Params.TargetID) })
		return isKnown
	}
	return false
}

func (v *View) know(s *session, id target.ID) bool {
	v.locked(func() { s.known[id] = true })
	return true
}

func (v *View) knows(s *session, id target.ID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return s.known[id]
}

// isOwn reports whether a target is in one of the client's contexts, and is a page
// or what a page has made: the browser's own windows have rights that no page has.
func (v *View) isOwn(info *target.Info) bool {
	switch info.Type {
	case "page", "tab", "iframe", "worker", "shared_worker", "service_worker", "worklet", "auction_worklet", "shared_storage_worklet":
	default:
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.contexts[info.BrowserContextID] != nil
}

// release lets go of somebody else's target: a browser that attaches to new
// targets does so to all, and those wait until their debuggers are ready.
func (v *View) release(s *session, foreign target.SessionID) {
	v.spawn(func() {
		for _, text := range []string{
			fmt.Sprintf(ours+`"method":"Runtime.runIfWaitingForDebugger","sessionId":%q}`, foreign),
			fmt.Sprintf(ours+`"method":"Target.detachFromTarget","params":{"sessionId":%q},"sessionId":%q}`, foreign, s.ID()),
		} {
			if v.conn.Forward(v.alive, []byte(text)) != nil {
				return // the view's end lets go of it, too
			}
		}
	})
}

// watch follows the targets in the client's contexts, as the pool's own session
// hears of them.
func (v *View) watch(e devtools.Event) {
	var n notice
	if jsonv2.Unmarshal(e.Params, &n.Params, jsonv2.AllowInvalidUTF8(true)) != nil {
		return
	}
	switch e.Method {
	case "Target.targetCreated":
		if v.isOwn(&n.Params.Info) {
			v.opened(&n.Params.Info)
		}
	case "Target.targetDestroyed":
		v.closed(n.Params.TargetID)
	}
}

// opened counts a target, and closes a window that a page has opened beyond the
// limits.
func (v *View) opened(info *target.Info) {
	isTab := info.Type == "page"
	v.mu.Lock()
	v.targets[info.TargetID] = isTab
	tabs, isAsked := v.tabs(), v.creating > 0
	v.mu.Unlock()
	if !isTab || isAsked {
		return
	}
	if tabs > v.MaxTabs || v.guest.Resize(tabs) != nil {
		v.conn.Post(target.CommandCloseTarget, target.CloseTargetParams{TargetID: info.TargetID})
	}
}

func (v *View) closed(id target.ID) {
	v.mu.Lock()
	wasTab := v.targets[id]
	delete(v.targets, id)
	maps.DeleteFunc(v.windows, func(_ int64, of target.ID) bool { return of == id })
	tabs := v.tabs() + v.creating
	v.mu.Unlock()
	if wasTab {
		_ = v.guest.Resize(tabs) // fewer are always fine
	}
}

// tabs is how many there are. Called with the lock.
func (v *View) tabs() int {
	n := 0
	for _, isTab := range v.targets {
		if isTab {
			n++
		}
	}
	return n
}
