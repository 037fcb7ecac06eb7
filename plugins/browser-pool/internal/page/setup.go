package page

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/security"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// viewport is what a page is shown in.
type viewport struct {
	width, height int64
	scale         float64
	mobile        bool
}

func viewportOf(v *browserv1.Viewport) viewport {
	if v == nil {
		return viewport{width: DefaultWidth, height: DefaultHeight, scale: 1}
	}
	scale := v.GetScale()
	if scale == 0 {
		scale = 1
	}
	return viewport{width: int64(v.GetWidth()), height: int64(v.GetHeight()), scale: scale, mobile: v.GetMobile()}
}

func (v viewport) params() emulation.SetDeviceMetricsOverrideParams {
	return emulation.SetDeviceMetricsOverrideParams{Width: v.width, Height: v.height, DeviceScaleFactor: v.scale, Mobile: v.mobile}
}

// Set prepares a tab for a page as p says. Reset undoes it.
func (t *Tab) Set(ctx context.Context, p *browserv1.Page) error {
	if len(p.GetStorage()) > 0 {
		if err := t.restore(ctx, p.GetStorage()); err != nil {
			return err
		}
	}
	var do, shared []devtools.Command
	set := func(command, undo devtools.Command) {
		do = append(do, command)
		t.undo = append(t.undo, undo)
		shared = append(shared, command)
	}
	if v := viewportOf(p.GetViewport()); v != t.viewport {
		t.viewport = v // the next job sets its own
		do = append(do, devtools.Do(emulation.SetDeviceMetricsOverride, v.params()))
	}
	t.setIdentity(p, set)
	t.setNetwork(p, set)
	if p.GetNoJavascript() {
		set(devtools.Do(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}),
			devtools.Do(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{}))
	}
	if len(shared) > 0 {
		var script devtools.Command
		script, t.script = ruleScript(p.GetRules())
		do, shared = append(do, script), append(shared, script)
	}
	t.share(shared)
	if len(do) > 0 {
		if err := t.Batch(ctx, do...); err != nil {
			return t.refused(ctx, err)
		}
	}
	return t.setCookies(ctx, "page.cookies", cookieParams(p.GetCookies()))
}

// refused is the error of an option that the browser does not take: an unknown
// timezone, say.
func (t *Tab) refused(ctx context.Context, err error) error {
	if protocol := protocolError(err); protocol != "" {
		return status.Errorf(codes.InvalidArgument, "page: %s", protocol)
	}
	return t.Fault(ctx, err, "the page's options")
}

// setIdentity is who the browser says it is.
func (t *Tab) setIdentity(p *browserv1.Page, set func(command, undo devtools.Command)) {
	if p.GetUserAgent() != "" || p.GetLocale() != "" {
		set(devtools.Do(emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: p.GetUserAgent(), AcceptLanguage: p.GetLocale()}),
			devtools.Do(emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{}))
	}
	if p.GetLocale() != "" {
		set(devtools.Do(emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: strings.ReplaceAll(p.GetLocale(), "-", "_")}),
			devtools.Do(emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{}))
	}
	if p.GetTimezone() != "" {
		set(devtools.Do(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: p.GetTimezone()}),
			devtools.Do(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{}))
	}
	if p.GetDark() {
		dark := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}
		set(devtools.Do(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: dark}),
			devtools.Do(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{}))
	}
}

// setNetwork is what its requests have, and which of them are let through.
func (t *Tab) setNetwork(p *browserv1.Page, set func(command, undo devtools.Command)) {
	if len(p.GetHeaders()) > 0 {
		headers := make(network.Headers, len(p.GetHeaders()))
		for name, value := range p.GetHeaders() {
			headers[name] = value
		}
		set(devtools.Do(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers}),
			devtools.Do(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{}}))
	}
	if p.GetIgnoreCertificates() {
		set(devtools.Do(security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}),
			devtools.Do(security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{}))
	}
	rules := p.GetRules()
	if rules.GetOffline() || rules.GetThrottle() != nil {
		set(devtools.Do(network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: conditions(rules)}),
			devtools.Do(network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: []*network.Conditions{}}))
		// The browser passes them on to its network process and does not wait. What
		// comes after them on the same way has an answer; the cache is empty yet.
		arrived := devtools.Do(network.ClearBrowserCache, cdp.Empty{})
		arrived.Await = true
		set(arrived, devtools.Do(network.ClearBrowserCache, cdp.Empty{}))
	}
	t.setInterception(p, set)
}

func conditions(rules *browserv1.Rules) []*network.Conditions {
	rate := func(bytes uint64) float64 {
		if bytes == 0 {
			return -1
		}
		return float64(bytes)
	}
	throttle := rules.GetThrottle()
	return []*network.Conditions{{
		Offline:            rules.GetOffline(),
		Latency:            float64(throttle.GetLatency().AsDuration()) / float64(time.Millisecond),
		DownloadThroughput: rate(throttle.GetDown()),
		UploadThroughput:   rate(throttle.GetUp()),
	}}
}

// Check returns the fault of a page's options, as InvalidArgument with the field,
// or nil. at is where they are: "page".
func Check(p *browserv1.Page, at string) error {
	f := field(at)
	if v := p.GetViewport(); v != nil {
		if v.GetWidth() < 1 || v.GetWidth() > 10000 || v.GetHeight() < 1 || v.GetHeight() > 10000 {
			return f.invalid("viewport", "%d x %d, each side is 1 to 10000", v.GetWidth(), v.GetHeight())
		}
		if s := v.GetScale(); s != 0 && (math.IsNaN(s) || s < 0.1 || s > 8) {
			return f.invalid("viewport.scale", "%v, it is 0.1 to 8", s)
		}
	}
	if n := len(p.GetHtml()); n > maxHTML {
		return f.invalid("html", "%d bytes, limit %d", n, maxHTML)
	}
	for _, name := range slices.Sorted(maps.Keys(p.GetHeaders())) {
		if !isToken(name) || strings.ContainsAny(p.GetHeaders()[name], "\r\n\x00") {
			return f.invalid("headers", "%q is no name of a header, or its value has a line end", name)
		}
		if isBrowsers(name) {
			return f.invalid("headers", "%q is the browser's own to set", name)
		}
	}
	if err := f.cookies(p.GetCookies()); err != nil {
		return err
	}
	if len(p.GetStorage()) > 0 {
		if _, err := parseStorage(p.GetStorage()); err != nil {
			return f.invalid("storage", "%v", err)
		}
	}
	if err := f.timeout("timeout", p.GetTimeout()); err != nil {
		return err
	}
	if d := p.GetRules().GetThrottle().GetLatency().AsDuration(); d < 0 {
		return f.invalid("rules.throttle.latency", "%v, it is 0s or above", d)
	}
	for _, name := range p.GetRules().GetBlockTypes() {
		if _, ok := resourceTypes()[name]; !ok {
			return f.invalid("rules.block_types", "%q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(resourceTypes())), ", "))
		}
	}
	return nil
}

// maxHTML is the longest page that is shown without a URL.
const maxHTML = 8 << 20

// isBrowsers reports whether a header is one that browsers fail requests for
// instead of sending it.
func isBrowsers(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "host", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "cookie2":
		return true
	}
	return strings.HasPrefix(name, "proxy-")
}

func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
