package devtools

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
)

// ErrClosed is the end of a connection: the browser has gone.
var ErrClosed = errors.New("the browser has exited")

// Session is a conversation with one page, worker or frame, or with the browser.
// Its methods are safe for concurrent use.
type Session struct {
	id     target.SessionID
	conn   *Conn
	handle Handler
	relay  func(text []byte) // in place of handle, see Conn.Relay

	endOnce sync.Once
	ended   chan struct{} // closed by end
	why     error         // written before ended is closed
}

// call is a command that has been sent.
type call struct {
	id      int64
	session *Session
	method  string
	reply   chan reply // one, which may never come
}

type reply struct {
	result jsonv2.Value
	err    error
}

// ID is the browser's name for the session, "" for the one of the browser.
func (s *Session) ID() target.SessionID { return s.id }

// End makes all calls in flight and all later ones fail with an error that wraps
// why, and forgets the session. The browser is not told. Only the first call has
// an effect.
func (s *Session) End(why error) {
	s.conn.mu.Lock()
	if s.conn.sessions[s.id] == s {
		delete(s.conn.sessions, s.id)
	}
	s.conn.mu.Unlock()
	s.end(why)
}

func (s *Session) end(why error) {
	s.endOnce.Do(func() {
		s.why = why
		close(s.ended)
	})
}

// Ended is closed when the session has ended, by End or with the connection.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Err says why the session has ended; nil while it has not.
func (s *Session) Err() error {
	select {
	case <-s.ended:
		return s.why
	default:
		return nil
	}
}

// Call sends a command and waits for its answer, which it decodes into result,
// unless that is nil. Params and result may be a jsonv2.Value, to pass a message
// on as it is. An error of the browser's is a *cdproto.Error; the others are the
// context's cause, ErrClosed and what the session was ended with.
func (s *Session) Call(ctx context.Context, method string, params, result any) error {
	pending, err := s.conn.send(ctx, s, method, params)
	if err != nil {
		return err
	}
	return pending.wait(ctx, result)
}

// settle returns when there is an answer, or when none will come.
func (p *call) settle(ctx context.Context) {
	select {
	case r := <-p.reply:
		p.reply <- r // for wait
	case <-ctx.Done():
	case <-p.session.ended:
	}
}

func (p *call) wait(ctx context.Context, result any) error {
	var r reply
	select {
	case r = <-p.reply:
	case <-ctx.Done():
		r.err = context.Cause(ctx)
		p.session.conn.forget(p)
	case <-p.session.ended:
		select {
		case r = <-p.reply: // it came just before the end
		default:
			r.err = p.session.why
			p.session.conn.forget(p)
		}
	}
	if r.err == nil && result != nil {
		r.err = jsonv2.Unmarshal(r.result, result, lax()...)
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", p.method, r.err)
	}
	return nil
}

// Call sends one of cdproto's commands and waits for its answer.
func Call[P, R any](ctx context.Context, s *Session, command cdp.Command[P, R], params P) (R, error) {
	var result R
	err := s.Call(ctx, command.Method, params, &result)
	return result, err
}

// Post sends a command whose answer nobody waits for. It does not block, so that a
// Handler can use it; it reports whether there was room for the command.
func (s *Session) Post(method string, params any) bool {
	s.conn.mu.Lock()
	s.conn.next++
	id := s.conn.next
	s.conn.mu.Unlock()
	message, err := encode(id, s.id, method, params)
	if err != nil || s.Err() != nil {
		return false
	}
	select {
	case s.conn.queue <- message:
		return true
	default:
		return false
	}
}

// Command is one of a Batch.
type Command struct {
	Method string
	Params any // nil for none
	Result any // a pointer, or nil
	// Optional passes over that the browser refuses it.
	Optional bool
	// Await has those after it sent when it has been answered.
	Await bool
}

// Do is one of cdproto's commands for a Batch, whose answer nobody needs.
func Do[P, R any](command cdp.Command[P, R], params P) Command {
	return Command{Method: command.Method, Params: params}
}

// Ask is one of cdproto's commands for a Batch, whose answer goes to result.
func Ask[P, R any](command cdp.Command[P, R], params P, result *R) Command {
	return Command{Method: command.Method, Params: params, Result: result}
}

// Batch sends commands one after the other without waiting, and then waits for
// all their answers: many of them take as long as one. The error is that of the
// first that has one; the others have been carried out nevertheless.
func (s *Session) Batch(ctx context.Context, commands ...Command) error {
	sent := make([]*call, 0, len(commands))
	var first error
	for _, c := range commands {
		pending, err := s.conn.send(ctx, s, c.Method, c.Params)
		if err != nil {
			first = err
			break
		}
		sent = append(sent, pending)
		if c.Await {
			pending.settle(ctx)
		}
	}
	for i, pending := range sent {
		err := pending.wait(ctx, commands[i].Result)
		if commands[i].Optional && errors.As(err, new(*cdproto.Error)) {
			err = nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}
