package pool

import (
	"context"
	"errors"
	"io"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/session"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// act has a step taken on a session.
func (p *Pool) act(ctx context.Context, id string, step *browserv1.Step) (*browserv1.StepResult, error) {
	if err := page.CheckStep(step, ""); err != nil {
		return nil, err
	}
	var result *browserv1.StepResult
	err := p.in(ctx, id, func(ctx context.Context, r *running, h hand) (*browserv1.PageInfo, error) {
		if loads(step) {
			place, err := r.sit(ctx, h.client)
			if err != nil {
				return nil, err
			}
			defer place.give()
		}
		var err error
		result, err = h.take(ctx, step)
		return pageOf(result), err
	})
	return answer(result, err)
}

// in works on a session when it is its turn; see session.Do.
func (p *Pool) in(ctx context.Context, id string, work func(context.Context, *running, hand) (*browserv1.PageInfo, error)) error {
	r, s, err := p.find(id)
	if err != nil {
		return err
	}
	return s.Do(ctx, func(ctx context.Context, at session.Page) (*browserv1.PageInfo, error) {
		info, err := work(ctx, r, hand{slot: at.Slot, isolation: at.Isolation, dir: at.Dir, client: s.Client, meter: p.metrics})
		if status.Code(err) == codes.DeadlineExceeded {
			at.Slot.Tab.Interrupt(ctx) // the next one finds a page that answers
		}
		return info, err
	})
}

func (p *Pool) find(id string) (*running, *session.Session, error) {
	if id == "" {
		return nil, nil, invalid("session", "required: the id that Open returned")
	}
	r, err := p.use()
	if err != nil {
		return nil, nil, err
	}
	s, err := r.sessions.Find(id)
	return r, s, err
}

// Navigate goes to another page of the session.
func (p *Pool) Navigate(ctx context.Context, request *browserv1.NavigateRequest) (*browserv1.NavigateResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_Navigate{Navigate: request}})
	return result.GetNavigate(), err
}

// Click clicks an element.
func (p *Pool) Click(ctx context.Context, request *browserv1.ClickRequest) (*browserv1.ClickResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_Click{Click: request}})
	return result.GetClick(), err
}

// Fill puts text into an element.
func (p *Pool) Fill(ctx context.Context, request *browserv1.FillRequest) (*browserv1.FillResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_Fill{Fill: request}})
	return result.GetFill(), err
}

// Press presses keys.
func (p *Pool) Press(ctx context.Context, request *browserv1.PressRequest) (*browserv1.PressResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_Press{Press: request}})
	return result.GetPress(), err
}

// Select chooses options.
func (p *Pool) Select(ctx context.Context, request *browserv1.SelectRequest) (*browserv1.SelectResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_Select{Select: request}})
	return result.GetSelect(), err
}

// Upload puts files into a file input.
func (p *Pool) Upload(ctx context.Context, request *browserv1.UploadRequest) (*browserv1.UploadResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_Upload{Upload: request}})
	return result.GetUpload(), err
}

// WaitFor waits for a state of the page.
func (p *Pool) WaitFor(ctx context.Context, request *browserv1.WaitForRequest) (*browserv1.WaitForResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_WaitFor{WaitFor: request}})
	return result.GetWaitFor(), err
}

// Evaluate runs JavaScript in the page.
func (p *Pool) Evaluate(ctx context.Context, request *browserv1.EvaluateRequest) (*browserv1.EvaluateResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_Evaluate{Evaluate: request}})
	return result.GetEvaluate(), err
}

// Capture takes a picture, a PDF, the HTML or the text of the page.
func (p *Pool) Capture(ctx context.Context, request *browserv1.CaptureRequest) (*browserv1.CaptureResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_Capture{Capture: request}})
	return result.GetCapture(), err
}

// Cookies returns the session's cookies.
func (p *Pool) Cookies(ctx context.Context, request *browserv1.CookiesRequest) (*browserv1.CookiesResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_Cookies{Cookies: request}})
	return result.GetCookies(), err
}

// SetCookies adds cookies to the session.
func (p *Pool) SetCookies(ctx context.Context, request *browserv1.SetCookiesRequest) (*browserv1.SetCookiesResponse, error) {
	result, err := p.act(ctx, request.GetSession(), &browserv1.Step{Action: &browserv1.Step_SetCookies{SetCookies: request}})
	return result.GetSetCookies(), err
}

// Storage returns what makes up the session's login.
func (p *Pool) Storage(ctx context.Context, request *browserv1.StorageRequest) (*browserv1.StorageResponse, error) {
	response := &browserv1.StorageResponse{}
	err := p.in(ctx, request.GetSession(), func(ctx context.Context, _ *running, h hand) (_ *browserv1.PageInfo, err error) {
		ctx, cancel := context.WithTimeout(ctx, 2*defaultTimeout)
		defer cancel()
		response.Storage, err = h.slot.Tab.Storage(ctx)
		return nil, err
	})
	return answer(response, err)
}

// Sessions lists the open ones.
func (p *Pool) Sessions(_ context.Context, request *browserv1.SessionsRequest) (*browserv1.SessionsResponse, error) {
	r, err := p.use()
	if err != nil {
		return nil, err
	}
	return &browserv1.SessionsResponse{Sessions: r.sessions.List(request.GetClient())}, nil
}

// Close ends a session.
func (p *Pool) Close(ctx context.Context, request *browserv1.CloseRequest) (*browserv1.CloseResponse, error) {
	_, s, err := p.find(request.GetSession())
	switch {
	case err == nil:
		s.Close(ctx)
	case status.Code(err) != codes.NotFound:
		return nil, err
	}
	return &browserv1.CloseResponse{}, nil
}

// Events follows a session. Its header is sent when it does.
func (p *Pool) Events(request *browserv1.EventsRequest, stream grpc.ServerStreamingServer[browserv1.EventsResponse]) error {
	_, s, err := p.find(request.GetSession())
	if err != nil {
		return err
	}
	follower, err := s.Follow()
	if err != nil {
		return err
	}
	defer follower.Close()
	ctx, stop := sdk.UntilDrain(stream.Context())
	defer stop()
	defer context.AfterFunc(ctx, follower.Drain)()
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for {
		events, err := follower.Next(stream.Context())
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := stream.Send(e); err != nil {
				return err
			}
		}
	}
}
