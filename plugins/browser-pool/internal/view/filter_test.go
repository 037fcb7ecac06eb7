package view

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp/jsonv2"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// reply is a message for the client.
type reply struct {
	ID        int64          `json:"id"`
	Method    string         `json:"method"`
	SessionID string         `json:"sessionId"`
	Result    map[string]any `json:"result"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// client asks one thing after the other and keeps what it hears meanwhile.
type client struct {
	*View

	last  int64
	heard []string
}

// ask returns the answer to a command, which may be an error.
func (c *client) ask(t *testing.T, session, method, params string) reply {
	t.Helper()
	c.last++
	text := fmt.Sprintf(`{"id":%d,"method":%q,"params":%s}`, c.last, method, params)
	if session != "" {
		text = fmt.Sprintf(`{"id":%d,"method":%q,"params":%s,"sessionId":%q}`, c.last, method, params, session)
	}
	if err := c.Receive(t.Context(), []byte(text)); err != nil {
		t.Fatal(err)
	}
	deadline := time.AfterFunc(10*time.Second, func() { c.end(fmt.Errorf("%s: no answer", method)) })
	defer deadline.Stop()
	for {
		text, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var r reply
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if r.ID == c.last {
			return r
		}
		c.heard = append(c.heard, string(text))
	}
}

// must returns a text of a result.
func (c *client) must(t *testing.T, session, method, params, name string) string {
	t.Helper()
	r := c.ask(t, session, method, params)
	if r.Error != nil {
		t.Fatalf("%s: %s", method, r.Error.Message)
	}
	text, _ := r.Result[name].(string)
	return text
}

// page is a new page with its session.
func (c *client) page(t *testing.T, params string) (id, session string) {
	t.Helper()
	id = c.must(t, "", "Target.createTarget", params, "targetId")
	return id, c.must(t, "", "Target.attachToTarget", fmt.Sprintf(`{"targetId":%q,"flatten":true}`, id), "sessionId")
}

func TestAClientSeesAndTouchesOnlyItsOwn(t *testing.T) {
	pool := browsers(t)
	ann, bob := &client{View: open(t, pool)}, &client{View: open(t, pool)}
	if r := bob.ask(t, "", "Target.setDiscoverTargets", `{"discover":true}`); r.Error != nil {
		t.Fatal(r.Error.Message)
	}
	secret := ann.must(t, "", "Target.createBrowserContext", `{}`, "browserContextId")
	tab, session := ann.page(t, fmt.Sprintf(`{"url":"about:blank#ann","browserContextId":%q}`, secret))
	_, own := bob.page(t, `{"url":"about:blank#bob"}`)

	for _, foreign := range []struct{ session, method, params string }{
		{"", "Target.attachToTarget", fmt.Sprintf(`{"targetId":%q,"flatten":true}`, tab)},
		{"", "Target.getTargetInfo", fmt.Sprintf(`{"targetId":%q}`, tab)},
		{"", "Target.closeTarget", fmt.Sprintf(`{"targetId":%q}`, tab)},
		{"", "Target.autoAttachRelated", fmt.Sprintf(`{"targetId":%q,"waitForDebuggerOnStart":true}`, tab)},
		{"", "Target.createTarget", fmt.Sprintf(`{"url":"about:blank","browserContextId":%q}`, secret)},
		{"", "Target.disposeBrowserContext", fmt.Sprintf(`{"browserContextId":%q}`, secret)},
		{"", "Target.detachFromTarget", fmt.Sprintf(`{"sessionId":%q}`, session)},
		{"", "Storage.getCookies", fmt.Sprintf(`{"browserContextId":%q}`, secret)},
		{"", "Browser.grantPermissions", fmt.Sprintf(`{"permissions":[],"browserContextId":%q}`, secret)},
		{"", "Browser.setDownloadBehavior", fmt.Sprintf(`{"behavior":"allow","browserContextId":%q}`, secret)},
		{"", "Browser.getWindowForTarget", fmt.Sprintf(`{"targetId":%q}`, tab)},
		{"", "Browser.setWindowBounds", `{"windowId":1,"bounds":{"width":1}}`},
		{own, "Storage.getCookies", fmt.Sprintf(`{"browserContextId":%q}`, secret)},
		{own, "Target.closeTarget", fmt.Sprintf(`{"targetId":%q}`, tab)},
		{own, "Target.getTargets", `{}`},
		{own, "Target.attachToTarget", fmt.Sprintf(`{"targetId":%q,"flatten":true}`, tab)},
		{session, "Runtime.evaluate", `{"expression":"1"}`},
	} {
		if r := bob.ask(t, foreign.session, foreign.method, foreign.params); r.Error == nil {
			t.Errorf("%s %s in session %q: got %v, want an error", foreign.method, foreign.params, foreign.session, r.Result)
		}
	}
	if r := bob.ask(t, "", "Target.getTargets", `{}`); len(r.Result["targetInfos"].([]any)) != 1 {
		t.Errorf("targets: got %v, want one", r.Result)
	}
	if all := strings.Join(bob.heard, "\n"); strings.Contains(all, tab) || strings.Contains(all, secret) || strings.Contains(all, "#ann") {
		t.Errorf("heard of somebody else's: %s", all)
	}
	if r := ann.ask(t, session, "Runtime.evaluate", `{"expression":"location.href"}`); r.Error != nil {
		t.Errorf("the page has not survived: %s", r.Error.Message)
	}
}

func TestWhatReachesTheMachineOrAllClientsIsRefused(t *testing.T) {
	c := &client{View: open(t, browsers(t))}
	_, session := c.page(t, `{"url":"about:blank"}`)
	for _, in := range []string{"", session} {
		for _, command := range [][2]string{
			{"Browser.crash", `{}`}, {"Browser.getBrowserCommandLine", `{}`}, {"SystemInfo.getInfo", `{}`}, {"SystemInfo.getProcessInfo", `{}`},
			{"Tracing.start", `{}`}, {"Tethering.bind", `{"port":9000}`}, {"Target.exposeDevToolsProtocol", `{}`}, {"Nothing.known", `{}`},
			{"Target.sendMessageToTarget", `{"message":"{}"}`}, {"Target.setRemoteLocations", `{"locations":[]}`}, {"Extensions.loadUnpacked", `{"path":"/"}`},
			{"Page.navigate", `{"url":"file:///etc/passwd"}`}, {"Page.navigate", `{"url":" \tFI\nLE:///etc/passwd"}`}, {"Page.navigate", `{"url":"about:blank","url":"file:///etc/passwd"}`}, {"Page.navigate", `{"url":"view-source:file:///"}`},
			{"Page.navigate", `{"url":"chrome://version"}`}, {"Target.createTarget", `{"url":"file:///etc/passwd"}`},
			{"Target.setAutoAttach", `{"autoAttach":true,"waitForDebuggerOnStart":true}`},
			{"DOM.setFileInputFiles", `{"files":["/etc/passwd"],"backendNodeId":1}`}, {"Page.setDownloadBehavior", `{"behavior":"allow","downloadPath":"/tmp"}`},
			{"Input.dispatchDragEvent", `{"type":"drop","x":1,"y":1,"data":{"items":[],"files":["/etc/passwd"],"dragOperationsMask":1}}`},
		} {
			if r := c.ask(t, in, command[0], command[1]); r.Error == nil {
				t.Errorf("%s %s in session %q: got %v", command[0], command[1], in, r.Result)
			}
		}
	}
	if r := c.ask(t, "", "Browser.setDownloadBehavior", `{"behavior":"allow","downloadPath":"/tmp"}`); r.Error != nil {
		t.Errorf("downloads are denied without a word, as scripts expect: %s", r.Error.Message)
	}
}

func TestNumbersThatEndTheBrowserForAllAreRefused(t *testing.T) {
	pool := browsers(t)
	c := &client{View: open(t, pool)}
	_, session := c.page(t, `{"url":"data:text/html,<input autofocus>"}`)
	for _, command := range [][2]string{
		{"Input.imeSetComposition", `{"text":"a","selectionStart":0,"selectionEnd":0,"replacementStart":-1,"replacementEnd":-1}`},
		{"Input.dispatchTouchEvent", `{"type":"touchStart","touchPoints":[{"x":1,"y":1}],"timestamp":-1e308}`},
		{"Input.dispatchMouseEvent", `{"type":"mouseMoved","x":1e11,"y":1}`},
		{"Storage.overrideQuotaForOrigin", `{"origin":"http://a.test","quotaSize":-1}`},
		{"Storage.overrideQuotaForOrigin", `{"origin":"http://a.test","quotaSize":1e19}`},
	} {
		if r := c.ask(t, session, command[0], command[1]); r.Error == nil {
			t.Errorf("%s %s: no error", command[0], command[1])
		}
	}
	for _, command := range [][2]string{
		{"Input.imeSetComposition", `{"text":"a","selectionStart":-1,"selectionEnd":-1}`},
		{"Input.dispatchTouchEvent", `{"type":"touchStart","touchPoints":[{"x":1,"y":1}],"timestamp":-1e10}`},
		{"Input.dispatchTouchEvent", `{"type":"touchEnd","touchPoints":[],"timestamp":1e10}`},
		{"Input.dispatchMouseEvent", `{"type":"mousePressed","x":1e10,"y":-1e10,"button":"left","timestamp":1e10}`},
		{"Input.dispatchKeyEvent", `{"type":"keyDown","key":"a","timestamp":-1e10}`},
		{"Storage.overrideQuotaForOrigin", `{"origin":"http://a.test","quotaSize":1000000}`}, {"Storage.overrideQuotaForOrigin", `{"origin":"http://a.test"}`},
	} {
		if r := c.ask(t, session, command[0], command[1]); r.Error != nil {
			t.Errorf("%s %s: %s", command[0], command[1], r.Error.Message)
		}
	}
}

func TestAWindowHasTheSizeOfAWindow(t *testing.T) {
	for _, kind := range []browserv1.Engine{browserv1.Engine_HEADLESS_SHELL, browserv1.Engine_CHROMIUM} {
		t.Run(kind.String(), func(t *testing.T) {
			c := &client{View: open(t, browsersOf(t, kind))}
			id, _ := c.page(t, `{"url":"about:blank","width":16384,"height":16384}`)
			window := c.ask(t, "", "Browser.getWindowForTarget", fmt.Sprintf(`{"targetId":%q}`, id)).Result["windowId"]
			for _, command := range [][2]string{
				{"Target.createTarget", `{"url":"about:blank","width":2147483647,"height":1}`},
				{"Browser.setWindowBounds", fmt.Sprintf(`{"windowId":%.0f,"bounds":{"width":2147483647}}`, window)},
				{"Browser.setContentsSize", fmt.Sprintf(`{"windowId":%.0f,"width":2147483647,"height":1}`, window)},
			} {
				if r := c.ask(t, "", command[0], command[1]); r.Error == nil || !strings.Contains(r.Error.Message, "16384 at most") {
					t.Errorf("%s %s: got %v", command[0], command[1], r.Error)
				}
			}
			if r := c.ask(t, "", "Browser.setWindowBounds", fmt.Sprintf(`{"windowId":%.0f,"bounds":{"width":1,"height":16384,"left":-16384,"top":16384}}`, window)); r.Error != nil {
				t.Error(r.Error.Message)
			}
		})
	}
}

func TestAScriptWithUniversalAccessReadsNoFiles(t *testing.T) {
	c := &client{View: open(t, browsers(t))}
	_, session := c.page(t, `{"url":"about:blank"}`)
	tree := c.ask(t, session, "Page.getFrameTree", `{}`).Result["frameTree"].(map[string]any)["frame"].(map[string]any)
	world := c.ask(t, session, "Page.createIsolatedWorld", fmt.Sprintf(`{"frameId":%q,"grantUniveralAccess":true}`, tree["id"])).Result["executionContextId"]
	r := c.ask(t, session, "Runtime.evaluate", fmt.Sprintf(`{"contextId":%v,"awaitPromise":true,"returnByValue":true,"expression":%q}`, world,
		`fetch('file:///etc/passwd').then(r => r.text(), () => 'denied').then(t => { location.href = 'file:///etc/passwd'; return t })`))
	if got := fmt.Sprint(r.Result["result"]); !strings.Contains(got, "denied") {
		t.Errorf("got %.300s", got)
	}
	c.must(t, session, "Page.enable", `{}`, "")
	r = c.ask(t, session, "Runtime.evaluate", `{"awaitPromise":true,"returnByValue":true,"expression":"new Promise(r => setTimeout(() => r(location.href + document.body?.innerText), 300))"}`)
	if got := fmt.Sprint(r.Result["result"], r.Error); strings.Contains(got, "root:") || strings.Contains(got, "file:") {
		t.Errorf("the page is %.300s", got)
	}
}

func TestPagesOfOthersDoNotWaitForAClientsDebugger(t *testing.T) {
	pool := browsers(t)
	ann, bob := &client{View: open(t, pool)}, &client{View: open(t, pool)}
	if r := ann.ask(t, "", "Target.setAutoAttach", `{"autoAttach":true,"waitForDebuggerOnStart":true,"flatten":true}`); r.Error != nil {
		t.Fatal(r.Error.Message)
	}
	_, session := bob.page(t, `{"url":"data:text/html,<title>bob</title>"}`)
	if r := bob.ask(t, session, "Runtime.evaluate", `{"expression":"new Promise(r => setInterval(() => document.title && r(document.title), 5))","awaitPromise":true,"returnByValue":true}`); r.Error != nil {
		t.Error(r.Error.Message)
	}
	tab := ann.must(t, "", "Target.createTarget", `{"url":"about:blank"}`, "targetId")
	if len(ann.heard) != 1 || !strings.Contains(ann.heard[0], tab) {
		t.Errorf("attached to: got %s, want its own tab alone, before the answer", ann.heard)
	}
}

func TestAClientHasItsTabsAndNoMore(t *testing.T) {
	c := &client{View: open(t, browsers(t))}
	var tabs []string
	for range 3 {
		tabs = append(tabs, c.must(t, "", "Target.createTarget", `{"url":"about:blank"}`, "targetId"))
	}
	if r := c.ask(t, "", "Target.createTarget", `{"url":"about:blank"}`); r.Error == nil || !strings.Contains(r.Error.Message, "limit 3") {
		t.Errorf("a fourth: got %v", r)
	}
	session := c.must(t, "", "Target.attachToTarget", fmt.Sprintf(`{"targetId":%q,"flatten":true}`, tabs[0]), "sessionId")
	if r := c.ask(t, session, "Runtime.evaluate", `{"expression":"open('about:blank');0","userGesture":true}`); r.Error != nil {
		t.Fatal(r.Error.Message)
	}
	eventually(t, "the popup is closed", func() bool {
		return len(c.ask(t, "", "Target.getTargets", `{}`).Result["targetInfos"].([]any)) == 3
	})
	c.must(t, "", "Target.closeTarget", fmt.Sprintf(`{"targetId":%q}`, tabs[2]), "")
	eventually(t, "there is room again", func() bool { return c.ask(t, "", "Target.createTarget", `{"url":"about:blank"}`).Error == nil })
}

func TestTheEndOfAViewLeavesNothing(t *testing.T) {
	pool := browsers(t)
	stays := &client{View: open(t, pool)}
	before, tabs := runtime.NumGoroutine(), pool.Counts().Tabs
	for range 3 {
		c := &client{View: open(t, pool)}
		id := c.must(t, "", "Target.createBrowserContext", `{}`, "browserContextId")
		c.page(t, fmt.Sprintf(`{"url":"about:blank","browserContextId":%q}`, id))
		c.page(t, `{"url":"about:blank"}`)
		c.Close()
		if err := c.Receive(t.Context(), []byte(`{"id":1,"method":"Browser.getVersion"}`)); err == nil {
			t.Error("a closed view takes commands")
		}
	}
	var all map[string][]jsonv2.Value
	if err := stays.conn.Call(t.Context(), "Target.getBrowserContexts", nil, &all); err == nil && len(all["browserContextIds"]) != 1 {
		t.Errorf("contexts: got %s, want that of the view that stays", all["browserContextIds"])
	}
	eventually(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	if got := pool.Counts().Tabs; got != tabs {
		t.Errorf("places: got %d, want %d", got, tabs)
	}
}

func TestAClientThatDoesNotReadIsEnded(t *testing.T) {
	c := &client{View: open(t, browsers(t))}
	_, session := c.page(t, `{"url":"about:blank"}`)
	for i := range 40 {
		text := fmt.Sprintf(`{"id":%d,"method":"Runtime.evaluate","params":{"expression":"'x'.repeat(4e6)"},"sessionId":%q}`, i+1000, session)
		if err := c.Receive(t.Context(), []byte(text)); err != nil {
			break
		}
	}
	select {
	case <-c.alive.Done():
	case <-time.After(10 * time.Second):
		t.Error("it has as much memory as it likes")
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(5 * time.Second)
	for !holds() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Errorf("not within 5 s: %s", what)
			return
		}
	}
}
