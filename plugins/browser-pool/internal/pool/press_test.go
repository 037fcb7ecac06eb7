package pool

import (
	"context"
	"strings"
	"testing"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/google/go-cmp/cmp"
)

func press(ctx context.Context, t *testing.T, tab *page.Tab, selector string, keys ...string) {
	t.Helper()
	request := &browserv1.PressRequest{Keys: keys}
	if selector != "" {
		request.Target = target(selector)
	}
	if err := tab.Press(ctx, request); err != nil {
		t.Errorf("%v: %v", keys, err)
	}
}

func TestAPageSeesKeysAsOfAKeyboard(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<input id=i><script>var seen = []
		const note = (e) => seen.push([e.type.slice(3), e.key, e.code, e.keyCode,
			(e.ctrlKey ? "C" : "") + (e.shiftKey ? "S" : "") + (e.altKey ? "A" : "") + (e.metaKey ? "M" : ""), e.repeat, e.isTrusted, e.location].join(" "))
		for (const name of ["keydown", "keypress", "keyup"]) i.addEventListener(name, note)</script>`})
	for key, want := range map[string]string{
		"a":          "down a KeyA 65  false true 0\npress a KeyA 97  false true 0\nup a KeyA 65  false true 0",
		"A":          "down Shift ShiftLeft 16 S false true 1\ndown A KeyA 65 S false true 0\npress A KeyA 65 S false true 0\nup A KeyA 65 S false true 0\nup Shift ShiftLeft 16  false true 1",
		"Shift+a":    "down Shift ShiftLeft 16 S false true 1\ndown A KeyA 65 S false true 0\npress A KeyA 65 S false true 0\nup A KeyA 65 S false true 0\nup Shift ShiftLeft 16  false true 1",
		"Control+A":  "down Control ControlLeft 17 C false true 1\ndown a KeyA 65 C false true 0\nup a KeyA 65 C false true 0\nup Control ControlLeft 17  false true 1",
		"Enter":      "down Enter Enter 13  false true 0\npress Enter Enter 13  false true 0\nup Enter Enter 13  false true 0",
		"ArrowDown":  "down ArrowDown ArrowDown 40  false true 0\nup ArrowDown ArrowDown 40  false true 0",
		"Space":      "down   Space 32  false true 0\npress   Space 32  false true 0\nup   Space 32  false true 0",
		"F5":         "down F5 F5 116  false true 0\nup F5 F5 116  false true 0",
		"Alt+Meta+x": "down Alt AltLeft 18 A false true 1\ndown Meta MetaLeft 91 AM false true 1\ndown x KeyX 88 AM false true 0\nup x KeyX 88 AM false true 0\nup Meta MetaLeft 91 A false true 1\nup Alt AltLeft 18  false true 1",
		"Control++":  "down Control ControlLeft 17 C false true 1\ndown = Equal 187 C false true 0\nup = Equal 187 C false true 0\nup Control ControlLeft 17  false true 1",
		"Shift":      "down Shift ShiftLeft 16 S false true 1\nup Shift ShiftLeft 16  false true 1",
	} {
		t.Run(key, func(t *testing.T) {
			on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
				press(ctx, t, tab, "#i", key)
				if diff := cmp.Diff(want, value(ctx, t, tab, `seen.join("\n")`)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestKeysEdit(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<form onsubmit="document.title = 'sent'; return false"><input id=a value=one><input id=b value=two><textarea id=c></textarea><button tabindex=-1>S</button></form><button id=d>D</button>`})
	on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
		state := func() string {
			t.Helper()
			return value(ctx, t, tab, `[a.value, b.value, c.value, document.activeElement.id, document.title].join("|")`).(string)
		}
		for _, step := range []struct {
			keys string
			want string
		}{
			{"End ! č 漢", "one!č漢|two||a|"},
			{"Control+A x", "x|two||a|"},
			{"Control+Z", "one!č漢|two||a|"},
			{"Control+Shift+Z", "x|two||a|"},
			{"Control+A Control+C Tab End Control+V", "x|twox||b|"},
			{"Control+A Control+X", "x|||b|"},
			{"Control+V Control+V", "x|twoxtwox||b|"},
			{"Home Delete Shift+Tab Backspace", "|woxtwox||a|"},
			{"t w o Space w o r d s Control+ArrowLeft Shift+Home Delete", "words|woxtwox||a|"},
			{"End Control+Backspace", "|woxtwox||a|"},
			{"Tab Tab a Enter b", "|woxtwox|a\nb|c|"},
			{"Shift+Tab Enter", "|woxtwox|a\nb|b|sent"},
		} {
			keys := strings.Split(step.keys, " ")
			selector := ""
			if step.keys == "End ! č 漢" {
				selector = "#a"
			}
			press(ctx, t, tab, selector, keys...)
			if got := state(); got != step.want {
				t.Errorf("%s: got %q, want %q", step.keys, got, step.want)
			}
		}
	})
}

func TestClicksAreOfTheButtonAndCountAskedFor(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<p id=p>single</p><script>var seen = []
		for (const name of ["mousedown", "mouseup", "click", "dblclick", "auxclick", "contextmenu"])
			addEventListener(name, (e) => { seen.push([name, e.button, e.buttons, e.detail].join(" ")); if (name === "contextmenu") e.preventDefault() })</script>`})
	for _, test := range []struct {
		request *browserv1.ClickRequest
		want    string
	}{
		{&browserv1.ClickRequest{Count: 2}, "mousedown 0 1 1,mouseup 0 0 1,click 0 0 1,mousedown 0 1 2,mouseup 0 0 2,click 0 0 2,dblclick 0 0 2 selected single"},
		{&browserv1.ClickRequest{Button: "right"}, "mousedown 2 2 1,contextmenu 2 2 0,mouseup 2 0 1,auxclick 2 0 1 selected "},
		{&browserv1.ClickRequest{Button: "middle"}, "mousedown 1 4 1,mouseup 1 0 1,auxclick 1 0 1 selected "},
	} {
		on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
			test.request.Target = target("#p")
			if err := tab.Click(ctx, test.request, nil); err != nil {
				t.Fatal(err)
			}
			if got := value(ctx, t, tab, `seen.join(",") + " selected " + getSelection().toString()`); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}
