package page

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// resourceTypes are those that Rules.block_types names.
func resourceTypes() map[string]network.ResourceType {
	return map[string]network.ResourceType{
		"image": network.ResourceTypeImage, "media": network.ResourceTypeMedia, "font": network.ResourceTypeFont,
		"stylesheet": network.ResourceTypeStylesheet, "script": network.ResourceTypeScript, "xhr": network.ResourceTypeXHR,
		"fetch": network.ResourceTypeFetch, "websocket": network.ResourceTypeWebSocket, "document": network.ResourceTypeDocument,
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
	tried       map[fetch.RequestID]bool // requests that had their credentials already
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
		credentials: p.GetCredentials(), tried: make(map[fetch.RequestID]bool),
	}
	var patterns []*fetch.RequestPattern // none are all
	for _, name := range rules.GetBlockTypes() {
		i.types[resourceTypes()[name]] = true
		patterns = append(patterns, &fetch.RequestPattern{URLPattern: "*", ResourceType: resourceTypes()[name]})
	}
	for _, text := range i.urls {
		// Here ? is a character of its own, there it stands for any.
		patterns = append(patterns, &fetch.RequestPattern{URLPattern: strings.NewReplacer(`\`, `\\`, `?`, `\?`).Replace(text)})
	}
	if len(i.credentials) > 0 {
		patterns = nil
	}
	t.mu.Lock()
	t.interception = i
	t.mu.Unlock()
	set(devtools.Do(fetch.Enable, fetch.EnableParams{Patterns: patterns, HandleAuthRequests: new(len(i.credentials) > 0)}),
		devtools.Do(fetch.Disable, cdp.Empty{}))
	// A service worker's requests are not the page's to stop.
	set(devtools.Do(network.SetBypassServiceWorker, network.SetBypassServiceWorkerParams{Bypass: true}),
		devtools.Do(network.SetBypassServiceWorker, network.SetBypassServiceWorkerParams{}))
}

// paused decides about a request that has stopped.
func (t *Tab) paused(e *fetch.EventRequestPaused) {
	t.mu.Lock()
	i, bridged := t.interception, t.bridged
	t.mu.Unlock()
	if bridged {
		t.cross(e)
		return
	}
	if i != nil && i.blocks(e, t.isMain(e.FrameID)) {
		t.Post(fetch.CommandFailRequest, fetch.FailRequestParams{RequestID: e.RequestID, ErrorReason: network.ErrorReasonBlockedByClient})
		return
	}
	t.Post(fetch.CommandContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
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
func (t *Tab) authenticate(e *fetch.EventAuthRequired) {
	answer := &fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseCancelAuth}
	t.mu.Lock()
	if i := t.interception; i != nil && !i.tried[e.RequestID] {
		if found := i.find(e.AuthChallenge); found != nil {
			i.tried[e.RequestID] = true
			answer = &fetch.AuthChallengeResponse{
				Response: fetch.AuthChallengeResponseResponseProvideCredentials, Username: found.GetUser(), Password: found.GetPassword(),
			}
		}
	}
	t.mu.Unlock()
	t.Post(fetch.CommandContinueWithAuth, fetch.ContinueWithAuthParams{RequestID: e.RequestID, AuthChallengeResponse: answer})
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
