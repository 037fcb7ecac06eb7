package page

import (
	"context"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// All of this file is replaced at the merge.

func later() error { return status.Error(codes.Unimplemented, "not yet") }

// Click is replaced at the merge.
func (t *Tab) Click(context.Context, *browserv1.ClickRequest, func(string) error) error {
	return later()
}

// Fill is replaced at the merge.
func (t *Tab) Fill(context.Context, *browserv1.FillRequest) error { return later() }

// Press is replaced at the merge.
func (t *Tab) Press(context.Context, *browserv1.PressRequest) error { return later() }

// Select is replaced at the merge.
func (t *Tab) Select(context.Context, *browserv1.SelectRequest) ([]string, error) {
	return nil, later()
}

// Upload is replaced at the merge.
func (t *Tab) Upload(context.Context, *browserv1.UploadRequest, string) error { return later() }

// WaitFor is replaced at the merge.
func (t *Tab) WaitFor(ctx context.Context, r *browserv1.WaitForRequest) error {
	return t.Wait(ctx, r.GetWait())
}

// Evaluate is replaced at the merge.
func (t *Tab) Evaluate(ctx context.Context, r *browserv1.EvaluateRequest) (*structpb.Value, error) {
	if r.GetTimeout() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.GetTimeout().AsDuration())
		defer cancel()
	}
	var value any
	if err := t.call(ctx, mainWorld, "() => ("+r.GetExpression()+")", &value); err != nil {
		return nil, t.Fault(ctx, err, "the script")
	}
	v, err := structpb.NewValue(value)
	return v, err
}

// Go is replaced at the merge.
func (t *Tab) Go(ctx context.Context, r *browserv1.NavigateRequest, why func(string) error) error {
	return t.Open(ctx, r.GetUrl(), r.GetWait(), why)
}

// Cookies is replaced at the merge.
func (t *Tab) Cookies(context.Context, []string) ([]*browserv1.Cookie, error) { return nil, later() }

// SetCookies is replaced at the merge.
func (t *Tab) SetCookies(ctx context.Context, cookies []*browserv1.Cookie) error {
	return t.setCookies(ctx, cookies)
}

// Storage is replaced at the merge.
func (t *Tab) Storage(context.Context) ([]byte, error) { return nil, later() }
