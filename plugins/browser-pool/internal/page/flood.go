package page

import (
	"fmt"
	"slices"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxLines is how many lines of a page's console are told at once; after that,
	// linesPerSecond. The browser has one thread for the messages of all its pages:
	// what one of them writes without end, the others wait for.
	maxLines       = 5000
	linesPerSecond = 500

	// lineSize is what a line is counted as one for each of, bytes of its message.
	lineSize = 1 << 10

	// maxUnheard is how many lines may still come when the console is not followed
	// any more: a script that never pauses keeps the page from knowing of that, and
	// often goes on when it is told to end. Then its renderer is.
	maxUnheard = 50_000
)

// flood counts the lines of a page's console. It is of the browser's goroutine.
type flood struct {
	lines   float64 // told, less those that time has forgiven
	at      time.Time
	muted   bool // the console is not followed
	unheard int  // lines that came since then
	told    int  // of them, when the page was last told
}

// admits reports whether a line of the console is to be told. If there are too
// many, the console is not followed until the page goes elsewhere.
func (t *Tab) admits(l *listener, line devtools.Event) bool {
	f, cost := &l.flood, 1+len(line.Params)/lineSize
	if !f.muted {
		now := time.Now()
		f.lines = max(0, f.lines-now.Sub(f.at).Seconds()*linesPerSecond) + float64(cost)
		f.at = now
		if f.lines <= maxLines {
			return true
		}
		f.muted = true
		l.event(&browserv1.EventsResponse{Event: &browserv1.EventsResponse_Console{Console: &browserv1.Console{
			Level: "warning", Text: fmt.Sprintf("gaia: more than %d lines at once: the console is not followed until the page goes elsewhere", maxLines),
		}}})
		t.post(runtime.CommandDisable)
		return false
	}
	f.unheard += cost
	switch {
	case f.unheard > maxUnheard:
		t.Post(page.CommandCrash, nil) // it would keep the browser from closing it
		t.End(status.Error(codes.ResourceExhausted, "the page was ended: it writes to its console without end"))
	case f.unheard-f.told > maxLines: // there was no room for the command, or another part has come
		f.told = f.unheard
		t.post(runtime.CommandDisable)
	}
	return false
}

// followAgain follows the console of a page that has come after one whose console
// was not followed to its end.
func (t *Tab) followAgain(l *listener) {
	if l.flood.muted {
		l.isLogged = false // see hear
	}
	l.flood = flood{}
}

// post sends a command without parameters to the page and all its parts.
func (t *Tab) post(method string) {
	t.Post(method, cdp.Empty{})
	t.mu.Lock()
	parts := slices.Clone(t.parts)
	t.mu.Unlock()
	for _, p := range parts {
		p.Post(method, cdp.Empty{})
	}
}
