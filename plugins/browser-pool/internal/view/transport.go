package view

import (
	"context"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp/jsonv2"
)

// Transport is a view as chromedp has its browsers: chromedp.NewBrowserTransport
// takes it. Close ends the view.
type Transport struct{ *View }

// Read decodes the next message of the browser into m.
func (t Transport) Read(ctx context.Context, m *cdproto.Message) error {
	text, err := t.Next(ctx)
	if err != nil {
		return err
	}
	return jsonv2.Unmarshal(text, m, jsonv2.DefaultOptionsV2(), jsonv2.AllowInvalidUTF8(true))
}

// Write sends a command.
func (t Transport) Write(ctx context.Context, m *cdproto.Message) error {
	text, err := jsonv2.Marshal(m, jsonv2.DefaultOptionsV2())
	if err != nil {
		return err
	}
	return t.Receive(ctx, text)
}

// Close ends the view and all that was made in it. Its error is always nil.
func (t Transport) Close() error {
	t.View.Close()
	return nil
}
