package page

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// nested are frames of the same site and of others, up to three deep, each with a
// place to hit.
func nested() map[string]string {
	const place = `<body style="margin:0"><div id=place style="position:absolute;left:30px;top:20px;width:10px;height:10px"
		onclick="title += 'hit'"></div>`
	const frame = `<iframe style="position:absolute;`
	return map[string]string{
		"/": `<body style="margin:0;height:3000px">` +
			frame + `left:100px;top:1050px;width:300px;height:200px" name=near src=/near></iframe>` +
			frame + `left:500px;top:1050px;width:600px;height:400px;padding:7px" name=far src=http://b.test/far></iframe>` +
			frame + `left:20px;top:1300px;width:100px;height:100px;border:0;transform:scale(2);transform-origin:0 0" src=http://c.test/big></iframe>
			<script>scrollTo(0, 1000)</script>`,
		"/near":  place,
		"/big":   place,
		"/far":   place + frame + `left:50px;top:60px;width:300px;height:200px;border:3px solid" name=inner src=/inner></iframe>`,
		"/inner": place + frame + `left:5px;top:70px;width:100px;height:100px;border:1px solid" name=deep src=http://a.test/deep></iframe>`,
		"/deep":  place,
	}
}

func TestAFrameIsFoundInAnyProcessAndItsPointsAreHit(t *testing.T) {
	for name, args := range modes() {
		t.Run(name, func(t *testing.T) {
			tab := tabOn(t, pages(nested()), args...)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := tab.Open(ctx, "http://a.test/", nil, nil); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string][2]float64{
				"near": {102, 52}, "far": {509, 59}, "http://c.test/": {20, 300}, "inner": {562, 122}, "deep": {568, 193},
			} {
				f, err := tab.frame(ctx, name)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				x, y, err := tab.at(ctx, f, 0, 0)
				if err != nil || math.Abs(x-want[0]) > 0.5 || math.Abs(y-want[1]) > 0.5 {
					t.Errorf("%s: offset: got %v, %v, %v, want %v", name, x, y, err, want)
				}
				if x, y, err = tab.at(ctx, f, 35, 25); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				// A frame that nobody has drawn yet is not hit.
				becomes(ctx, t, name+" to be hit", func() bool {
					hit(ctx, t, tab, x, y)
					var title string
					err := f.call(ctx, ownWorld, `function() { return document.getElementById("place").title }`, &title)
					return err == nil && title != ""
				})
			}
			if _, err := tab.frame(ctx, "nowhere"); status.Code(err) != codes.NotFound {
				t.Errorf("no such frame: got %v, want NotFound", err)
			}
		})
	}
}

// hit clicks at a point of the main viewport.
func hit(ctx context.Context, t *testing.T, tab *Tab, x, y float64) {
	t.Helper()
	for _, kind := range []input.DispatchMouseEventType{input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased} {
		if _, err := devtools.Call(ctx, tab.Session, input.DispatchMouseEvent, input.DispatchMouseEventParams{
			Type: kind, X: x, Y: y, Button: input.MouseButtonLeft, ClickCount: 1,
		}); err != nil {
			t.Fatal(err)
		}
	}
}
