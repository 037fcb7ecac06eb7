package page

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxSide is the longest side of a picture in device pixels. Beyond it
	// Chromium repeats or leaves out parts.
	maxSide = 16384

	// maxPixels bounds a picture's memory, four bytes a pixel in several copies.
	maxPixels = 100_000_000

	// maxResult is the longest HTML or text that is returned.
	maxResult = 32 << 20
)

// CheckPicture returns the fault of a picture's options; at as in Check.
func CheckPicture(p *browserv1.Picture, at string) error {
	f := field(at)
	if p.GetQuality() > 100 {
		return f.invalid("quality", "%d, it is 1 to 100", p.GetQuality())
	}
	kinds := 0
	for _, isSet := range []bool{p.GetFullPage(), p.GetSelector() != "", p.GetClip() != nil} {
		if isSet {
			kinds++
		}
	}
	if kinds > 1 {
		return status.Errorf(codes.InvalidArgument, "%s: one of full_page, selector and clip, not %d", at, kinds)
	}
	if c := p.GetClip(); c != nil && !(c.GetWidth() > 0 && c.GetHeight() > 0 && c.GetX() >= 0 && c.GetY() >= 0 &&
		c.GetWidth() < math.MaxInt32 && c.GetHeight() < math.MaxInt32 && c.GetX() < math.MaxInt32 && c.GetY() < math.MaxInt32) {
		return f.invalid("clip", "x and y are at least 0, width and height above it")
	}
	return nil
}

// Picture takes a picture of the page.
func (t *Tab) Picture(ctx context.Context, p *browserv1.Picture) ([]byte, error) {
	params := page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng, OptimizeForSpeed: new(true)}
	switch p.GetFormat() {
	case browserv1.Picture_JPEG:
		params.Format = page.CaptureScreenshotFormatJpeg
	case browserv1.Picture_WEBP:
		params.Format = page.CaptureScreenshotFormatWebp
	case browserv1.Picture_FORMAT_UNSPECIFIED, browserv1.Picture_PNG:
	}
	if params.Format != page.CaptureScreenshotFormatPng {
		quality := int64(p.GetQuality())
		if quality == 0 {
			quality = 80
		}
		params.Quality = &quality
	}
	area, err := t.area(ctx, p)
	if err != nil {
		return nil, err
	}
	if area != nil {
		params.Clip, params.CaptureBeyondViewport = area, new(true)
	}
	if p.GetTransparent() {
		// cdproto leaves out an alpha of 0, which the browser takes for 1.
		none := jsonv2.Value(`{"color":{"r":0,"g":0,"b":0,"a":0}}`)
		if err := t.Call(ctx, emulation.CommandSetDefaultBackgroundColorOverride, none, nil); err != nil {
			return nil, t.Fault(ctx, err, "the picture")
		}
		defer t.Post(emulation.CommandSetDefaultBackgroundColorOverride, emulation.SetDefaultBackgroundColorOverrideParams{})
	}
	var picture []byte
	err = t.steadily(ctx, func() (err error) {
		picture, err = t.shoot(ctx, params)
		return err
	})
	return picture, t.Fault(ctx, err, "the picture")
}

// lostTime is after which a picture is given up of a page that has gone elsewhere
// and is there: the browser forgets those that it was asked for before.
const lostTime = 500 * time.Millisecond

func (t *Tab) shoot(ctx context.Context, params page.CaptureScreenshotParams) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before := t.mark()
	go func() { // it ends with ctx
		isElsewhere := func() (bool, time.Duration) { return t.navigations > before && t.milestone >= loaded, 0 }
		if t.await(ctx, "", isElsewhere) != nil {
			return
		}
		timer := time.NewTimer(lostTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(errElsewhere)
		case <-ctx.Done():
		}
	}()
	taken, err := devtools.Call(ctx, t.Session, page.CaptureScreenshot, params)
	return taken.Data, err
}

// area is the part of the page that is wanted; nil for the viewport.
func (t *Tab) area(ctx context.Context, p *browserv1.Picture) (*page.Viewport, error) {
	area := &page.Viewport{Scale: 1}
	switch {
	case p.GetFullPage():
		metrics, err := devtools.Call(ctx, t.Session, page.GetLayoutMetrics, cdp.Empty{})
		if err != nil {
			return nil, t.Fault(ctx, err, "the size of the page")
		}
		area.Width, area.Height = math.Ceil(metrics.CSSContentSize.Width), math.Ceil(metrics.CSSContentSize.Height)
	case p.GetSelector() != "":
		e, err := t.seen(ctx, t.main(), p.GetSelector(), "picture.selector")
		if err != nil {
			return nil, err
		}
		defer e.release()
		var box [4]float64
		if err := e.call(ctx, boxOf, &box); err != nil {
			return nil, t.Fault(ctx, err, "the element")
		}
		area.X, area.Y, area.Width, area.Height = box[0], box[1], box[2], box[3]
	case p.GetClip() != nil:
		c := p.GetClip()
		area.X, area.Y, area.Width, area.Height = c.GetX(), c.GetY(), c.GetWidth(), c.GetHeight()
	default:
		return nil, nil //nolint:nilnil // no area is the viewport
	}
	width, height := area.Width*t.viewport.scale, area.Height*t.viewport.scale
	if width > maxSide || height > maxSide || width*height > maxPixels {
		return nil, status.Errorf(codes.FailedPrecondition, "the picture would have %.0f x %.0f pixels; at most %d on a side and %d in all: ask for a clip or a smaller viewport.scale",
			width, height, maxSide, maxPixels)
	}
	return area, nil
}

// boxOf is where an element is on the page: x, y, width, height.
const boxOf = `function() {
	const box = this.getBoundingClientRect()
	return [box.x + scrollX, box.y + scrollY, box.width, box.height]
}`

// HTML is the document as it is now, doctype included.
func (t *Tab) HTML(ctx context.Context) (string, error) {
	const function = `function(most) {
		const doctype = document.doctype ? new XMLSerializer().serializeToString(document.doctype) + "\n" : ""
		const html = document.documentElement ? document.documentElement.outerHTML : ""
		return html.length > most ? null : doctype + html
	}`
	var html *string
	if err := t.steadily(ctx, func() error { return t.call(ctx, ownWorld, function, &html, maxResult/4) }); err != nil {
		return "", t.Fault(ctx, err, "the document")
	}
	return bounded(html, "the document")
}

//go:embed text.js
var readable string

// Text is what a person would read on the page, or in the element that a selector
// fits.
func (t *Tab) Text(ctx context.Context, selector string) (string, error) {
	var text *string
	if selector == "" {
		if err := t.steadily(ctx, func() error { return t.call(ctx, ownWorld, readable, &text, maxResult/4) }); err != nil {
			return "", t.Fault(ctx, err, "the text")
		}
		return bounded(text, "the text")
	}
	e, err := t.seen(ctx, t.main(), selector, "selector")
	if err != nil {
		return "", err
	}
	defer e.release()
	if err := e.call(ctx, readable, &text, maxResult/4); err != nil {
		return "", t.Fault(ctx, err, "the text")
	}
	return bounded(text, "the text")
}

// bounded is a text that a function has returned, null if it was longer than a
// quarter of maxResult: a character has up to four bytes.
func bounded(text *string, what string) (string, error) {
	if text == nil {
		return "", status.Errorf(codes.ResourceExhausted, "%s has more than %d characters", what, maxResult/4)
	}
	return *text, nil
}

// Info is the page as it is now. The caller adds isolation and engine.
func (t *Tab) Info(ctx context.Context) (*browserv1.PageInfo, error) {
	var title string
	const function = `function() { return String(document.title).slice(0, 4096) }`
	if err := t.steadily(ctx, func() error { return t.call(ctx, ownWorld, function, &title) }); err != nil {
		return nil, t.Fault(ctx, err, "the title")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	info := t.here()
	info.Title = title
	return info, nil
}

// Usage is what the page's job has used until now.
type Usage struct {
	CPU      float64 // seconds of its renderer, since that started
	Requests uint32
	Received uint64
}

// Used asks for the renderer's CPU time and tells it with what was counted here.
func (t *Tab) Used(ctx context.Context) (Usage, error) {
	metrics, err := devtools.Call(ctx, t.Session, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		return Usage{}, fmt.Errorf("usage: %w", err)
	}
	usage := t.Counted()
	for _, m := range metrics.Metrics {
		if m.Name == "ProcessTime" {
			usage.CPU = m.Value
		}
	}
	return usage, nil
}

// Counted is what is known of the usage without asking: not the CPU time.
func (t *Tab) Counted() Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Usage{Requests: t.requests, Received: t.received}
}
