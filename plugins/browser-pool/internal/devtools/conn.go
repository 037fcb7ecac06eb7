// Package devtools speaks the Chrome DevTools Protocol with one browser over its
// pipe. Commands and events have the types of chromedp's cdproto.
//
// It is a connection of its own, and not chromedp's, because a pool asks other
// things of one: a session that dies fails its calls at once, commands are sent
// without waiting for those before them, memory stays bounded whatever a page
// sends, and messages can be passed on as they are.
package devtools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
)

// outgoing is how many commands may wait for the browser to read them. A browser
// that does not read is hung; its callers wait in their own contexts.
const outgoing = 64

// Event is something that a browser tells of.
type Event struct {
	// Method is its name, such as "Page.loadEventFired".
	Method string
	// Params are its parameters; they belong to whoever gets the event.
	Params jsonv2.Value
}

// Handler is called for each event, in the order in which the browser sent them,
// and before the answer to any command that the browser answered later. All
// messages of the browser wait for it: it does not block.
type Handler func(Event)

// Conn is a connection to a browser. It is itself the session of the browser as
// a whole. Its methods are safe for concurrent use.
type Conn struct {
	*Session

	r     io.Reader
	w     io.WriteCloser
	queue chan []byte
	done  chan struct{} // closed when the connection has ended
	heard atomic.Int64  // messages

	mu       sync.Mutex
	next     int64
	calls    map[int64]*call
	sessions map[target.SessionID]*Session
}

// NewConn returns a connection over the two pipes of a browser; handle gets the
// events of the browser as a whole, and those of sessions that nobody has opened
// here. Run works it.
func NewConn(r io.Reader, w io.WriteCloser, handle Handler) *Conn {
	c := &Conn{
		r: r, w: w,
		queue:    make(chan []byte, outgoing),
		done:     make(chan struct{}),
		calls:    make(map[int64]*call),
		sessions: make(map[target.SessionID]*Session),
	}
	c.Session = &Session{conn: c, handle: handle, ended: make(chan struct{})}
	c.sessions[""] = c.Session
	return c
}

// Run passes messages until the browser closes its end, and closes the other
// one. All calls then fail with an ErrClosed. It is called once.
func (c *Conn) Run() {
	var writer sync.WaitGroup
	writer.Go(c.write)
	err := c.read()
	if errors.Is(err, io.EOF) {
		err = ErrClosed
	} else {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	c.mu.Lock()
	sessions := c.sessions
	c.sessions = nil
	c.mu.Unlock()
	close(c.done)
	for _, s := range sessions {
		s.end(err)
	}
	_ = c.w.Close() // nobody reads it any more; a writer that waits gives up
	writer.Wait()
}

// Open returns the session that the browser calls id, and gives its events to
// handle. It is to be opened before the first command is sent in it. The caller
// ends it.
func (c *Conn) Open(id target.SessionID, handle Handler) *Session {
	s := &Session{id: id, conn: c, handle: handle, ended: make(chan struct{})}
	c.open(s)
	return s
}

// Heard is how many messages the browser has sent.
func (c *Conn) Heard() int64 { return c.heard.Load() }

func (c *Conn) open(s *Session) {
	c.mu.Lock()
	closed := c.sessions == nil
	if !closed {
		c.sessions[s.id] = s
	}
	c.mu.Unlock()
	if closed {
		s.end(ErrClosed)
	}
}

func (c *Conn) write() {
	for {
		select {
		case message := <-c.queue:
			if _, err := c.w.Write(message); err != nil {
				return // the browser has closed its end: read sees it too
			}
		case <-c.done:
			return
		}
	}
}

func (c *Conn) read() error {
	messages := newReader(c.r)
	for {
		var m cdproto.Message
		text, err := messages.next()
		c.heard.Add(1)
		relayed := c.relayed(text)
		switch {
		case errors.Is(err, errTooLong) && relayed != nil:
			if text = tooLong(text, relayed.id); text != nil {
				relayed.relay(text)
			}
			continue
		case errors.Is(err, errTooLong):
			c.answer(headID(text), reply{err: err})
			continue
		case err != nil:
			return err
		case relayed != nil:
			relayed.relay(text)
			continue
		}
		if err := jsonv2.Unmarshal(text, &m, lax()...); err != nil {
			return fmt.Errorf("message of the browser: %w", err)
		}
		if m.Method == "" {
			c.answer(m.ID, reply{result: m.Result, err: errorOf(&m)})
			continue
		}
		c.mu.Lock()
		s := c.sessions[m.SessionID]
		c.mu.Unlock()
		if s != nil && s.handle != nil {
			s.handle(Event{Method: string(m.Method), Params: m.Params})
		}
	}
}

// errorOf is the browser's error as a Go error, without a typed nil.
func errorOf(m *cdproto.Message) error {
	if m.Error == nil {
		return nil
	}
	return m.Error
}

func (c *Conn) answer(id int64, r reply) {
	c.mu.Lock()
	pending := c.calls[id]
	delete(c.calls, id)
	c.mu.Unlock()
	if pending != nil {
		pending.reply <- r // has room for one
	}
}

// send enqueues a command and returns what will have its answer.
func (c *Conn) send(ctx context.Context, s *Session, method string, params any) (*call, error) {
	pending := &call{session: s, method: method, reply: make(chan reply, 1)}
	c.mu.Lock()
	c.next++
	pending.id = c.next
	c.calls[pending.id] = pending
	c.mu.Unlock()
	message, err := encode(pending.id, s.id, method, params)
	if err == nil {
		select {
		case <-s.ended:
			err = s.why
		default:
			select {
			case c.queue <- message:
				return pending, nil
			case <-ctx.Done():
				err = context.Cause(ctx)
			case <-s.ended:
				err = s.why
			}
		}
	}
	c.forget(pending)
	return nil, fmt.Errorf("%s: %w", method, err)
}

func (c *Conn) forget(pending *call) {
	c.mu.Lock()
	delete(c.calls, pending.id)
	c.mu.Unlock()
}

func encode(id int64, session target.SessionID, method string, params any) ([]byte, error) {
	m := cdproto.Message{ID: id, SessionID: session, Method: cdproto.MethodType(method)}
	if params != nil {
		var err error
		if m.Params, err = jsonv2.Marshal(params, lax()...); err != nil {
			return nil, err
		}
	}
	message, err := jsonv2.Marshal(&m, lax()...)
	return append(message, 0), err
}

// lax options let a page's broken texts (half of a surrogate pair) pass as
// replacement characters.
func lax() []jsonv2.Options {
	return []jsonv2.Options{jsonv2.DefaultOptionsV2(), jsonv2.AllowInvalidUTF8(true)}
}
