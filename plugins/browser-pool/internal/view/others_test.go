package view

import (
	"fmt"
	"strings"
	"testing"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

func TestTheBrowsersOwnWindowsAreNobodys(t *testing.T) {
	c := &client{View: open(t, browsersOf(t, browserv1.Engine_CHROMIUM))}
	if r := c.ask(t, "", "Target.setDiscoverTargets", `{"discover":true,"filter":[{}]}`); r.Error != nil {
		t.Fatal(r.Error.Message)
	}
	c.page(t, `{"url":"about:blank"}`)
	var own struct{ ID, Type string }
	eventually(t, "the browser has windows of its own beside a page", func() bool {
		var all struct {
			Infos []struct {
				ID   string `json:"targetId"`
				Type string `json:"type"`
				URL  string `json:"url"`
			} `json:"targetInfos"`
		}
		if err := c.conn.Call(t.Context(), "Target.getTargets", nil, &all); err != nil {
			t.Fatal(err)
		}
		for _, info := range all.Infos {
			if strings.HasPrefix(info.URL, "chrome://") && info.Type != "page" {
				own.ID, own.Type = info.ID, info.Type
			}
		}
		return own.ID != ""
	})
	if r := c.ask(t, "", "Target.attachToTarget", fmt.Sprintf(`{"targetId":%q,"flatten":true}`, own.ID)); r.Error == nil {
		t.Errorf("attached to the browser's own %s", own.Type)
	}
	targets := c.ask(t, "", "Target.getTargets", `{"filter":[{}]}`)
	if all := strings.Join(c.heard, "") + fmt.Sprint(targets.Result); strings.Contains(all, "chrome://") {
		t.Errorf("heard of the browser's own: %s", all)
	}
}

func TestAPageThatDoesNotWantToEndCostsNobodyTheBrowser(t *testing.T) {
	for _, kind := range []browserv1.Engine{browserv1.Engine_HEADLESS_SHELL, browserv1.Engine_CHROMIUM} {
		t.Run(kind.String(), func(t *testing.T) {
			pool := browsersOf(t, kind)
			stays := &client{View: open(t, pool)}
			for _, script := range []string{
				`onbeforeunload = e => e.preventDefault(); alert(1)`, `onbeforeunload = () => { for (;;); }`, `onpagehide = () => { for (;;); }`,
				`setTimeout(() => { for (;;); })`, `setTimeout(print)`, `debugger`,
			} {
				c := &client{View: open(t, pool)}
				_, session := c.page(t, `{"url":"data:text/html,hello"}`)
				for _, domain := range []string{"Page", "Debugger"} {
					c.must(t, session, domain+".enable", `{}`, "")
				}
				begun := fmt.Sprintf(`{"id":1000,"method":"Runtime.evaluate","params":{"userGesture":true,"expression":%q},"sessionId":%q}`, script, session)
				if err := c.Receive(t.Context(), []byte(begun)); err != nil {
					t.Fatal(err)
				}
				c.heardOf(t, `"id":1000`, "Page.javascriptDialogOpening", "Debugger.paused")
				c.Close()
				if err := stays.conn.Err(); err != nil {
					t.Fatalf("%s: %v", script, err)
				}
			}
			stays.page(t, `{"url":"about:blank"}`)
		})
	}
}

// heardOf waits for a message that has one of some texts in it.
func (c *client) heardOf(t *testing.T, texts ...string) {
	t.Helper()
	for {
		message, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if strings.Contains(string(message), text) {
				return
			}
		}
	}
}
