package page

import (
	"context"
	"strings"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fields is a page of all that text is copied from and pasted into. seen are its
// clipboard's events.
const fields = `<input id=one value=first><input id=two><textarea id=area></textarea><div id=rich contenteditable></div>
	<input id=pass type=password value=hidden><input id=mail type=email value=a@b.test><input id=fixed readonly value=fixed><p id=text tabindex=0>some <b>text</b></p><p id=own tabindex=0>own</p>
	<x-a id=x></x-a><script>
	x.attachShadow({ mode: "open" }).innerHTML = "<input id=deep value=deep>"
	var seen = ""
	for (const name of ["copy", "cut", "paste"]) addEventListener(name, (e) => seen += name + " " + e.composedPath()[0].id + " ")
	own.oncopy = (e) => { e.clipboardData.setData("text/plain", "the page's"); e.preventDefault() }
	own.onpaste = (e) => { own.textContent = "got " + e.clipboardData.getData("text/plain"); e.preventDefault() }
	const select = (e) => { e.focus?.(); e.select ? e.select() : getSelection().selectAllChildren(e) }
	</script>`

// desk is a document in which keys are pressed.
type desk struct {
	*Tab

	frame string
}

func (d desk) value(ctx context.Context, t *testing.T, expression string) string {
	t.Helper()
	v, err := d.Evaluate(ctx, &browserv1.EvaluateRequest{Frame: d.frame, Expression: "String(" + expression + ")"})
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v.GetStringValue()
}

func (d desk) press(ctx context.Context, t *testing.T, keys string) {
	t.Helper()
	if err := d.Press(ctx, &browserv1.PressRequest{Keys: strings.Fields(keys)}); err != nil {
		t.Fatalf("%s: %v", keys, err)
	}
}

func TestATabPastesWhatItHasCopied(t *testing.T) {
	pages := pages(map[string]string{"/": `<iframe name=near src=/fields></iframe><iframe name=far src=http://b.test/outer></iframe>` + fields, "/fields": fields,
		"/outer": `<iframe name=deep src=http://c.test/fields></iframe>`})
	for mode, args := range modes() {
		tab := tabOn(t, pages, args...)
		for _, name := range []string{"", "near", "deep"} {
			t.Run(mode+" in frame "+name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				defer cancel()
				if err := tab.Open(ctx, "http://a.test/", nil, nil); err != nil {
					t.Fatal(err)
				}
				d := desk{tab, name}
				for _, step := range []struct{ do, keys, look, want string }{
					{`select(one)`, "Control+C", `seen`, "copy one "},
					{`two.focus()`, "Control+V Control+V", `two.value`, "firstfirst"},
					{`area.focus()`, "a Shift+Insert Enter Meta+V", `area.value`, "afirst\nfirst"},
					{`rich.focus()`, "Control+Shift+V", `rich.textContent`, "first"},
					{`select(area)`, "Control+X", `area.value`, ""},
					{`area.focus()`, "Control+Z", `area.value`, "afirst\nfirst"},
					{`(rich.textContent = "", rich.focus())`, "Control+V", `rich.innerText.trim()`, "afirst\nfirst"},
					{`select(two)`, "Control+V", `two.value`, "afirst first"},
					{`select(mail)`, "Control+Insert", `mail.value`, "a@b.test"},
					{`select(two)`, "Shift+Insert End Shift+Home Shift+Delete Control+V x", `two.value`, "a@b.testx"},
					{`select(rich)`, "Control+X", `rich.textContent`, ""},
					{`select(text)`, "Control+C", `text.textContent`, "some text"},
					{`select(two)`, "Control+V", `two.value`, "some text"},
					{`select(pass)`, "Control+C Control+X", `pass.value`, "hidden"},
					{`select(fixed)`, "Control+X", `fixed.value`, "fixed"},
					{`(fixed.select(), two.value = "", two.focus())`, "Control+V", `two.value`, "some text"},
					{`select(x.shadowRoot.getElementById("deep"))`, "Control+C End Control+V", `x.shadowRoot.getElementById("deep").value`, "deepdeep"},
					{`select(own)`, "Control+C", `own.textContent`, "own"},
					{`select(own)`, "Control+V", `own.textContent`, "got the page's"},
					{`(addEventListener("keydown", (e) => e.preventDefault()), seen = "", select(two))`, "Control+X Control+V", `seen + two.value`, "some text"},
				} {
					d.value(ctx, t, step.do)
					d.press(ctx, t, step.keys)
					if got := d.value(ctx, t, step.look); got != step.want {
						t.Errorf("%s, %s: got %q, want %q", step.do, step.keys, got, step.want)
					}
				}
			})
		}
	}
}

// A form in a PDF knows keys by these numbers, and asks nobody before it pastes.
func TestKeysOfTheClipboardHaveNoNumber(t *testing.T) {
	d := desk{Tab: tabOn(t, pages(map[string]string{"/": fields}))}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := d.Open(ctx, "http://a.test/", nil, nil); err != nil {
		t.Fatal(err)
	}
	d.value(ctx, t, `(keys = [], addEventListener("keydown", (e) => keys.push(e.key + " " + e.keyCode)))`)
	d.press(ctx, t, "Control+C Shift+Insert Shift+Delete Control+B")
	want := "Control 17,c 0,Shift 16,Insert 0,Shift 16,Delete 0,Control 17,b 66"
	if got := d.value(ctx, t, `keys`); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestATabForgetsWhatItHasCopied(t *testing.T) {
	d := desk{Tab: tabOn(t, pages(map[string]string{"/": fields}))}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	open := func() {
		t.Helper()
		if err := d.Open(ctx, "http://a.test/", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	open()
	d.value(ctx, t, `select(one)`)
	d.press(ctx, t, "Control+C")
	open() // the clipboard is the tab's, not the page's
	d.value(ctx, t, `two.focus()`)
	d.press(ctx, t, "Control+V")
	if got := d.value(ctx, t, `two.value`); got != "first" {
		t.Errorf("on the next page: got %q, want what was copied", got)
	}
	if err := d.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	open()
	d.value(ctx, t, `two.focus()`)
	d.press(ctx, t, "Control+V")
	if got := d.value(ctx, t, `two.value`); got != "" {
		t.Errorf("after Reset: got %q, want nothing", got)
	}
}

func TestTheClipboardIsBounded(t *testing.T) {
	d := desk{Tab: tabOn(t, pages(map[string]string{"/": fields}))}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := d.Open(ctx, "http://a.test/", nil, nil); err != nil {
		t.Fatal(err)
	}
	d.value(ctx, t, `(area.value = "x".repeat(2 ** 20 + 1), select(area))`)
	err := d.Press(ctx, &browserv1.PressRequest{Keys: []string{"Control+X"}})
	if status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "keys: cut: the text has 1048577 characters, limit 1048576" {
		t.Errorf("got %v", err)
	}
	if got := d.value(ctx, t, `area.value.length`); got != "1048577" {
		t.Errorf("%s characters are left", got)
	}
	d.value(ctx, t, `(area.value = "x".repeat(2 ** 20), select(area))`)
	d.press(ctx, t, "Control+C End Control+V")
	if got := d.value(ctx, t, `area.value.length`); got != "2097152" {
		t.Errorf("%s characters after pasting the longest text", got)
	}
}
