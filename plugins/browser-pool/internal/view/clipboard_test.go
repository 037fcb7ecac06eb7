package view

import (
	"fmt"
	"strings"
	"testing"
)

func TestNothingIsPastedThatAnotherClientHasCopied(t *testing.T) {
	pool := browsers(t)
	ann, bob := &client{View: open(t, pool)}, &client{View: open(t, pool)}
	const document = `data:text/html,<textarea id=a autofocus></textarea><script>seen='';numbers='';onkeydown=(e)=>{if(e.ctrlKey%26%26!(e.altKey||e.metaKey||e.shiftKey))numbers+=[45,67,86,88].includes(e.keyCode)?e.keyCode:''};onpaste=(e)=>seen+=e.clipboardData.getData('text/plain')</script>`
	_, from := ann.page(t, fmt.Sprintf(`{"url":%q}`, document))
	_, to := bob.page(t, fmt.Sprintf(`{"url":%q}`, document))
	evaluate := func(c *client, session, expression string) string {
		t.Helper()
		r := c.ask(t, session, "Runtime.evaluate", fmt.Sprintf(`{"expression":%q,"userGesture":true,"awaitPromise":true}`, expression))
		if r.Error != nil {
			t.Fatal(r.Error.Message)
		}
		return fmt.Sprint(r.Result["result"].(map[string]any)["value"])
	}
	const loaded = `new Promise((done) => setInterval(() => document.readyState === 'complete' && done(0), 5)).then(() => a.focus())`
	evaluate(ann, from, loaded)
	evaluate(bob, to, loaded)
	copied := func() {
		t.Helper()
		if got := evaluate(ann, from, `a.value='secret';a.focus();a.select();document.execCommand('copy')`); got != "true" {
			t.Fatalf("copying: got %s", got)
		}
	}
	pasted := func() string {
		t.Helper()
		return evaluate(bob, to, `(()=>{const all=a.value+seen;a.value=seen='';a.focus();return all})()`)
	}
	press := func(params string) error {
		t.Helper()
		r := bob.ask(t, to, "Input.dispatchKeyEvent", params)
		if r.Error != nil {
			return fmt.Errorf("%s", r.Error.Message)
		}
		return nil
	}
	copied()
	for _, params := range []string{
		`{"type":"rawKeyDown","windowsVirtualKeyCode":86,"modifiers":2,"commands":["paste"]}`, `{"type":"keyDown","windowsVirtualKeyCode":86,"modifiers":2,"key":"v","text":"v"}`,
		`{"type":"rawKeyDown","windowsVirtualKeyCode":86,"modifiers":258}`, `{"type":"rawKeyDown","key":"Paste"}`, `{"type":"rawKeyDown","key":"P\u0061ste","modifiers":8}`, `{"type":"rawKeyDown","code":"Paste"}`,
		`{"type":"char","text":"x","commands":["Paste"]}`, `{"type":"rawKeyDown","key":"a","commands":["moveRight","pasteAndMatchStyle:"]}`,
		`{"type":"keyUp","key":"a","commands":["paste"]}`, `{"type":"rawKeyDown","key":"a","commands":["PasteGlobalSelection"]}`,
	} {
		if err := press(params); err != nil {
			t.Errorf("%s: %v", params, err)
		}
		if got := pasted(); strings.Contains(got, "secret") {
			t.Errorf("%s: got %q", params, got)
		}
	}
	for _, params := range []string{
		`{"type":"rawKeyDown","windowsVirtualKeyCode":131158}`, `{"type":"rawKeyDown","windowsVirtualKeyCode":-86}`, `{"type":"rawKeyDown","windowsVirtualKeyCode":86.0,"modifiers":2}`,
		`{"type":"rawKeyDown","windowsVirtualKeyCode":65,"windowsVirtualKeyCode":86,"modifiers":2}`, `{"type":"rawKeyDown","key":"a","commands":"paste"}`,
	} {
		if err := press(params); err == nil {
			t.Errorf("%s: taken", params)
		}
		if got := pasted(); strings.Contains(got, "secret") {
			t.Errorf("%s: got %q", params, got)
		}
	}
	for number := range 256 {
		for modifiers := range 16 {
			if err := press(fmt.Sprintf(`{"type":"rawKeyDown","windowsVirtualKeyCode":%d,"modifiers":%d}`, number, modifiers)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := pasted(); strings.Contains(got, "secret") {
		t.Errorf("some number of a key: got %q", got)
	}
	if got := evaluate(bob, to, `numbers`); got != "" {
		t.Errorf("keys %s have their number, by which a form in a PDF pastes", got)
	}
	// It is there: what is not looked at pastes it. Otherwise all this shows nothing.
	copied()
	if err := bob.conn.Forward(t.Context(), fmt.Appendf(nil, `{"id":77,"method":"Input.dispatchKeyEvent","params":{"type":"rawKeyDown","windowsVirtualKeyCode":86,"modifiers":2},"sessionId":%q}`, to)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is pasted", func() bool { return strings.Contains(pasted(), "secret") })
}

func TestAnEditorTakesOtherKeysAndCommands(t *testing.T) {
	c := &client{View: open(t, browsers(t))}
	_, session := c.page(t, `{"url":"data:text/html,<textarea id=a autofocus>one</textarea>"}`)
	c.must(t, session, "Runtime.evaluate", `{"expression":"new Promise((done) => setInterval(() => document.readyState === 'complete' && done(0), 5)).then(() => a.focus())","awaitPromise":true}`, "")
	for _, params := range []string{
		`{"type":"rawKeyDown","windowsVirtualKeyCode":35,"key":"End"}`, `{"type":"keyDown","windowsVirtualKeyCode":86,"key":"v","text":"v"}`,
		`{"type":"rawKeyDown","key":"a","commands":["moveToBeginningOfDocument"]}`, `{"type":"keyDown","windowsVirtualKeyCode":67,"key":"C","modifiers":8,"text":"C"}`,
	} {
		c.must(t, session, "Input.dispatchKeyEvent", params, "")
	}
	r := c.ask(t, session, "Runtime.evaluate", `{"expression":"a.value"}`)
	if got := r.Result["result"].(map[string]any)["value"]; got != "Conev" {
		t.Errorf("got %v", got)
	}
}

func TestNoPageMayReadTheClipboard(t *testing.T) {
	c := &client{View: open(t, browsers(t))}
	for _, refused := range [][2]string{
		{"Browser.grantPermissions", `{"permissions":["geolocation","clipboardReadWrite"]}`},
		{"Browser.setPermission", `{"permission":{"name":"clipboard-read"},"setting":"granted"}`},
		{"Browser.setPermission", `{"permission":{"name":"clipboard-write","allowWithoutSanitization":true},"setting":"granted"}`},
	} {
		if r := c.ask(t, "", refused[0], refused[1]); r.Error == nil || !strings.Contains(r.Error.Message, "no page may read it") {
			t.Errorf("%s %s: got %v", refused[0], refused[1], r)
		}
	}
	for _, taken := range [][2]string{
		{"Browser.grantPermissions", `{"permissions":["geolocation","clipboardSanitizedWrite"]}`},
		{"Browser.setPermission", `{"permission":{"name":"clipboard-read"},"setting":"denied"}`},
		{"Browser.setPermission", `{"permission":{"name":"clipboard-write"},"setting":"granted"}`},
		{"Browser.resetPermissions", `{}`},
	} {
		if r := c.ask(t, "", taken[0], taken[1]); r.Error != nil {
			t.Errorf("%s %s: %s", taken[0], taken[1], r.Error.Message)
		}
	}
}
