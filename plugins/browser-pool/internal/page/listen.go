package page

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	// maxText is the longest text of an event, bytes.
	maxText = 64 << 10

	// maxURL is how much of a request's URL is told, bytes: those of data: have
	// megabytes, and up to maxOpen of them are held.
	maxURL = 4 << 10
)

// listener is who hears of a page. Its methods are of the browser's goroutine.
type listener struct {
	tell     func(*browserv1.EventsResponse)
	open     map[network.RequestID]*browserv1.Request // in flight
	isLogged bool                                     // the console is followed
	flood    flood
}

// Listen has tell called with what happens on the page from here on, until Reset:
// the lines of its console, also those that the document there has written before,
// requests that have ended, dialogs, and where it goes. tell is called on the
// goroutine of all the browser's messages, and does not block. It costs the page
// time, so that only those listen who need to.
func (t *Tab) Listen(tell func(*browserv1.EventsResponse)) {
	l := &listener{tell: tell, open: make(map[network.RequestID]*browserv1.Request)}
	l.isLogged = t.Post(runtime.CommandEnable, nil)
	t.mu.Lock()
	t.listener = l
	t.shared = append(t.shared, devtools.Do(runtime.Enable, cdp.Empty{}))
	parts := slices.Clone(t.parts)
	t.mu.Unlock()
	for _, p := range parts {
		p.Post(runtime.CommandEnable, nil)
	}
}

// Tell tells whoever listens of an event that is not the page's own.
func (t *Tab) Tell(e *browserv1.EventsResponse) {
	if l := t.listening(); l != nil {
		l.event(e)
	}
}

// listening is who listens, or nil.
func (t *Tab) listening() *listener {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listener
}

// hear tells of an event, after the tab has followed it.
func (t *Tab) hear(e devtools.Event) {
	l := t.listening()
	if l == nil {
		return
	}
	if !l.isLogged { // there was no room for the command
		l.isLogged = t.Post(runtime.CommandEnable, nil)
	}
	switch e.Method {
	case "Runtime.consoleAPICalled":
		if t.admits(l, e) {
			read(e, l.console)
		}
	case "Runtime.exceptionThrown":
		if t.admits(l, e) {
			read(e, l.exception)
		}
	case "Network.requestWillBeSent":
		read(e, l.requested)
	case "Network.responseReceived":
		read(e, func(r *network.EventResponseReceived) { l.responded(r.RequestID, r.Response.Status) })
	case "Network.loadingFinished":
		read(e, func(f *network.EventLoadingFinished) { l.finished(f.RequestID, f.EncodedDataLength, "") })
	case "Network.loadingFailed":
		read(e, l.failed)
	case "Network.webSocketCreated":
		read(e, func(c *network.EventWebSocketCreated) {
			l.begin(c.RequestID, &browserv1.Request{Method: "GET", Url: c.URL, Type: "websocket"})
		})
	case "Network.webSocketHandshakeResponseReceived":
		read(e, func(r *network.EventWebSocketHandshakeResponseReceived) { l.responded(r.RequestID, r.Response.Status) })
	case "Network.webSocketFrameReceived":
		read(e, func(f *network.EventWebSocketFrameReceived) {
			if r := l.open[f.RequestID]; r != nil {
				r.Received += uint64(len(f.Response.PayloadData))
			}
		})
	case "Network.webSocketFrameError":
		read(e, func(f *network.EventWebSocketFrameError) { l.fault(f.RequestID, f.ErrorMessage) })
	case "Network.webSocketClosed":
		read(e, func(c *network.EventWebSocketClosed) { l.finished(c.RequestID, 0, "") })
	case "Page.frameNavigated":
		read(e, func(n *page.EventFrameNavigated) {
			if t.isMain(n.Frame.ID) {
				t.followAgain(l)
				l.event(&browserv1.EventsResponse{Event: &browserv1.EventsResponse_Navigated{Navigated: t.where()}})
			}
		})
	case "Page.navigatedWithinDocument":
		read(e, func(n *page.EventNavigatedWithinDocument) {
			if t.isMain(n.FrameID) {
				l.event(&browserv1.EventsResponse{Event: &browserv1.EventsResponse_Navigated{Navigated: t.where()}})
			}
		})
	}
}

// event tells of one, which has happened now unless it says when.
func (l *listener) event(e *browserv1.EventsResponse) {
	if e.Time == nil {
		e.Time = timestamppb.Now()
	}
	l.tell(e)
}

func (l *listener) line(at runtime.Timestamp, c *browserv1.Console) {
	c.Text, c.Url = clip(c.GetText(), maxText-len("…")), clip(c.GetUrl(), maxURL)
	l.event(&browserv1.EventsResponse{
		Time:  timestamppb.New(time.UnixMicro(int64(at.Float64() * 1000))),
		Event: &browserv1.EventsResponse_Console{Console: c},
	})
}

func (l *listener) console(e *runtime.EventConsoleAPICalled) {
	c := &browserv1.Console{Level: "log", Text: showAll(e.Args)}
	switch e.Type {
	case runtime.ConsoleAPICalledTypeInfo, runtime.ConsoleAPICalledTypeWarning, runtime.ConsoleAPICalledTypeError, runtime.ConsoleAPICalledTypeDebug:
		c.Level = string(e.Type)
	case runtime.ConsoleAPICalledTypeAssert:
		c.Level = "error"
	default:
	}
	c.Url, c.Line = topOf(e.StackTrace)
	l.line(e.Timestamp, c)
}

func (l *listener) exception(e *runtime.EventExceptionThrown) {
	d := e.ExceptionDetails
	c := &browserv1.Console{Level: "exception", Text: d.Text, Url: d.URL, Line: lineNumber(d.LineNumber)}
	if d.Exception != nil {
		c.Text = show(d.Exception)
	}
	if url, line := topOf(d.StackTrace); url != "" {
		c.Url, c.Line = url, line
	}
	l.line(e.Timestamp, c)
}

// topOf is where a script was.
func topOf(stack *runtime.StackTrace) (url string, line uint32) {
	if stack == nil || len(stack.CallFrames) == 0 {
		return "", 0
	}
	return stack.CallFrames[0].URL, lineNumber(stack.CallFrames[0].LineNumber)
}

// lineNumber counts from 1, where the browser counts from 0.
func lineNumber(n int64) uint32 { return uint32(max(0, min(n, 1<<30))) + 1 }

func (l *listener) requested(e *network.EventRequestWillBeSent) {
	if e.RedirectResponse != nil {
		l.responded(e.RequestID, e.RedirectResponse.Status)
		l.finished(e.RequestID, e.RedirectResponse.EncodedDataLength, "")
	}
	l.begin(e.RequestID, &browserv1.Request{Method: e.Request.Method, Url: e.Request.URL, Type: strings.ToLower(string(e.Type))})
}

func (l *listener) begin(id network.RequestID, r *browserv1.Request) {
	if len(l.open) < maxOpen {
		r.Url = clip(r.GetUrl(), maxURL)
		l.open[id] = r
	}
}

func (l *listener) responded(id network.RequestID, status int64) {
	if r := l.open[id]; r != nil {
		r.Status = uint32(max(0, min(status, 999)))
	}
}

func (l *listener) fault(id network.RequestID, text string) {
	if r := l.open[id]; r != nil {
		r.Error = clip(text, maxURL)
	}
}

func (l *listener) failed(e *network.EventLoadingFailed) {
	text := e.ErrorText
	switch {
	case strings.HasPrefix(text, "net::ERR_BLOCKED_BY_CLIENT"):
		text = "blocked by rule"
	case text == "" && e.BlockedReason != "":
		text = "blocked: " + string(e.BlockedReason)
	}
	l.finished(e.RequestID, 0, text)
}

func (l *listener) finished(id network.RequestID, bytes float64, fault string) {
	r := l.open[id]
	if r == nil {
		return
	}
	delete(l.open, id)
	r.Received += uint64(max(0, bytes))
	if fault != "" {
		r.Error = fault
	}
	l.event(&browserv1.EventsResponse{Event: &browserv1.EventsResponse_Request{Request: r}})
}

// where is the page as far as it is known without asking: not its title.
func (t *Tab) where() *browserv1.PageInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.here()
}

// here is where with the lock.
func (t *Tab) here() *browserv1.PageInfo {
	info := &browserv1.PageInfo{Url: cmp.Or(t.url, "about:blank")}
	if t.document.loader == t.loader && t.loader != "" {
		info.Status, info.ContentType = t.document.status, t.document.mimeType
	}
	return info
}
