package pool

import (
	"context"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// hand takes steps on the page in a slot, one at a time: those of a Run, and the
// actions on a session, which are steps too.
type hand struct {
	slot      *slot.Slot
	isolation browserv1.Isolation
	dir       string // for files that are uploaded; whoever has the slot removes it
	client    string // whose places it takes
	meter     *metrics
}

// take takes a step that page.CheckStep has nothing against. The error is a status.
func (h hand) take(ctx context.Context, step *browserv1.Step) (*browserv1.StepResult, error) {
	ctx, cancel := context.WithTimeout(ctx, limitOf(step)+defaultTimeout) // a dead end, should a page not answer
	defer cancel()
	begin := time.Now()
	result, err := h.dispatch(ctx, step)
	name, _ := actionOf(step)
	h.meter.action(name, time.Since(begin))
	return result, err
}

func (h hand) dispatch(ctx context.Context, step *browserv1.Step) (*browserv1.StepResult, error) {
	tab := h.slot.Tab
	switch a := step.GetAction().(type) {
	case *browserv1.Step_Navigate:
		return h.thenLook(ctx, tab.Go(ctx, a.Navigate, h.slot.Outlet.Why), func(info *browserv1.PageInfo) *browserv1.StepResult {
			return &browserv1.StepResult{Result: &browserv1.StepResult_Navigate{Navigate: &browserv1.NavigateResponse{Page: info}}}
		})
	case *browserv1.Step_Click:
		return h.thenLook(ctx, tab.Click(ctx, a.Click, h.slot.Outlet.Why), func(info *browserv1.PageInfo) *browserv1.StepResult {
			return &browserv1.StepResult{Result: &browserv1.StepResult_Click{Click: &browserv1.ClickResponse{Page: info}}}
		})
	case *browserv1.Step_WaitFor:
		return h.thenLook(ctx, tab.WaitFor(ctx, a.WaitFor), func(info *browserv1.PageInfo) *browserv1.StepResult {
			return &browserv1.StepResult{Result: &browserv1.StepResult_WaitFor{WaitFor: &browserv1.WaitForResponse{Page: info}}}
		})
	case *browserv1.Step_Capture:
		content, err := h.capture(ctx, a.Capture)
		return h.thenLook(ctx, err, func(info *browserv1.PageInfo) *browserv1.StepResult {
			return &browserv1.StepResult{Result: &browserv1.StepResult_Capture{Capture: &browserv1.CaptureResponse{Content: content, Page: info}}}
		})
	case *browserv1.Step_Fill:
		return answer(&browserv1.StepResult{Result: &browserv1.StepResult_Fill{Fill: &browserv1.FillResponse{}}}, tab.Fill(ctx, a.Fill))
	case *browserv1.Step_Press:
		return answer(&browserv1.StepResult{Result: &browserv1.StepResult_Press{Press: &browserv1.PressResponse{}}}, tab.Press(ctx, a.Press))
	case *browserv1.Step_Select:
		values, err := tab.Select(ctx, a.Select)
		return answer(&browserv1.StepResult{Result: &browserv1.StepResult_Select{Select: &browserv1.SelectResponse{Values: values}}}, err)
	case *browserv1.Step_Upload:
		return answer(&browserv1.StepResult{Result: &browserv1.StepResult_Upload{Upload: &browserv1.UploadResponse{}}}, h.upload(ctx, a.Upload))
	case *browserv1.Step_Evaluate:
		value, err := tab.Evaluate(ctx, a.Evaluate)
		return answer(&browserv1.StepResult{Result: &browserv1.StepResult_Evaluate{Evaluate: &browserv1.EvaluateResponse{Value: value}}}, err)
	case *browserv1.Step_Cookies:
		cookies, err := tab.Cookies(ctx, a.Cookies.GetUrls())
		return answer(&browserv1.StepResult{Result: &browserv1.StepResult_Cookies{Cookies: &browserv1.CookiesResponse{Cookies: cookies}}}, err)
	case *browserv1.Step_SetCookies:
		return answer(&browserv1.StepResult{Result: &browserv1.StepResult_SetCookies{SetCookies: &browserv1.SetCookiesResponse{}}}, tab.SetCookies(ctx, a.SetCookies.GetCookies()))
	}
	return nil, status.Error(codes.Internal, "internal: a step without an action")
}

// thenLook is the result of a step that tells what the page is then.
func (h hand) thenLook(ctx context.Context, err error, result func(*browserv1.PageInfo) *browserv1.StepResult) (*browserv1.StepResult, error) {
	if err != nil {
		return nil, err
	}
	info, err := h.look(ctx)
	if err != nil {
		return nil, err
	}
	return result(info), nil
}

// look is the page as it is.
func (h hand) look(ctx context.Context) (*browserv1.PageInfo, error) {
	info, err := h.slot.Tab.Info(ctx)
	if err != nil {
		return nil, err
	}
	info.Engine, info.Isolation = h.slot.Product(), h.isolation
	return info, nil
}

func (h hand) capture(ctx context.Context, c *browserv1.CaptureRequest) ([]byte, error) {
	tab := h.slot.Tab
	switch {
	case c.GetPicture() != nil:
		return tab.Picture(ctx, c.GetPicture())
	case c.GetPrint() != nil:
		return tab.Print(ctx, c.GetPrint())
	case c.GetHtml():
		html, err := tab.HTML(ctx)
		return []byte(html), err
	}
	text, err := tab.Text(ctx, c.GetSelector())
	return []byte(text), err
}

// upload puts files into the page. What it has of them cannot be wiped.
func (h hand) upload(ctx context.Context, u *browserv1.UploadRequest) error {
	h.slot.Retire()
	return h.slot.Tab.Upload(ctx, u, h.dir)
}

// actionOf is the name of a step's action and its request; "" without one.
func actionOf(step *browserv1.Step) (name string, request interface{ GetSession() string }) {
	message := step.ProtoReflect()
	field := message.WhichOneof(message.Descriptor().Oneofs().ByName(protoreflect.Name("action")))
	if field == nil {
		return "", nil
	}
	request, _ = message.Get(field).Message().Interface().(interface{ GetSession() string })
	return string(field.Name()), request
}

// pageOf is the page that a result tells of, or nil.
func pageOf(result *browserv1.StepResult) *browserv1.PageInfo {
	switch r := result.GetResult().(type) {
	case *browserv1.StepResult_Navigate:
		return r.Navigate.GetPage()
	case *browserv1.StepResult_Click:
		return r.Click.GetPage()
	case *browserv1.StepResult_WaitFor:
		return r.WaitFor.GetPage()
	case *browserv1.StepResult_Capture:
		return r.Capture.GetPage()
	}
	return nil
}

// limitOf is how long a step may take by what it says itself.
func limitOf(step *browserv1.Step) time.Duration {
	limit := defaultTimeout
	switch a := step.GetAction().(type) {
	case *browserv1.Step_Navigate:
		limit = a.Navigate.GetTimeout().AsDuration()
	case *browserv1.Step_WaitFor:
		limit = a.WaitFor.GetTimeout().AsDuration()
	case *browserv1.Step_Evaluate:
		limit = a.Evaluate.GetTimeout().AsDuration()
	default:
		_, request := actionOf(step)
		if aimed, ok := request.(interface{ GetTarget() *browserv1.Target }); ok {
			limit = aimed.GetTarget().GetTimeout().AsDuration()
		}
	}
	return max(limit, defaultTimeout)
}

// loads reports whether a step makes a page work so much that it needs one of the
// places of max_jobs.
func loads(step *browserv1.Step) bool {
	return step.GetNavigate() != nil || step.GetClick().GetWaitNavigation() || step.GetCapture() != nil
}
