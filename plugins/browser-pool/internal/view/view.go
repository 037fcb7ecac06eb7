// Package view shows one client a browser of its own, which is in truth one of
// the pool's that others use too. What the client says and hears is the Chrome
// DevTools Protocol, and its ids are the browser's, so that almost all messages
// pass as they are: those of its own pages are looked at only for whose they are.
//
// A view is a session of the browser (Target.attachToBrowserTarget) and browser
// contexts, of which the first is the client's default. Messages of this session
// are filtered (filter.go): the client hears of targets in its contexts only.
// Commands are let through, changed, answered here or refused by rules.go.
package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/outlet"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
)

const (
	// commandTime bounds what a view asks of the browser for its client.
	commandTime = 30 * time.Second

	// disposeTime is how long the client's contexts may take to go. A browser in
	// which they do not is killed.
	disposeTime = 5 * time.Second

	// maxSessions of a client: each takes memory of the browser.
	maxSessions = 1000

	// maxContexts of a client: each takes a port here, and memory of the browser.
	maxContexts = 100

	// maxAsked is how many commands are answered here at once.
	maxAsked = 16
)

var (
	errSlowBrowser = errors.New("the browser did not answer in time")
	errLeft        = errors.New("the client has left")
)

// Options are those of a view.
type Options struct {
	Engine  slot.Engine
	Client  string // whom the egress rules are asked about
	MaxTabs int
	Outlets *outlet.Rules
}

// View is one client's browser. Its methods are safe for concurrent use.
type View struct {
	Options

	guest *slot.Guest
	conn  *devtools.Conn
	root  *session
	out   queue

	alive context.Context //nolint:containedctx // ends with the client: by Close, Browser.close or a fault
	end   context.CancelCauseFunc
	tasks sync.WaitGroup
	asked chan struct{} // has room for what may be answered at once
	once  sync.Once

	mu       sync.Mutex
	sessions map[target.SessionID]*session // nil after Close
	contexts map[cdp.BrowserContextID]*outlet.Outlet
	standard cdp.BrowserContextID // where tabs go of which nothing else is said
	targets  map[target.ID]bool   // all that are in contexts; true for a tab
	windows  map[int64]target.ID  // that the client has asked about
	creating int                  // tabs
	opening  int                  // contexts
}

// session is one of the client's.
type session struct {
	*devtools.Session

	target target.ID          // that it is of; "" for the browser as a whole
	known  map[target.ID]bool // targets that the client has been told of here; of the view's lock
}

// Open lets a client into one of the pool's browsers. It waits for a place until
// ctx ends. The error is a status, or the browser's. The caller closes the view.
func Open(ctx context.Context, slots *slot.Pool, o Options) (_ *View, err error) {
	v := &View{
		Options: o, out: newQueue(), asked: make(chan struct{}, maxAsked),
		sessions: make(map[target.SessionID]*session),
		contexts: make(map[cdp.BrowserContextID]*outlet.Outlet),
		targets:  make(map[target.ID]bool),
		windows:  make(map[int64]target.ID),
	}
	v.alive, v.end = context.WithCancelCause(context.WithoutCancel(ctx))
	if v.guest, err = slots.Join(ctx, o.Engine, o.Client, v.watch); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			v.Close()
		}
	}()
	v.conn = v.guest.Conn()
	ctx, cancel := context.WithTimeoutCause(ctx, commandTime, errSlowBrowser)
	defer cancel()
	attached, err := devtools.Call(ctx, v.conn.Session, target.AttachToBrowserTarget, cdp.Empty{})
	if err != nil {
		return nil, err
	}
	v.root = v.adopt(attached.SessionID, "")
	v.standard, err = v.newContext(ctx, target.CreateBrowserContextParams{})
	return v, err
}

// isWide reports whether it is a session of the browser as a whole.
func (s *session) isWide() bool { return s.target == "" }

// adopt makes a session one of the client's; nil after Close.
func (v *View) adopt(id target.SessionID, of target.ID) *session {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sessions == nil {
		return nil
	}
	if s := v.sessions[id]; s != nil {
		return s
	}
	s := &session{target: of, known: make(map[target.ID]bool)}
	s.Session = v.conn.Relay(id, func(text []byte) { v.hear(s, text) })
	v.sessions[id] = s
	return s
}

// abandon forgets a session that has ended, and reports whether it was one of
// the client's.
func (v *View) abandon(id target.SessionID) bool {
	v.mu.Lock()
	s := v.sessions[id]
	delete(v.sessions, id)
	v.mu.Unlock()
	if s != nil {
		s.End(errLeft)
	}
	return s != nil
}

// newContext makes a browser context whose way out is its own.
func (v *View) newContext(ctx context.Context, params target.CreateBrowserContextParams) (id cdp.BrowserContextID, err error) {
	proxy, err := parseProxy(params.ProxyServer)
	if err != nil {
		return "", err
	}
	v.mu.Lock()
	full := len(v.contexts)+v.opening >= maxContexts
	if !full {
		v.opening++
	}
	v.mu.Unlock()
	if full {
		return "", fmt.Errorf("%d browser contexts, limit %d: dispose of one first", maxContexts, maxContexts)
	}
	defer v.locked(func() { v.opening-- })
	out, err := v.Outlets.Open(ctx)
	if err != nil {
		return "", err
	}
	out.Use(v.Client, proxy)
	made, err := devtools.Call(ctx, v.conn.Session, target.CreateBrowserContext, target.CreateBrowserContextParams{
		ProxyServer: out.Address(), ProxyBypassList: "<-loopback>",
	})
	if err != nil {
		out.Close()
		return "", err
	}
	v.locked(func() { v.contexts[made.BrowserContextID] = out })
	// Files that pages offer would fill the disk.
	return made.BrowserContextID, v.conn.Call(ctx, "Browser.setDownloadBehavior", jsonv2.Value(fmt.Sprintf(`{"behavior":"deny","browserContextId":%q}`, made.BrowserContextID)), nil)
}

func (v *View) locked(do func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	do()
}

// spawn does something without waiting for it, unless the view is being closed.
func (v *View) spawn(do func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sessions != nil {
		v.tasks.Go(do)
	}
}

// dispose ends a context with its pages. One that does not go is tried again at
// the end of the view.
func (v *View) dispose(ctx context.Context, id cdp.BrowserContextID) error {
	_, err := devtools.Call(ctx, v.conn.Session, target.DisposeBrowserContext, target.DisposeBrowserContextParams{BrowserContextID: id})
	if err != nil {
		return err
	}
	v.mu.Lock()
	out := v.contexts[id]
	delete(v.contexts, id)
	v.mu.Unlock()
	if out != nil {
		out.Close()
	}
	return nil
}

// Next returns the next message for the client, which owns it. It waits for one.
// The error is io.EOF when the client has closed its browser, devtools.ErrClosed
// when the real one has ended, or says why the client is not heard any more.
func (v *View) Next(ctx context.Context) ([]byte, error) {
	for {
		if text := v.out.pop(); text != nil {
			return text, nil
		}
		select {
		case <-v.out.ready:
		case <-v.alive.Done():
			if text := v.out.pop(); text != nil {
				return text, nil // the answer to Browser.close
			}
			return nil, context.Cause(v.alive)
		case <-v.conn.Ended():
			return nil, v.conn.Err()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tell gives the client a message. It does not block.
func (v *View) tell(text []byte) {
	if !v.out.push(text) {
		v.end(fmt.Errorf("the client does not read: %d MiB wait for it", maxQueued>>20))
	}
}

// Close ends the view and all that its client has made. It returns when nothing
// is left. Only the first call has an effect.
func (v *View) Close() {
	v.once.Do(func() {
		v.end(io.EOF)
		if v.conn != nil {
			v.clear()
		}
		v.tasks.Wait()
		v.locked(func() {
			for _, out := range v.contexts { // of a browser that has ended, or of the last task
				out.Close()
			}
		})
		v.guest.Leave()
	})
}

// clear ends sessions and contexts.
func (v *View) clear() {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(v.alive), disposeTime, errSlowBrowser)
	defer cancel()
	v.mu.Lock()
	sessions := v.sessions
	v.sessions = nil
	v.mu.Unlock()
	v.tasks.Wait() // no context is made any more
	v.mu.Lock()
	targets := maps.Clone(v.targets)
	v.mu.Unlock()
	var commands []devtools.Command
	for id, isTab := range targets {
		if isTab {
			// One with a dialog keeps its context from going.
			commands = append(commands, devtools.Command{Method: target.CommandCloseTarget, Params: target.CloseTargetParams{TargetID: id}, Optional: true})
		}
	}
	if v.root != nil {
		// Lets go of whatever waits for this client's debugger.
		commands = append(commands, devtools.Do(target.DetachFromTarget, target.DetachFromTargetParams{SessionID: v.root.ID()}))
	}
	for id := range v.contexts {
		commands = append(commands, devtools.Do(target.DisposeBrowserContext, target.DisposeBrowserContextParams{BrowserContextID: id}))
	}
	if err := v.conn.Batch(ctx, commands...); errors.Is(err, errSlowBrowser) {
		v.guest.Hung()
	}
	for _, s := range sessions {
		s.End(errLeft)
	}
}
