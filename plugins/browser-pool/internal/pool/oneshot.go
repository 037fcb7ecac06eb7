package pool

import (
	"context"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// Screenshot opens a page and takes a picture of it.
func (p *Pool) Screenshot(ctx context.Context, request *browserv1.ScreenshotRequest) (*browserv1.ScreenshotResponse, error) {
	if err := page.CheckPicture(request.GetPicture(), "picture"); err != nil {
		return nil, err
	}
	response := &browserv1.ScreenshotResponse{}
	var err error
	response.Page, response.Cost, err = p.do(ctx, job{
		url: request.GetUrl(), page: request.GetPage(),
		work: func(ctx context.Context, h hand) (err error) {
			response.Content, err = h.slot.Tab.Picture(ctx, request.GetPicture())
			return err
		},
	})
	return answer(response, err)
}

// PDF opens a page and prints it.
func (p *Pool) PDF(ctx context.Context, request *browserv1.PDFRequest) (*browserv1.PDFResponse, error) {
	if err := page.CheckPrint(request.GetPrint(), "print"); err != nil {
		return nil, err
	}
	response := &browserv1.PDFResponse{}
	var err error
	response.Page, response.Cost, err = p.do(ctx, job{
		url: request.GetUrl(), page: request.GetPage(),
		work: func(ctx context.Context, h hand) (err error) {
			response.Content, err = h.slot.Tab.Print(ctx, request.GetPrint())
			return err
		},
	})
	return answer(response, err)
}

// Content opens a page and returns its HTML.
func (p *Pool) Content(ctx context.Context, request *browserv1.ContentRequest) (*browserv1.ContentResponse, error) {
	response := &browserv1.ContentResponse{}
	var err error
	response.Page, response.Cost, err = p.do(ctx, job{
		url: request.GetUrl(), page: request.GetPage(),
		work: func(ctx context.Context, h hand) (err error) {
			response.Html, err = h.slot.Tab.HTML(ctx)
			return err
		},
	})
	return answer(response, err)
}

// Text opens a page and returns what a person would read on it.
func (p *Pool) Text(ctx context.Context, request *browserv1.TextRequest) (*browserv1.TextResponse, error) {
	response := &browserv1.TextResponse{}
	var err error
	response.Page, response.Cost, err = p.do(ctx, job{
		url: request.GetUrl(), page: request.GetPage(),
		work: func(ctx context.Context, h hand) (err error) {
			response.Text, err = h.slot.Tab.Text(ctx, request.GetSelector())
			return err
		},
	})
	return answer(response, err)
}

// answer is a response, or nothing of it when there was an error.
func answer[R any](response *R, err error) (*R, error) {
	if err != nil {
		return nil, err
	}
	return response, nil
}
