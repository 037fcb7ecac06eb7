package view

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
)

// Receive takes a message of the client's. What is wrong with it is answered to
// the client; the error says that the view has ended.
func (v *View) Receive(ctx context.Context, text []byte) error {
	if v.alive.Err() != nil {
		return context.Cause(v.alive)
	}
	c, err := parse(text)
	if err != nil {
		v.tell(c.refusal(fmt.Errorf("message: %w", err)))
		return nil
	}
	s := v.sessionOf(&c)
	if s == nil {
		v.tell(c.refusal(errors.New("no session with this sessionId")))
		return nil
	}
	if !s.isWide() && isPlain(c.method) {
		return v.conn.Forward(ctx, c.in(s.ID(), nil))
	}
	c.target = s.target
	if ask := v.own(c.method); ask != nil && (s.isWide() || c.method == "Browser.getWindowForTarget") {
		return v.ask(ctx, &c, ask)
	}
	params, err := v.judge(s, &c)
	if err != nil {
		v.tell(c.refusal(err))
		return nil
	}
	return v.conn.Forward(ctx, c.in(s.ID(), params))
}

func (v *View) sessionOf(c *command) *session {
	if c.session == "" {
		return v.root
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sessions[c.session]
}

// isPlain reports whether a command of a page's session reaches that page only,
// and its own browser context. Of domains that are not named here nothing is
// known, so that what Chromium learns next year is refused at first.
func isPlain(method string) bool {
	domain, _, _ := strings.Cut(method, ".")
	switch domain {
	case "Page", "DOM", "Network":
		switch method {
		case "Page.navigate", // files of this machine
			"Page.setDownloadBehavior", "DOM.setFileInputFiles", "Network.loadNetworkResource":
			return false
		}
		return true
	case "Emulation":
		return !strings.HasSuffix(method, "Screen") // all windows have the same screens
	case "Accessibility", "Animation", "Audits", "BackgroundService", "CSS", "CacheStorage", "Console", "DOMDebugger", "DOMSnapshot", "DOMStorage",
		"Debugger", "DeviceOrientation", "EventBreakpoints", "Fetch", "HeapProfiler", "IO", "IndexedDB", "Inspector", "LayerTree", "Log",
		"Media", "Overlay", "Performance", "PerformanceTimeline", "Preload", "Profiler", "Runtime", "Schema", "Security", "ServiceWorker",
		"WebAudio", "WebAuthn":
		return true
	}
	return false
}

// members are the parameters of a command.
type members map[string]jsonv2.Value

func (c *command) members() (members, error) {
	m := make(members)
	if c.params == nil {
		return m, nil
	}
	if err := jsonv2.Unmarshal(c.params, &m, jsonv2.DefaultOptionsV2()); err != nil {
		return nil, fmt.Errorf("%s: params: %w", c.method, err)
	}
	return m, nil
}

// text is a member that is a text, "" if it is not there.
func (m members) text(name string) (string, error) {
	var text string
	if value, ok := m[name]; ok {
		if err := jsonv2.Unmarshal(value, &text); err != nil {
			return "", fmt.Errorf("%s is no text", name)
		}
	}
	return text, nil
}

func (m members) encode() (jsonv2.Value, error) {
	return jsonv2.Marshal(m, jsonv2.DefaultOptionsV2())
}

// judge decides about a command that is not plain. It is to be sent with other
// parameters, unless they are nil, or is refused with the error.
func (v *View) judge(s *session, c *command) (jsonv2.Value, error) {
	m, err := c.members()
	if err != nil {
		return nil, err
	}
	switch c.method {
	case "Target.setAutoAttach":
		return nil, m.isFlat()
	case "Target.detachFromTarget":
		return nil, v.checkSession(m)
	case "Page.navigate":
		return nil, m.checkURL()
	case "Browser.getVersion", "Target.setDiscoverTargets":
		return nil, nil
	case "Browser.getWindowBounds", "Browser.setWindowBounds", "Browser.setContentsSize":
		return nil, errors.Join(v.checkWindow(m), m.checkSize())
	case "Browser.setDownloadBehavior":
		m["behavior"] = jsonv2.Value(`"deny"`)
		delete(m, "downloadPath")
		return v.inContext(m)
	}
	switch {
	case s.isWide():
		return v.judgeWide(c, m)
	case strings.HasPrefix(c.method, "Input."):
		return m.judgeInput(c)
	case c.method == "Storage.overrideQuotaForOrigin":
		return nil, m.checkPositive(maxQuota, "quotaSize")
	case strings.HasPrefix(c.method, "Storage."):
		return nil, v.checkContext(m)
	}
	return nil, refused(c.method)
}

// judgeWide is judge for the commands that a session of the browser has alone.
func (v *View) judgeWide(c *command, m members) (jsonv2.Value, error) {
	switch c.method {
	case "Target.attachToTarget":
		return nil, errors.Join(m.isFlat(), v.checkTarget(m, false), v.checkSessions())
	case "Target.attachToBrowserTarget":
		return nil, v.checkSessions()
	case "Target.getTargetInfo":
		return nil, v.checkTarget(m, true)
	case "Target.activateTarget", "Target.closeTarget", "Target.autoAttachRelated":
		return nil, v.checkTarget(m, false)
	case "Storage.getCookies", "Storage.setCookies", "Storage.clearCookies", "Browser.resetPermissions":
		return v.inContext(m)
	case "Browser.grantPermissions", "Browser.setPermission":
		if err := m.checkPermission(); err != nil {
			return nil, err
		}
		return v.inContext(m)
	}
	return nil, refused(c.method)
}

func refused(method string) error {
	return fmt.Errorf("%s is not for clients of a shared browser", method)
}

func (m members) isFlat() error {
	var isFlat, isOn bool
	on, ok := m["autoAttach"]
	if ok && jsonv2.Unmarshal(on, &isOn) == nil && !isOn {
		return nil
	}
	if jsonv2.Unmarshal(m["flatten"], &isFlat) != nil || !isFlat {
		return errors.New("flatten has to be true: sessions within messages are of another time")
	}
	return nil
}

// checkURL lets pages of the web through, and no files of this machine.
func (m members) checkURL() error {
	text, err := m.text("url")
	if err != nil || text == "" {
		return err
	}
	text = strings.TrimLeft(strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(text), "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	scheme, _, _ := strings.Cut(text, ":")
	switch strings.ToLower(scheme) {
	case "http", "https", "about", "data", "blob":
		return nil
	}
	return fmt.Errorf("url %.80q: only pages of http, https, about, data and blob are shown", text)
}

func (v *View) checkTarget(m members, mayBeNone bool) error {
	id, err := m.text("targetId")
	if err != nil || id == "" && mayBeNone {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.targets[target.ID(id)]; !ok {
		return errors.New("no target with given id found")
	}
	return nil
}

// checkWindow looks whether a window is one that the client was told of.
func (v *View) checkWindow(m members) error {
	var id int64
	if err := jsonv2.Unmarshal(m["windowId"], &id); err != nil {
		return errors.New("windowId is no integer")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.windows[id] == "" {
		return errors.New("no window with this windowId")
	}
	return nil
}

func (v *View) checkSession(m members) error {
	id, err := m.text("sessionId")
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.sessions[target.SessionID(id)]; s == nil || s == v.root {
		return errors.New("no session with given id")
	}
	return nil
}

func (v *View) checkSessions() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.sessions) >= maxSessions {
		return fmt.Errorf("%d sessions, limit %d: detach from some first", len(v.sessions), maxSessions)
	}
	return nil
}

// checkContext looks whether a context that is named is the client's.
func (v *View) checkContext(m members) error {
	id, err := m.text("browserContextId")
	if err != nil || id == "" {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.contexts[cdp.BrowserContextID(id)] == nil {
		return fmt.Errorf("no browser context of this client has the id %.40q", id)
	}
	return nil
}

// inContext are parameters that name a context: the one that the client names, or
// its default.
func (v *View) inContext(m members) (jsonv2.Value, error) {
	if err := v.checkContext(m); err != nil {
		return nil, err
	}
	if id, err := m.text("browserContextId"); err == nil && id == "" {
		m["browserContextId"] = jsonv2.Value(fmt.Sprintf("%q", v.standard))
	}
	return m.encode()
}
