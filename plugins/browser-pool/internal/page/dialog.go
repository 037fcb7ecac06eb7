package page

import (
	"github.com/chromedp/cdproto/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// SetDialogs says how dialogs are answered, until Reset. With nil, as at first,
// they are dismissed, but the page may be left.
func (t *Tab) SetDialogs(policy *browserv1.DialogPolicy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.policy = policy
}

// dialog answers one at once: nobody is there to see it, and the page stands
// still until it is gone.
func (t *Tab) dialog(e *page.EventJavascriptDialogOpening) {
	isLeaving := e.Type == page.DialogTypeBeforeunload
	t.mu.Lock()
	policy, l := t.policy, t.listener
	answer := page.HandleJavaScriptDialogParams{Accept: policy.GetAccept(), PromptText: policy.GetText()}
	if policy == nil {
		answer.Accept = isLeaving // it is the caller's wish
	}
	if isLeaving && !answer.Accept {
		t.refusals++
	}
	t.mu.Unlock()
	t.Post(page.CommandHandleJavaScriptDialog, answer)
	if l != nil {
		l.event(&browserv1.EventsResponse{Event: &browserv1.EventsResponse_Dialog{Dialog: &browserv1.Dialog{
			Type: string(e.Type), Message: clip(e.Message, maxText-len("…")), Accepted: answer.Accept,
		}}})
	}
}
