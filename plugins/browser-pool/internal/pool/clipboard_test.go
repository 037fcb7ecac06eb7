package pool

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// secrets is a page with some, which keeps what its events have of a clipboard.
const secrets = `<input id=i value=secret><textarea id=a>secret</textarea><p id=p>secret</p><button id=b onclick="done = run()">Run</button><script>
	var run, done, seen = []
	for (const name of ["copy", "cut", "paste"]) addEventListener(name, (e) => seen.push(e.clipboardData.getData("text/plain")))
	const select = (e) => { e.focus(); e.select() }
	const clear = () => { i.value = a.value = ""; p.remove(); i.focus() }
	const found = () => [i.value, a.value, document.body.innerText, ...seen].join()
	</script>`

// everyKey is each that copies, cuts or pastes.
func everyKey() []string {
	return []string{"Control+C", "Control+Insert", "Control+V", "Control+Shift+V", "Shift+Insert", "Meta+V", "Control+X", "Shift+Delete", "Paste", "Copy", "Cut"}
}

// clicked has the page run something as by a click, and returns what that is or
// was refused with.
func clicked(ctx context.Context, t *testing.T, tab *page.Tab, script string) string {
	t.Helper()
	value(ctx, t, tab, `run = () => { try { return Promise.resolve(`+script+`).catch(String) } catch (e) { return String(e) } }, 0`)
	if err := click(ctx, tab, "#b"); err != nil {
		t.Error(err)
	}
	text, _ := value(ctx, t, tab, `Promise.resolve(done).then(String)`).(string)
	return text
}

// copies does so in each way that there is.
func copies(ctx context.Context, t *testing.T, tab *page.Tab) {
	t.Helper()
	t.Log("writeText:", clicked(ctx, t, tab, `navigator.clipboard.writeText("secret")`))
	press(ctx, t, tab, "#a", "End", "Shift+Home") // what is selected is on a clipboard of its own
	press(ctx, t, tab, "#i", "Control+A", "Control+C", "Control+Insert", "Control+X", "Control+V")
	if got := clicked(ctx, t, tab, `(select(i), document.execCommand("copy"))`); got != "true" {
		t.Errorf("the page's own copying: %s", got)
	}
}

func TestNothingIsPastedThatAnotherClientHasCopied(t *testing.T) {
	for _, engine := range []browserv1.Engine{browserv1.Engine_HEADLESS_SHELL, browserv1.Engine_CHROMIUM} {
		t.Run(engine.String(), func(t *testing.T) {
			p := start(t, &browserv1.Config{Engine: engine, MaxBrowsers: 1})
			address := serve(t, map[string]string{"/": secrets}) + "/"
			on(t, p, address, func(ctx context.Context, ann *page.Tab) {
				for name, options := range map[string]*browserv1.Page{
					"strict": nil, "reset": {Client: "bob"}, "reset again": {Client: "bob"},
				} {
					_, _, err := p.do(ctx, job{url: address, page: options, work: func(ctx context.Context, h hand) error {
						bob := h.slot.Tab
						value(ctx, t, bob, `clear()`)
						clicked(ctx, t, bob, `0`)
						value(ctx, t, bob, `i.focus()`)
						copies(ctx, t, ann)
						for _, key := range everyKey() {
							press(ctx, t, bob, "", key)
						}
						for _, selector := range []string{"#a", "#i"} {
							if err := bob.Click(ctx, &browserv1.ClickRequest{Target: target(selector), Button: "middle"}, nil); err != nil {
								t.Error(err)
							}
						}
						for _, script := range []string{
							`navigator.clipboard.readText()`, `navigator.clipboard.read().then((all) => all[0].getType("text/plain")).then((blob) => blob.text())`,
							`(i.focus(), document.execCommand("paste"))`,
						} {
							if got := clicked(ctx, t, bob, script); strings.Contains(got, "secret") || got == "true" {
								t.Errorf("%s: %s: got %s", name, script, got)
							}
						}
						if got := value(ctx, t, bob, `found()`).(string); strings.Contains(got, "secret") {
							t.Errorf("%s: got %q", name, got)
						}
						// It is there: a key as the browser knows it pastes it. Otherwise this shows nothing.
						value(ctx, t, bob, `i.focus()`)
						if _, err := devtools.Call(ctx, bob.Session, input.DispatchKeyEvent, input.DispatchKeyEventParams{
							Type: input.DispatchKeyEventTypeRawKeyDown, Modifiers: 2, Key: "v", WindowsVirtualKeyCode: 'V',
						}); err != nil {
							t.Error(err)
						}
						if got := value(ctx, t, bob, `found()`).(string); !strings.Contains(got, "secret") {
							t.Errorf("%s: got %q, want to find what is there", name, got)
						}
						return nil
					}})
					if err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func TestASessionHasAClipboardForItself(t *testing.T) {
	p := start(t, &browserv1.Config{MaxBrowsers: 1})
	address := serve(t, map[string]string{"/": secrets}) + "/"
	ann := open(t, p, &browserv1.OpenRequest{Url: address})
	bob := open(t, p, &browserv1.OpenRequest{Url: address})
	pressed := func(session string, keys ...string) {
		t.Helper()
		if _, err := p.Press(t.Context(), &browserv1.PressRequest{Session: session, Keys: keys, Target: target("#i")}); err != nil {
			t.Error(err)
		}
	}
	pressed(ann, "Control+A", "Control+X")
	evaluate(t, p, bob, `clear()`)
	pressed(bob, "Control+V")
	pressed(ann, "m", "y", "Space", "Control+V")
	if got := evaluate(t, p, bob, `found()`); strings.Contains(got, "secret") {
		t.Errorf("the other one: got %q", got)
	}
	if got := evaluate(t, p, ann, `i.value`); got != "my secret" {
		t.Errorf("its own: got %q, want what it has cut", got)
	}
}
