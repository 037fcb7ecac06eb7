package page

import (
	"context"
	_ "embed"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// resourceTypes are those that Rules.block_types names. Where requests stop,
// browsers do not tell those of fetch from those of XMLHttpRequest.
func resourceTypes() map[string]network.ResourceType {
	return map[string]network.ResourceType{
		"image": network.ResourceTypeImage, "media": network.ResourceTypeMedia, "font": network.ResourceTypeFont,
		"stylesheet": network.ResourceTypeStylesheet, "script": network.ResourceTypeScript, "xhr": network.ResourceTypeXHR,
		"fetch": network.ResourceTypeXHR, "websocket": network.ResourceTypeWebSocket, "document": network.ResourceTypeDocument,
		"other": network.ResourceTypeOther,
	}
}

// interception is which requests stop for a decision of ours. Each that does
// waits for a message there and back, so that only those are made to that a rule
// blocks, or all where a page has credentials.
type interception struct {
	types       map[network.ResourceType]bool
	urls        []string // patterns
	credentials map[string]*browserv1.Credentials
	tried       map[attempt]bool // requests that had their credentials already
}

// attempt is a request that was asked for a user; ids are those of a session.
type attempt struct {
	session target.SessionID
	request fetch.RequestID
}

// setInterception has the browser ask about requests, if the page's options need
// it to.
func (t *Tab) setInterception(p *browserv1.Page, set func(command, undo devtools.Command)) {
	rules := p.GetRules()
	if len(rules.GetBlockTypes())+len(rules.GetBlockUrls())+len(p.GetCredentials()) == 0 {
		return
	}
	i := &interception{
		types: make(map[network.ResourceType]bool), urls: rules.GetBlockUrls(),
		credentials: p.GetCredentials(), tried: make(map[attempt]bool),
	}
	var patterns []*fetch.RequestPattern // none are all
	for _, name := range rules.GetBlockTypes() {
		if name == "websocket" {
			continue // see ruleScript
		}
		i.types[resourceTypes()[name]] = true
		patterns = append(patterns, &fetch.RequestPattern{URLPattern: "*", ResourceType: resourceTypes()[name]})
	}
	for _, text := range i.urls {
		// Here ? is a character of its own, there it stands for any.
		patterns = append(patterns, &fetch.RequestPattern{URLPattern: strings.NewReplacer(`\`, `\\`, `?`, `\?`).Replace(text)})
	}
	t.mu.Lock()
	t.interception = i
	t.mu.Unlock()
	// What a service worker answers is not the page's to stop.
	set(devtools.Do(network.SetBypassServiceWorker, network.SetBypassServiceWorkerParams{Bypass: true}),
		devtools.Do(network.SetBypassServiceWorker, network.SetBypassServiceWorkerParams{}))
	if len(i.credentials) > 0 {
		patterns = nil
	} else if len(patterns) == 0 {
		return
	}
	set(devtools.Do(fetch.Enable, fetch.EnableParams{Patterns: patterns, HandleAuthRequests: new(len(i.credentials) > 0)}),
		devtools.Do(fetch.Disable, cdp.Empty{}))
}

//go:embed rules.js
var rulesSource string

// ruleScript is what holds by a script: sockets do not stop for a decision. The
// second is what takes it away, once the command has been answered.
func ruleScript(rules *browserv1.Rules) (devtools.Command, *page.RemoveScriptToEvaluateOnNewDocumentParams) {
	patterns := slices.Concat([]string{}, rules.GetBlockUrls())
	if slices.Contains(rules.GetBlockTypes(), "websocket") {
		patterns = append(patterns, "*")
	}
	list, err := jsonv2.Marshal(patterns, jsonv2.AllowInvalidUTF8(true))
	if err != nil {
		list = []byte("[]") // strings are always JSON
	}
	source := rulesSource + "(" + string(list) + ")"
	add := page.AddScriptToEvaluateOnNewDocumentParams{Source: source, RunImmediately: new(true)}
	remove := new(page.RemoveScriptToEvaluateOnNewDocumentParams)
	command := devtools.Do(page.AddScriptToEvaluateOnNewDocument, add)
	command.Result = remove // which is how the answer looks
	return command, remove
}

// paused decides about a request of a session that has stopped.
func (t *Tab) paused(s *devtools.Session, e *fetch.EventRequestPaused) {
	t.mu.Lock()
	i, bridged := t.interception, t.bridged
	t.mu.Unlock()
	if bridged {
		t.cross(s, e)
		return
	}
	if i != nil && i.blocks(e, t.isMain(e.FrameID)) {
		t.answer(s, fetch.CommandFailRequest, fetch.FailRequestParams{RequestID: e.RequestID, ErrorReason: network.ErrorReasonBlockedByClient})
		return
	}
	t.answer(s, fetch.CommandContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
}

// answer sends what a request waits for. When the browser has no room for it at
// once, it waits in a goroutine, which ends with the session at the latest: there
// are as many of them as the browser has requests that wait.
func (t *Tab) answer(s *devtools.Session, method string, params any) {
	if !s.Post(method, params) {
		go func() { _ = s.Call(context.Background(), method, params, nil) }() // the request may have ended
	}
}

// blocks reports whether a rule is against a request. The page's own document is
// not meant by its type.
func (i *interception) blocks(e *fetch.EventRequestPaused, isMain bool) bool {
	if i.types[e.ResourceType] && (!isMain || e.ResourceType != network.ResourceTypeDocument) {
		return true
	}
	return slices.ContainsFunc(i.urls, func(pattern string) bool { return fits(pattern, e.Request.URL) })
}

// fits reports whether text is as pattern says, in which * is any text.
func fits(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		at := strings.Index(rest, part)
		if at < 0 {
			return false
		}
		rest = rest[at+len(part):]
	}
	return strings.HasSuffix(rest, parts[last])
}

// authenticate answers a server that asks for a user, once for each request.
func (t *Tab) authenticate(s *devtools.Session, e *fetch.EventAuthRequired) {
	answer := &fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseCancelAuth}
	t.mu.Lock()
	this := attempt{session: s.ID(), request: e.RequestID}
	if i := t.interception; i != nil && !i.tried[this] {
		if found := i.find(e.AuthChallenge); found != nil {
			if len(i.tried) >= maxOpen {
				clear(i.tried) // a page that goes on gets each one's once more
			}
			i.tried[this] = true
			answer = &fetch.AuthChallengeResponse{
				Response: fetch.AuthChallengeResponseResponseProvideCredentials, Username: found.GetUser(), Password: found.GetPassword(),
			}
		}
	}
	t.mu.Unlock()
	t.answer(s, fetch.CommandContinueWithAuth, fetch.ContinueWithAuthParams{RequestID: e.RequestID, AuthChallengeResponse: answer})
}

// find looks a server's credentials up, by "host:port" first. Those of a proxy
// are never asked for: it is ours.
func (i *interception) find(challenge *fetch.AuthChallenge) *browserv1.Credentials {
	u, err := url.Parse(challenge.Origin)
	if err != nil || challenge.Source == fetch.AuthChallengeSourceProxy {
		return nil
	}
	if _, port, err := net.SplitHostPort(destination(challenge.Origin)); err == nil {
		if found := i.credentials[net.JoinHostPort(u.Hostname(), port)]; found != nil {
			return found
		}
	}
	return i.credentials[u.Hostname()]
}
