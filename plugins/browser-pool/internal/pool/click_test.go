package pool

import (
	"context"
	"testing"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func click(ctx context.Context, tab *page.Tab, selector string) error {
	return tab.Click(ctx, &browserv1.ClickRequest{Target: target(selector)}, nil)
}

const clicks = `<script>var clicked = []; addEventListener("click", (e) => clicked.push(e.composedPath()[0].id + ":" + e.isTrusted))</script>`

func TestAClickHitsItsElementWhereverThatIs(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{
		"/": clicks + `<button id=plain>Plain</button> <button id=twin hidden>x</button><button id=twin>x</button>
			<a id=wrapped href=#w style="display:inline-block;width:90px"><span id=span>Sign   in
			here</span></a>
			<div style="width:200px;height:100px;overflow:auto"><div style="height:900px"></div><button id=scrolled>S</button></div>
			<div style="zoom:1.7"><button id=zoomed>Z</button></div>
			<div style="height:90px;transform:rotate(30deg) scale(.5) translate(150px,10px);transform-origin:0 0"><button id=turned>T</button></div>
			<label id=label for=hiddenbox>L</label><label><input type=checkbox id=hiddenbox style="opacity:0;position:absolute"><span id=mark style="position:relative;background:#eee">box</span></label>
			<p style="width:8em">words before that fill the line <a id=broken href="#b">a link that breaks over several lines of text</a> after</p>
			<div id=contents style="display:contents">text alone</div>
			<div style="height:3000px"></div><button id=below>Below</button><div style="height:400px"></div>
			<div style="position:fixed;bottom:0;left:0;right:0;height:120px;background:#ccc">bar</div>
			<div style="position:fixed;top:0;right:0;width:400px;height:120px;background:#ccc">bar</div>`,
	})
	for selector, want := range map[string]string{
		"#plain": "plain:true", "#twin": "twin:true", "text=Sign in here": "span:true", "#scrolled": "scrolled:true", "#zoomed": "zoomed:true",
		"#turned": "turned:true", "#hiddenbox": "mark:true hiddenbox:true", "#broken": "broken:true", "#below": "below:true", "text=text alone": "contents:true",
	} {
		t.Run(selector, func(t *testing.T) {
			on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
				if err := click(ctx, tab, selector); err != nil {
					t.Fatal(err)
				}
				if got := value(ctx, t, tab, `clicked.join(" ")`); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		})
	}
}

func TestAClickWaitsUntilItsElementCanBeHit(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{
		"/": clicks + `<style>@keyframes go { from { left: 0 } to { left: 400px } }</style>
			<button id=moves style="position:absolute;top:50px;animation:go .4s linear forwards">M</button>
			<button id=disabled disabled>D</button><button id=covered style="position:absolute;top:100px">C</button>
			<div id=overlay class="a b" style="position:absolute;top:90px;left:0;width:300px;height:100px;background:#00f8"></div>
			<script>
				setTimeout(() => overlay.remove(), 300)
				setTimeout(() => disabled.disabled = false, 300)
				setTimeout(() => document.body.insertAdjacentHTML("beforeend", "<button id=late>L</button>"), 300)
			</script>`,
	})
	for _, id := range []string{"moves", "disabled", "covered", "late"} {
		t.Run(id, func(t *testing.T) {
			on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
				if err := click(ctx, tab, "#"+id); err != nil {
					t.Fatal(err)
				}
				if got := value(ctx, t, tab, `clicked.join(" ")`); got != id+":true" {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

func TestWhatCannotBeClickedIsSaid(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{
		"/": `<button id=disabled disabled>D</button><fieldset disabled><button id=set><b id=inner>S</b></button></fieldset>
			<button id=covered style="position:absolute;top:100px">C</button><p class=none hidden>a</p><p class=none hidden>b</p>
			<div id=overlay class="a b" style="position:absolute;top:90px;left:0;width:300px;height:100px"></div>
			<button>Sign in now</button><button id=away style="position:fixed;left:-500px">A</button>`,
	})
	on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
		for selector, want := range map[string]struct {
			code codes.Code
			text string
		}{
			"#disabled":        {codes.FailedPrecondition, `selector "#disabled": it is disabled (waited 1.5s)`},
			"#inner":           {codes.FailedPrecondition, `selector "#inner": it is disabled (waited 1.5s)`},
			"#covered":         {codes.FailedPrecondition, `selector "#covered": it is covered by <div id="overlay" class="a b" style="position:absolute;top:90px;left:0;width:300px;height:100px"> (waited 1.5s)`},
			"#away":            {codes.FailedPrecondition, `selector "#away": it cannot be brought into the viewport (waited 1.5s)`},
			"#nothing":         {codes.NotFound, `selector "#nothing": no element fits (waited 1.5s)`},
			".none":            {codes.NotFound, `selector ".none": none of the 2 elements that fit can be seen (waited 1.5s)`},
			"text=Sign in":     {codes.NotFound, `selector "text=Sign in": no element has this text alone; there is "Sign in now" (waited 1.5s)`},
			"#disabled >>> #x": {codes.NotFound, `selector "#disabled >>> #x": no element that fits "#disabled" has an open shadow root (waited 1.5s)`},
			"a[":               {codes.InvalidArgument, `target.selector: "a[" is no selector: CSS, parts of it joined by >>> through shadow roots, or text=`},
		} {
			err := tab.Click(ctx, &browserv1.ClickRequest{Target: briefly(selector)}, nil)
			if s := status.Convert(err); s.Code() != want.code || s.Message() != want.text {
				t.Errorf("%s: got %v, want %v: %s", selector, err, want.code, want.text)
			}
		}
	})
}

func TestSelectorsGoThroughShadowRoots(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{
		"/": clicks + `<x-a></x-a><x-a id=second></x-a><script>
			const define = (name, html) => customElements.define(name, class extends HTMLElement {
				constructor() { super(); this.attachShadow({ mode: "open" }).innerHTML = html(this) } })
			define("x-c", () => "<p>deep <button id=deep title='a >>> b'>Press <b>me</b></button></p>")
			define("x-b", () => "<div><x-c></x-c></div>")
			define("x-a", (e) => e.id ? "<span>none</span><slot></slot>" : "<x-b></x-b>")
		</script>`,
	})
	for selector, want := range map[string]string{
		"x-a >>> x-b >>> x-c >>> button": "deep:true", "x-a>>>x-b>>>x-c>>>[title='a >>> b']": "deep:true",
		"text=Press me": "deep:true", "x-a >>> text=Press me": "deep:true", "#second >>> text=none": ":true",
	} {
		t.Run(selector, func(t *testing.T) {
			on(t, p, url+"/", func(ctx context.Context, tab *page.Tab) {
				if err := click(ctx, tab, selector); err != nil {
					t.Fatal(err)
				}
				if got := value(ctx, t, tab, `clicked.join(" ")`); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		})
	}
}
