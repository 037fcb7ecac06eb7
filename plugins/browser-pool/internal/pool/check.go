package pool

import (
	"fmt"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	maxSteps      = 1000
	maxUpload     = 16 << 20
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

func (f field) invalid(name, format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, "%s: %s", f.of(name), fmt.Sprintf(format, args...))
}

// checkSteps returns the fault of the first step that has one, before any of them
// is taken.
func checkSteps(steps []*browserv1.Step) error {
	if len(steps) < 1 || len(steps) > maxSteps {
		return field("").invalid("steps", "%d steps, 1 to %d may be", len(steps), maxSteps)
	}
	for i, step := range steps {
		at := field(fmt.Sprintf("steps[%d]", i))
		name, request := actionOf(step)
		if name == "" {
			return at.invalid("action", "required: one of navigate, click, fill, …")
		}
		at = field(at.of(name))
		if request.GetSession() != "" {
			return at.invalid("session", "not set in a step: Run has a page of its own")
		}
		if err := at.checkStep(step); err != nil {
			return err
		}
	}
	return nil
}

// checkStep returns the fault of a step's request, which is at f.
func (f field) checkStep(step *browserv1.Step) error {
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
		if a.WaitFor.GetWait() == nil && a.WaitFor.GetUrl() == "" {
			return f.invalid("wait", "required, unless url is set")
		}
		if a.WaitFor.GetHidden() && a.WaitFor.GetWait().GetSelector() == "" {
			return f.invalid("hidden", "it needs wait.selector")
		}
		return f.timeout("timeout", a.WaitFor.GetTimeout())
	case *browserv1.Step_Evaluate:
		if a.Evaluate.GetExpression() == "" {
			return f.invalid("expression", "required")
		}
		return f.timeout("timeout", a.Evaluate.GetTimeout())
	case *browserv1.Step_Capture:
		return f.capture(a.Capture)
	case *browserv1.Step_SetCookies:
		if len(a.SetCookies.GetCookies()) == 0 {
			return f.invalid("cookies", "required")
		}
		return page.Check(&browserv1.Page{Cookies: a.SetCookies.GetCookies()}, string(f))
	}
	return nil
}

func (f field) timeout(name string, d *durationpb.Duration) error {
	if d != nil && (d.AsDuration() <= 0 || d.AsDuration() > longestAction) {
		return f.invalid(name, "%v, it is above 0s and at most %v", d.AsDuration(), longestAction)
	}
	return nil
}

func (f field) target(t *browserv1.Target) error {
	if t.GetSelector() == "" {
		return f.invalid("target.selector", "required")
	}
	return f.timeout("target.timeout", t.GetTimeout())
}

func (f field) navigate(n *browserv1.NavigateRequest) error {
	ways := 0
	for _, isSet := range []bool{n.GetUrl() != "", n.GetBack(), n.GetForward(), n.GetReload()} {
		if isSet {
			ways++
		}
	}
	if ways != 1 {
		return f.invalid("url", "set one of url, back, forward and reload; %d are", ways)
	}
	if n.GetUrl() != "" {
		if _, err := parseURL(n.GetUrl()); err != nil {
			return f.invalid("url", "%v", err)
		}
	}
	return f.timeout("timeout", n.GetTimeout())
}

func (f field) click(c *browserv1.ClickRequest) error {
	switch c.GetButton() {
	case "", "left", "middle", "right":
	default:
		return f.invalid("button", "%q is none of left, middle and right", c.GetButton())
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
		if name := file.GetName(); name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
			return f.invalid(fmt.Sprintf("files[%d].name", i), "%q is no name of a file without directories", name)
		}
		size += len(file.GetContent())
	}
	if size > maxUpload {
		return f.invalid("files", "%d bytes in all, limit %d", size, maxUpload)
	}
	return f.target(u.GetTarget())
}

func (f field) capture(c *browserv1.CaptureRequest) error {
	kinds := 0
	for _, isSet := range []bool{c.GetPicture() != nil, c.GetPrint() != nil, c.GetHtml(), c.GetText()} {
		if isSet {
			kinds++
		}
	}
	if kinds != 1 {
		return f.invalid("picture", "set one of picture, print, html and text; %d are", kinds)
	}
	if c.GetSelector() != "" && !c.GetText() {
		return f.invalid("selector", "it goes with text; a picture has a selector of its own")
	}
	if err := page.CheckPicture(c.GetPicture(), f.of("picture")); err != nil {
		return err
	}
	return page.CheckPrint(c.GetPrint(), f.of("print"))
}
