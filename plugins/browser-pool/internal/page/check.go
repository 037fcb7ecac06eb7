package page

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	maxClicks     = 3
	longestAction = 24 * time.Hour
)

// field is where a request is within the one that the caller has sent: "" or
// "steps[3].click".
type field string

func (f field) of(name string) string {
	if f == "" {
		return name
	}
	return string(f) + "." + name
}

// invalid is the fault of a field within f.
func (f field) invalid(name, format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, "%s: %s", f.of(name), fmt.Sprintf(format, args...))
}

// CheckStep returns the fault of an action that is known without its page, as
// InvalidArgument with the field, or nil. at is where the action is: "" or
// "steps[3].click". The methods of a Tab take only what it has nothing against.
func CheckStep(step *browserv1.Step, at string) error {
	f := field(at)
	switch a := step.GetAction().(type) {
	case *browserv1.Step_Navigate:
		return f.navigate(a.Navigate)
	case *browserv1.Step_Click:
		return f.click(a.Click)
	case *browserv1.Step_Fill:
		return f.target(a.Fill.GetTarget())
	case *browserv1.Step_Press:
		return f.press(a.Press)
	case *browserv1.Step_Select:
		if len(a.Select.GetValues()) == 0 {
			return f.invalid("values", "required")
		}
		return f.target(a.Select.GetTarget())
	case *browserv1.Step_Upload:
		return f.upload(a.Upload)
	case *browserv1.Step_WaitFor:
		return f.waitFor(a.WaitFor)
	case *browserv1.Step_Evaluate:
		if strings.TrimSpace(a.Evaluate.GetExpression()) == "" {
			return f.invalid("expression", "required")
		}
		return f.timeout("timeout", a.Evaluate.GetTimeout())
	case *browserv1.Step_Capture:
		return f.capture(a.Capture)
	case *browserv1.Step_Cookies:
		return f.urls(a.Cookies.GetUrls())
	case *browserv1.Step_SetCookies:
		if len(a.SetCookies.GetCookies()) == 0 {
			return f.invalid("cookies", "required")
		}
		return f.cookies(a.SetCookies.GetCookies())
	}
	return nil
}

// ParseURL takes the URLs that pages may be opened at. The error does not show
// it: it may have secrets.
func ParseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return nil, errors.New("required, unless page.html is set")
	case err != nil:
		return nil, errors.New("not a URL")
	case address == "about:blank":
		return u, nil
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("pages are opened at http and https, and about:blank")
	case u.Hostname() == "":
		return nil, errors.New("it has no host")
	case u.User != nil:
		return nil, errors.New("a user and password belong in page.credentials")
	}
	return u, nil
}

func (f field) timeout(name string, d *durationpb.Duration) error {
	if d != nil && (d.AsDuration() <= 0 || d.AsDuration() > longestAction) {
		return f.invalid(name, "%v, it is above 0s and at most %v", d.AsDuration(), longestAction)
	}
	return nil
}

func (f field) target(t *browserv1.Target) error {
	if strings.TrimSpace(t.GetSelector()) == "" {
		return f.invalid("target.selector", "required")
	}
	return f.timeout("target.timeout", t.GetTimeout())
}

// one checks that exactly one of some fields is set, of which the first is named
// first.
func (f field) one(names string, areSet ...bool) error {
	count := 0
	for _, isSet := range areSet {
		if isSet {
			count++
		}
	}
	if count != 1 {
		first, _, _ := strings.Cut(names, ",")
		return f.invalid(first, "set one of %s; %d are", names, count)
	}
	return nil
}

func (f field) navigate(n *browserv1.NavigateRequest) error {
	if err := f.one("url, back, forward and reload", n.GetUrl() != "", n.GetBack(), n.GetForward(), n.GetReload()); err != nil {
		return err
	}
	if n.GetUrl() != "" {
		if _, err := ParseURL(n.GetUrl()); err != nil {
			return f.invalid("url", "%v", err)
		}
	}
	return f.timeout("timeout", n.GetTimeout())
}

func (f field) click(c *browserv1.ClickRequest) error {
	if !slices.Contains(buttons(), buttonOf(c)) {
		return f.invalid("button", "%q is none of left, middle and right", clip(c.GetButton(), 40))
	}
	if c.GetCount() > maxClicks {
		return f.invalid("count", "%d, it is 1 to %d", c.GetCount(), maxClicks)
	}
	return f.target(c.GetTarget())
}

func (f field) press(p *browserv1.PressRequest) error {
	if len(p.GetKeys()) == 0 {
		return f.invalid("keys", "required")
	}
	for i, text := range p.GetKeys() {
		if _, err := parseStroke(text); err != nil {
			return f.invalid(fmt.Sprintf("keys[%d]", i), "%v", err)
		}
	}
	if p.GetTarget() == nil {
		return nil // the element with the focus
	}
	return f.target(p.GetTarget())
}

func (f field) upload(u *browserv1.UploadRequest) error {
	if len(u.GetFiles()) == 0 {
		return f.invalid("files", "required")
	}
	size := 0
	for i, file := range u.GetFiles() {
		size += len(file.GetContent())
		name := file.GetName()
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") || len(name) > maxName || !utf8.ValidString(name) {
			return f.invalid(fmt.Sprintf("files[%d].name", i), "%q, it is a name of at most %d bytes without directories", clip(name, 100), maxName)
		}
	}
	if size > maxUpload {
		return f.invalid("files", "%d bytes in all, limit %d", size, maxUpload)
	}
	return f.target(u.GetTarget())
}

func (f field) waitFor(w *browserv1.WaitForRequest) error {
	if w.GetWait() == nil && w.GetUrl() == "" {
		return f.invalid("wait", "required, unless url is set")
	}
	if w.GetHidden() && w.GetWait().GetSelector() == "" {
		return f.invalid("hidden", "it is about wait.selector, which is not set")
	}
	return f.timeout("timeout", w.GetTimeout())
}

func (f field) capture(c *browserv1.CaptureRequest) error {
	if err := f.one("picture, print, html and text", c.GetPicture() != nil, c.GetPrint() != nil, c.GetHtml(), c.GetText()); err != nil {
		return err
	}
	if c.GetSelector() != "" && !c.GetText() {
		return f.invalid("selector", "it goes with text; a picture has a selector of its own")
	}
	if err := CheckPicture(c.GetPicture(), f.of("picture")); err != nil {
		return err
	}
	return CheckPrint(c.GetPrint(), f.of("print"))
}

func (f field) urls(urls []string) error {
	for i, text := range urls {
		if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return f.invalid(fmt.Sprintf("urls[%d]", i), "it is no URL of http or https")
		}
	}
	return nil
}

func (f field) cookies(cookies []*browserv1.Cookie) error {
	for i, c := range cookies {
		at := field(f.of(fmt.Sprintf("cookies[%d]", i)))
		switch {
		case c.GetName() == "":
			return at.invalid("name", "required")
		case (c.GetDomain() == "") == (c.GetUrl() == ""):
			return at.invalid("domain", "set one of domain and url")
		case !slices.Contains([]string{"", "Strict", "Lax", "None"}, c.GetSameSite()):
			return at.invalid("same_site", "%q is none of Strict, Lax and None", clip(c.GetSameSite(), 40))
		case c.GetExpires() != nil && !c.GetExpires().IsValid():
			return at.invalid("expires", "it is no time")
		}
	}
	return nil
}
