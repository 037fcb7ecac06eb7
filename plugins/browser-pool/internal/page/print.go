package page

import (
	"context"
	"strings"

	"github.com/chromedp/cdproto/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// defaultMargin is 0.4 inches, about a centimetre, as browsers have it.
const defaultMargin = 0.4

// paperSize is a paper's width and height in inches, upright.
func paperSize(name string) (width, height float64, ok bool) {
	switch strings.ToLower(name) {
	case "", "a4":
		return 8.27, 11.69, true
	case "a3":
		return 11.69, 16.54, true
	case "a5":
		return 5.83, 8.27, true
	case "letter":
		return 8.5, 11, true
	case "legal":
		return 8.5, 14, true
	case "tabloid":
		return 11, 17, true
	}
	return 0, 0, false
}

// CheckPrint returns the fault of the options of a print; at as in Check.
func CheckPrint(p *browserv1.Print, at string) error {
	_, err := printParams(p, at)
	return err
}

// Print prints the page as a PDF.
func (t *Tab) Print(ctx context.Context, p *browserv1.Print) ([]byte, error) {
	params, err := printParams(p, "print")
	if err != nil {
		return nil, err
	}
	printed, err := devtools.Call(ctx, t.Session, page.PrintToPDF, params)
	if message := protocolError(err); message != "" {
		return nil, status.Errorf(codes.InvalidArgument, "print: %s", message) // no such pages, say
	}
	return printed.Data, t.Fault(ctx, err, "the PDF")
}

func printParams(p *browserv1.Print, at string) (page.PrintToPDFParams, error) {
	f := field(at)
	if p == nil {
		p = &browserv1.Print{} // margins are read as pointers
	}
	params := page.PrintToPDFParams{
		Landscape: new(p.GetLandscape()), PrintBackground: new(p.GetBackground()), Scale: p.GetScale(), PageRanges: p.GetPages(),
		PreferCSSPageSize: new(p.GetCssPageSize()), GenerateTaggedPDF: new(p.GetTagged()), GenerateDocumentOutline: new(p.GetOutline()),
	}
	var ok bool
	if params.PaperWidth, params.PaperHeight, ok = paperSize(p.GetPaper()); !ok {
		return params, f.invalid("paper", "%q is none of A3, A4, A5, Letter, Legal and Tabloid; or set width and height", p.GetPaper())
	}
	if p.GetWidth() != 0 || p.GetHeight() != 0 {
		params.PaperWidth, params.PaperHeight = p.GetWidth(), p.GetHeight()
		if !(p.GetWidth() >= 0.1 && p.GetWidth() <= 200 && p.GetHeight() >= 0.1 && p.GetHeight() <= 200) {
			return params, f.invalid("width", "%v x %v inches, each is 0.1 to 200", p.GetWidth(), p.GetHeight())
		}
	}
	if s := p.GetScale(); s != 0 && !(s >= 0.1 && s <= 2) {
		return params, f.invalid("scale", "%v, it is 0.1 to 2", s)
	}
	all := defaultMargin
	if p.Margin != nil {
		all = p.GetMargin()
	}
	margin := func(own *float64) *float64 {
		if own == nil {
			own = &all
		}
		return own
	}
	params.MarginTop, params.MarginRight = margin(p.MarginTop), margin(p.MarginRight)
	params.MarginBottom, params.MarginLeft = margin(p.MarginBottom), margin(p.MarginLeft)
	for _, m := range []*float64{params.MarginTop, params.MarginRight, params.MarginBottom, params.MarginLeft} {
		if !(*m >= 0 && *m <= 100) {
			return params, f.invalid("margin", "%v inches, it is 0 to 100", *m)
		}
	}
	if p.GetHeader() != "" || p.GetFooter() != "" {
		params.DisplayHeaderFooter = new(true)
		// An empty template is the browser's own, with the date and the URL.
		params.HeaderTemplate, params.FooterTemplate = p.GetHeader()+" ", p.GetFooter()+" "
		if p.GetHeader() == "" {
			params.HeaderTemplate = "<span></span>"
		}
		if p.GetFooter() == "" {
			params.FooterTemplate = "<span></span>"
		}
	}
	return params, nil
}
