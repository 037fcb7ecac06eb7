package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
)

// parseProxy reads a proxy as browsers have them: a URL, or host and port.
func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no proxy is no fault
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	proxy, err := url.Parse(text)
	if err != nil || proxy.Host == "" || strings.ContainsAny(text, ";,") {
		return nil, errors.New("proxyServer is no URL of one proxy") // its text may have a password
	}
	switch proxy.Scheme {
	case "http", "https", "socks5":
		return proxy, nil
	}
	return nil, fmt.Errorf("proxyServer: scheme %q: http, https and socks5 are possible", proxy.Scheme)
}

// answer is what a command that is answered here does.
type answer func(ctx context.Context, c *command) (any, error)

// own is how a command of a session of the browser is answered here; nil for
// those that are not.
func (v *View) own(method string) answer {
	switch method {
	case "Browser.close":
		return v.leave
	case "Target.getTargets":
		return v.getTargets
	case "Target.createTarget":
		return v.createTarget
	case "Target.getBrowserContexts":
		return v.getContexts
	case "Target.createBrowserContext":
		return v.createContext
	case "Target.disposeBrowserContext":
		return v.disposeContext
	case "Browser.getWindowForTarget":
		return v.getWindow
	}
	return nil
}

// ask answers a command beside those that come after it.
func (v *View) ask(ctx context.Context, c *command, do answer) error {
	select {
	case v.asked <- struct{}{}:
	case <-v.alive.Done():
		return context.Cause(v.alive)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	v.spawn(func() {
		defer func() { <-v.asked }()
		ctx, cancel := context.WithTimeoutCause(v.alive, commandTime, errSlowBrowser)
		defer cancel()
		result, err := do(ctx, c)
		if err != nil {
			v.tell(c.refusal(err))
			return
		}
		v.tell(c.result(result))
		if c.method == "Browser.close" {
			v.end(io.EOF)
		}
	})
	return nil
}

// leave ends the client's browser, once it has the answer.
func (v *View) leave(context.Context, *command) (any, error) { return struct{}{}, nil }

func (v *View) getTargets(ctx context.Context, c *command) (any, error) {
	params := c.params
	if params == nil {
		params = jsonv2.Value(`{}`)
	}
	var all target.GetTargetsResult
	if err := v.conn.Call(ctx, c.method, params, &all); err != nil {
		return nil, err
	}
	own := make([]*target.Info, 0, len(all.TargetInfos))
	for _, info := range all.TargetInfos {
		if v.isOwn(info) {
			own = append(own, info)
		}
	}
	return map[string]any{"targetInfos": own}, nil
}

func (v *View) createTarget(ctx context.Context, c *command) (any, error) {
	m, err := c.members()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(m.checkURL(), m.checkSize()); err != nil {
		return nil, err
	}
	for name := range m {
		switch name {
		case "url", "left", "top", "width", "height", "windowState", "browserContextId", "newWindow", "background", "forTab", "focus":
		default:
			delete(m, name) // a hidden one would never end, the rest is for one operating system each
		}
	}
	params, err := v.inContext(m)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	tabs := v.tabs() + v.creating + 1
	if tabs <= v.MaxTabs {
		v.creating++
	}
	v.mu.Unlock()
	if tabs > v.MaxTabs {
		return nil, fmt.Errorf("%d tabs are open, limit %d for one client (cdp.max_tabs): close one first", tabs-1, v.MaxTabs)
	}
	defer v.locked(func() { v.creating-- })
	if err := v.guest.Resize(tabs); err != nil {
		return nil, err
	}
	var made jsonv2.Value
	err = v.conn.Call(ctx, c.method, params, &made)
	return made, err
}

// getContexts are those that the client has made: no browser lists its default.
func (v *View) getContexts(context.Context, *command) (any, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	made := make([]cdp.BrowserContextID, 0, len(v.contexts))
	for id := range v.contexts {
		if id != v.standard {
			made = append(made, id)
		}
	}
	return map[string]any{"browserContextIds": made}, nil
}

func (v *View) createContext(ctx context.Context, c *command) (any, error) {
	m, err := c.members()
	if err != nil {
		return nil, err
	}
	proxy, err := m.text("proxyServer")
	if err != nil {
		return nil, err
	}
	id, err := v.newContext(ctx, target.CreateBrowserContextParams{ProxyServer: proxy})
	return map[string]any{"browserContextId": id}, err
}

func (v *View) disposeContext(ctx context.Context, c *command) (any, error) {
	m, err := c.members()
	if err != nil {
		return nil, err
	}
	id, err := m.text("browserContextId")
	if err != nil {
		return nil, err
	}
	if err := v.checkContext(m); err != nil || id == "" || cdp.BrowserContextID(id) == v.standard {
		return nil, errors.Join(errors.New("no browser context of this client has this id"), err)
	}
	return struct{}{}, v.dispose(ctx, cdp.BrowserContextID(id))
}

// getWindow is the window of a target of the client's, or of the session's own.
func (v *View) getWindow(ctx context.Context, c *command) (any, error) {
	m, err := c.members()
	if err != nil {
		return nil, err
	}
	if err := v.checkTarget(m, c.target != ""); err != nil {
		return nil, err
	}
	id, err := m.text("targetId")
	if id == "" {
		id = string(c.target)
	}
	if err != nil {
		return nil, err
	}
	var window struct {
		ID     int64        `json:"windowId"`
		Bounds jsonv2.Value `json:"bounds"`
	}
	err = v.conn.Call(ctx, c.method, map[string]string{"targetId": id}, &window)
	if err == nil {
		v.locked(func() { v.windows[window.ID] = target.ID(id) })
	}
	return window, err
}
