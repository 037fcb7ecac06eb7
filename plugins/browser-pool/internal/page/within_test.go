package page

import (
	"context"
	"strings"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// controls is a page of frames within each other, of one site and of others, the
// innermost with something of each kind to act on.
func controls() map[string]string {
	const inner = `<body style="margin:0"><div style="height:700px"></div>
		<input id=text> <select id=list><option>a<option>b</select> <input type=file id=file hidden><label for=file>Choose</label>
		<x-a></x-a> <button id=send onclick="parent.postMessage('x', '*'); sent = [text.value, list.value, file.files[0].name, deep].join()">Send</button>
		<script>var deep = "", sent = ""
			customElements.define("x-a", class extends HTMLElement { constructor() { super()
				this.attachShadow({ mode: "open" }).innerHTML = "<button>Deep</button>"
				this.shadowRoot.firstChild.onclick = () => deep = "clicked" } })</script>`
	const frame = `<iframe style="position:absolute;left:40px;top:900px;width:500px;height:300px;border:2px solid" name=`
	return map[string]string{
		"/":     `<body style="height:3000px"><div id=overlay style="position:fixed;top:0;left:0;right:0;bottom:0;z-index:9;display:none">` + `</div>` + frame + `near src=/near></iframe>` + frame + `far src=http://b.test/far></iframe>`,
		"/near": inner,
		"/far":  `<body style="height:2000px">` + frame + `deep src=http://c.test/deep></iframe>` + frame + `same src=/same></iframe>`,
		"/deep": inner,
		"/same": inner,
	}
}

func TestActionsWorkInFramesOfAnyProcess(t *testing.T) {
	for mode, args := range modes() {
		t.Run(mode, func(t *testing.T) {
			for _, name := range []string{"near", "deep", "same"} {
				tab := tabOn(t, pages(controls()), args...)
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				defer cancel()
				if err := tab.Open(ctx, "http://a.test/", nil, nil); err != nil {
					t.Fatal(err)
				}
				in := func(selector string) *browserv1.Target { return &browserv1.Target{Selector: selector, Frame: name} }
				do := func(what string, err error) {
					t.Helper()
					if err != nil {
						t.Errorf("%s in %s: %v", what, name, err)
					}
				}
				// The frame that is above the others is not the one that is meant.
				do("raise", tab.raise(ctx, name))
				do("fill", tab.Fill(ctx, &browserv1.FillRequest{Target: in("#text"), Text: "a"}))
				do("press", tab.Press(ctx, &browserv1.PressRequest{Target: in("#text"), Keys: []string{"End", "b"}}))
				do("press again", tab.Press(ctx, &browserv1.PressRequest{Keys: []string{"c"}}))
				_, err := tab.Select(ctx, &browserv1.SelectRequest{Target: in("#list"), Values: []string{"b"}})
				do("select", err)
				do("upload", tab.Upload(ctx, &browserv1.UploadRequest{Target: in("text=Choose"), Files: []*browserv1.File{{Name: "f", Content: []byte("x")}}}, t.TempDir()))
				do("click in the shadow", tab.Click(ctx, &browserv1.ClickRequest{Target: in("x-a >>> button")}, nil))
				do("click", tab.Click(ctx, &browserv1.ClickRequest{Target: in("text=Send")}, nil))
				do("wait", tab.WaitFor(ctx, &browserv1.WaitForRequest{Wait: &browserv1.Wait{Expression: "sent"}, Frame: name}))
				value, err := tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "sent", Frame: name})
				do("evaluate", err)
				if got := value.GetStringValue(); got != "abc,b,f,clicked" {
					t.Errorf("%s: got %q", name, got)
				}
				_, err = tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "(() => { for (;;) {} })()", Frame: name, Timeout: durationpb.New(300 * time.Millisecond)})
				if status.Code(err) != codes.DeadlineExceeded {
					t.Errorf("an endless loop in %s: got %v", name, err)
				}
				value, err = tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "overlay.style.display = 'block'"})
				do("after it "+value.GetStringValue(), err)
				value, err = tab.Evaluate(ctx, &browserv1.EvaluateRequest{Expression: "deep", Frame: name})
				do("in the frame "+value.GetStringValue(), err)
				short := in("#send")
				short.Timeout = durationpb.New(700 * time.Millisecond)
				err = tab.Click(ctx, &browserv1.ClickRequest{Target: short}, nil)
				if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), `its frame is covered by <div id="overlay"`) {
					t.Errorf("a covered frame: got %v", err)
				}
			}
		})
	}
}

// raise puts a frame, and the one that it is in, above the others.
func (t *Tab) raise(ctx context.Context, name string) error {
	const up = `(name) => { for (const f of document.querySelectorAll("iframe")) if (f.name === name) f.style.zIndex = 1 }`
	f, err := t.frame(ctx, "far")
	if err != nil {
		return err
	}
	if err := f.call(ctx, mainWorld, up, nil, name); err != nil {
		return err
	}
	if name != "near" {
		return t.call(ctx, mainWorld, up, nil, "far")
	}
	return t.call(ctx, mainWorld, up, nil, name)
}
