package pool

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestPicturesHaveThePartAndTheFormatAskedFor(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<body style="margin:0">
		<div style="height:1000px;background:#00f"></div><div id=box style="width:50px;height:40px;background:#0f0"></div></body>`}) + "/"
	blue, green := color.RGBA{0, 0, 255, 255}, color.RGBA{0, 255, 0, 255}
	small := &browserv1.Page{Viewport: &browserv1.Viewport{Width: 300, Height: 200}}
	for name, test := range map[string]struct {
		page    *browserv1.Page
		picture *browserv1.Picture
		size    image.Point
		at      image.Point
		colour  color.RGBA
	}{
		"viewport":    {small, nil, image.Pt(300, 200), image.Pt(10, 10), blue},
		"full page":   {small, &browserv1.Picture{FullPage: true}, image.Pt(300, 1040), image.Pt(10, 1020), green},
		"element":     {small, &browserv1.Picture{Selector: "#box"}, image.Pt(50, 40), image.Pt(49, 39), green},
		"clip":        {small, &browserv1.Picture{Clip: &browserv1.Rectangle{X: 0, Y: 990, Width: 20, Height: 20}}, image.Pt(20, 20), image.Pt(5, 15), green},
		"scaled":      {&browserv1.Page{Viewport: &browserv1.Viewport{Width: 300, Height: 200, Scale: 2}}, nil, image.Pt(600, 400), image.Pt(599, 399), blue},
		"transparent": {&browserv1.Page{Html: "<p>x", Viewport: small.GetViewport()}, &browserv1.Picture{Transparent: true}, image.Pt(300, 200), image.Pt(299, 199), color.RGBA{}},
		"white":       {&browserv1.Page{Html: "<p>x", Viewport: small.GetViewport()}, nil, image.Pt(300, 200), image.Pt(299, 199), color.RGBA{255, 255, 255, 255}},
	} {
		t.Run(name, func(t *testing.T) {
			request := &browserv1.ScreenshotRequest{Url: url, Page: test.page, Picture: test.picture}
			if test.page.GetHtml() != "" {
				request.Url = ""
			}
			response, err := p.Screenshot(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			got := picture(t, response.GetContent())
			if got.Bounds().Size() != test.size {
				t.Errorf("size: got %v, want %v", got.Bounds().Size(), test.size)
			}
			if colour := at(got, test.at.X, test.at.Y); colour != test.colour {
				t.Errorf("colour at %v: got %v, want %v", test.at, colour, test.colour)
			}
		})
	}
	response, err := p.Screenshot(t.Context(), &browserv1.ScreenshotRequest{Url: url, Picture: &browserv1.Picture{Format: browserv1.Picture_JPEG, Quality: 90}})
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jpeg.Decode(bytes.NewReader(response.GetContent()))
	if err != nil {
		t.Fatal(err)
	}
	if got := at(decoded, 600, 300); got.B < 250 || got.R > 5 || got.G > 5 {
		t.Errorf("jpeg: got %v, want about %v", got, blue)
	}
	response, err = p.Screenshot(t.Context(), &browserv1.ScreenshotRequest{Url: url, Picture: &browserv1.Picture{Format: browserv1.Picture_WEBP}})
	if err != nil {
		t.Fatal(err)
	}
	if c := response.GetContent(); len(c) < 12 || string(c[:4]) != "RIFF" || string(c[8:12]) != "WEBP" {
		t.Errorf("webp: got %q…", c[:min(len(c), 12)])
	}
}

func TestAPictureThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	_, err := p.Screenshot(t.Context(), &browserv1.ScreenshotRequest{
		Page:    &browserv1.Page{Html: `<div style="height:20000px">`},
		Picture: &browserv1.Picture{FullPage: true},
	})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "at most 16384 on a side") {
		t.Errorf("got %v", err)
	}
	_, err = p.Screenshot(t.Context(), &browserv1.ScreenshotRequest{Page: &browserv1.Page{Html: "x"}, Picture: &browserv1.Picture{Selector: "#none"}})
	if status.Code(err) != codes.NotFound {
		t.Errorf("no element: got %v, want NotFound", err)
	}
}

func TestAPDFHasTheTextOfThePage(t *testing.T) {
	t.Parallel()
	pdftotext, err := exec.LookPath("pdftotext")
	p := start(t, nil)
	response, pdfErr := p.PDF(t.Context(), &browserv1.PDFRequest{
		Page:  &browserv1.Page{Html: `<title>T</title><h1>Invoice 4711</h1><p style="page-break-before:always">second page</p>`},
		Print: &browserv1.Print{Paper: "A5", Header: "<span style='font-size:10px'>top line</span>"},
	})
	if pdfErr != nil {
		t.Fatal(pdfErr)
	}
	if !bytes.HasPrefix(response.GetContent(), []byte("%PDF-")) {
		t.Fatalf("got %q…", response.GetContent()[:10])
	}
	if got := bytes.Count(response.GetContent(), []byte("/Type /Page\n")); got != 2 {
		t.Errorf("pages: got %d, want 2", got)
	}
	if want := []byte("/MediaBox [0 0 420 595"); !bytes.Contains(response.GetContent(), want) { // points
		t.Errorf("paper: no %q", want)
	}
	if err != nil {
		t.Skip("without pdftotext the text is not compared: apt-get install poppler-utils")
	}
	file := filepath.Join(t.TempDir(), "a.pdf")
	if err := os.WriteFile(file, response.GetContent(), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), pdftotext, file, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Invoice 4711", "second page", "top line"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
}

func TestContentIsTheDocumentAfterItsScripts(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{"/": `<!DOCTYPE html><title>A</title><p id=x>before</p><script>x.textContent = "after"; document.title = "B"</script>`})
	response, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: url + "/"})
	if err != nil {
		t.Fatal(err)
	}
	if got := response.GetHtml(); !strings.HasPrefix(got, "<!DOCTYPE html>") || !strings.Contains(got, `<p id="x">after</p>`) {
		t.Errorf("html: got %q", got)
	}
	if got := response.GetPage(); got.GetTitle() != "B" || got.GetStatus() != 200 || got.GetUrl() != url+"/" || got.GetContentType() != "text/html" {
		t.Errorf("page: got %v", got)
	}
	plain, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: url + "/", Page: &browserv1.Page{NoJavascript: true}})
	if err != nil {
		t.Fatal(err)
	}
	if got := plain.GetHtml(); !strings.Contains(got, `<p id="x">before</p>`) {
		t.Errorf("without JavaScript: got %q", got)
	}
	missing, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: url + "/none"})
	if err != nil || missing.GetPage().GetStatus() != 404 {
		t.Errorf("an error page is a page: got %v, %v", missing.GetPage(), err)
	}
}

func TestTextIsWhatAPersonReads(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	const html = `<nav><a href=/>Home</a> <a href=/x>Other</a></nav><header>Site</header>
		<article><h1>On   bees</h1><p>They <b>fly</b>.<br>Far.</p><ul><li>one<li>two</ul>
		<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
		<p style="display:none">hidden</p><script>var secret</script><pre>x
  y</pre></article><footer>(c) nobody</footer>`
	response, err := p.Text(t.Context(), &browserv1.TextRequest{Page: &browserv1.Page{Html: html}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "On bees\n\nThey fly.\nFar.\n\n- one\n- two\n\na\tb\n1\t2\n\nx\n  y"
	if diff := cmp.Diff(want, response.GetText()); diff != "" {
		t.Error(diff)
	}
	part, err := p.Text(t.Context(), &browserv1.TextRequest{Page: &browserv1.Page{Html: html}, Selector: "footer"})
	if err != nil || part.GetText() != "(c) nobody" {
		t.Errorf("an element: got %q, %v", part.GetText(), err)
	}
}

func TestAPageIsShownAsItsOptionsSay(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<pre>%s|%s|%s|%s</pre><script>document.body.append([
			Intl.DateTimeFormat().resolvedOptions().timeZone, (1234.5).toLocaleString(), matchMedia("(prefers-color-scheme: dark)").matches,
			innerWidth + "x" + innerHeight, navigator.userAgent].join("|"))</script>`,
			r.UserAgent(), r.Header.Get("X-Test"), r.Header.Get("Cookie"), r.Header.Get("Accept-Language"))
	}))
	defer server.Close()
	for _, client := range []string{"", "a", "a"} { // the last one in a wiped tab
		response, err := p.Text(t.Context(), &browserv1.TextRequest{Url: server.URL, Page: &browserv1.Page{
			Client: client, UserAgent: "tester/1", Locale: "de-DE", Timezone: "Asia/Tokyo", Dark: true, Headers: map[string]string{"X-Test": "yes"},
			Cookies: []*browserv1.Cookie{{Name: "c", Value: "1", Url: server.URL}}, Viewport: &browserv1.Viewport{Width: 400, Height: 300},
		}})
		if err != nil {
			t.Fatal(err)
		}
		const want = "tester/1|yes|c=1|de-DE\n\nAsia/Tokyo|1.234,5|true|400x300|tester/1"
		if diff := cmp.Diff(want, response.GetText()); diff != "" {
			t.Errorf("client %q: %s", client, diff)
		}
	}
	plain, err := p.Text(t.Context(), &browserv1.TextRequest{Url: server.URL, Page: &browserv1.Page{Client: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"tester", "yes", "c=1", "de", "Tokyo", "1.234,5", "true", "400x300"} {
		if strings.Contains(plain.GetText(), left) {
			t.Errorf("the next page of the client has %q: %q", left, plain.GetText())
		}
	}
}

func TestAPageIsWaitedFor(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	url := serve(t, map[string]string{
		"/late": `<title>no</title><div id=d style="display:none">x</div><script>
			setTimeout(() => { document.title = "yes"; window.ready = true; d.style.display = "block" }, 300)
			setTimeout(() => fetch("/none").then(() => document.title += " idle"), 350)</script>`,
	})
	for name, test := range map[string]struct {
		wait *browserv1.Wait
		want string
	}{
		"load":       {nil, ""}, // whatever it is by then
		"selector":   {&browserv1.Wait{Selector: "#d"}, "yes"},
		"expression": {&browserv1.Wait{Expression: "window.ready"}, "yes"},
		"idle":       {&browserv1.Wait{Until: browserv1.Wait_NETWORK_IDLE}, "yes idle"},
	} {
		response, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: url + "/late", Page: &browserv1.Page{Wait: test.wait}})
		if err != nil || !strings.HasPrefix(response.GetPage().GetTitle(), test.want) {
			t.Errorf("%s: got %q, %v, want %q", name, response.GetPage().GetTitle(), err, test.want)
		}
	}
	for want, wait := range map[string]*browserv1.Wait{
		`time is over, waiting for selector "#none" (no element fits)`:                            {Selector: "#none"},
		`time is over, waiting for expression "nothing" (ReferenceError: nothing is not defined)`: {Expression: "nothing"},
	} {
		_, err := p.Content(t.Context(), &browserv1.ContentRequest{Url: url + "/late", Page: &browserv1.Page{Wait: wait, Timeout: durationpb.New(1500 * time.Millisecond)}})
		if status.Code(err) != codes.DeadlineExceeded || status.Convert(err).Message() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAServerThatHangsEndsWithTheTimeOut(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/image" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return
		}
		if r.URL.Path == "/" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<img src=/image>"))
	}))
	defer server.Close()
	defer close(release)
	for path, want := range map[string]string{"/": "time is over, waiting for the response of " + server.URL, "/page": "time is over, waiting for LOAD"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := p.Content(ctx, &browserv1.ContentRequest{Url: server.URL + path})
		cancel()
		if status.Code(err) != codes.DeadlineExceeded || status.Convert(err).Message() != want {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	p := start(t, &browserv1.Config{Resolve: map[string]string{}})
	ok := &browserv1.Page{Html: "x"}
	for name, test := range map[string]struct {
		url  string
		page *browserv1.Page
		code codes.Code
		text string
	}{
		"no url":       {"", nil, codes.InvalidArgument, "url: required, unless page.html is set"},
		"a file":       {"file:///etc/passwd", nil, codes.InvalidArgument, "url: pages are opened at http and https, and about:blank"},
		"a scheme":     {"chrome://gpu", nil, codes.InvalidArgument, "url: pages are opened at http and https, and about:blank"},
		"a password":   {"http://u:p@h/", nil, codes.InvalidArgument, "url: a user and password belong in page.credentials"},
		"both":         {"http://h/", ok, codes.InvalidArgument, "url: page.html is shown in its place; set one of them"},
		"viewport":     {"", &browserv1.Page{Html: "x", Viewport: &browserv1.Viewport{Width: 20000, Height: 1}}, codes.InvalidArgument, "page.viewport: 20000 x 1, each side is 1 to 10000"},
		"timezone":     {"", &browserv1.Page{Html: "x", Timezone: "Mars"}, codes.InvalidArgument, "page: Invalid timezone"},
		"sticky":       {"", &browserv1.Page{Html: "x", Isolation: browserv1.Isolation_STICKY}, codes.InvalidArgument, "page.isolation: STICKY is for sessions: Open one with a name"},
		"refused":      {"http://127.0.0.1:2/", nil, codes.Unavailable, "http://127.0.0.1:2: connect"},
		"denied":       {"http://10.0.0.7/", nil, codes.PermissionDenied, "egress to 10.0.0.7:80"},
		"denied TLS":   {"https://10.0.0.7/", nil, codes.PermissionDenied, "egress to 10.0.0.7:443"},
		"no such name": {"http://nothing.invalid/", nil, codes.Unavailable, "http://nothing.invalid: "},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := p.Content(ctx, &browserv1.ContentRequest{Url: test.url, Page: test.page})
		cancel()
		if status.Code(err) != test.code || !strings.HasPrefix(status.Convert(err).Message(), test.text) {
			t.Errorf("%s: got %v, want %v %q", name, err, test.code, test.text)
		}
	}
}

func TestAPDFNeedsNoOptions(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	response, err := p.PDF(t.Context(), &browserv1.PDFRequest{Page: &browserv1.Page{Html: "<p>plain"}})
	if err != nil || !bytes.HasPrefix(response.GetContent(), []byte("%PDF-")) {
		t.Errorf("got %.10q, %v", response.GetContent(), err)
	}
}
