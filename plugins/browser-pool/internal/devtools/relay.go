package devtools

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/chromedp/cdproto/target"
)

// The end of a message of a session, as browsers write it. No string and no
// inner object of a message can end like this: the quotes are not escaped, and
// the brace is the last byte.
const (
	beforeSession = `,"sessionId":"`
	afterSession  = `"}`
	sessionLength = 32 // hexadecimal digits
)

// Relay gives all messages of a session to pass, answers too, as the browser
// wrote them. Pass is called like a Handler, and owns the text. Commands are sent
// with Forward, and their ids are the caller's own. The caller ends the session.
func (c *Conn) Relay(id target.SessionID, pass func(text []byte)) *Session {
	s := &Session{id: id, conn: c, relay: pass, ended: make(chan struct{})}
	c.open(s)
	return s
}

// Forward sends a command as it is: one JSON text with the id of a session of
// Relay, to which the answer goes. It waits while the browser does not read.
func (c *Conn) Forward(ctx context.Context, text []byte) error {
	select {
	case <-c.done:
		return ErrClosed
	default:
	}
	select {
	case c.queue <- append(slices.Clip(text), 0):
		return nil
	case <-c.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// relayed is the session of Relay that a message is for; nil if there is none.
func (c *Conn) relayed(text []byte) *Session {
	_, id := CutSession(text)
	if id == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[id]; s != nil && s.relay != nil {
		return s
	}
	return nil
}

// CutSession returns the id of the session that a message of the browser's is of,
// "" for the browser itself, and the message up to that id, without its closing
// brace. The message stays as it is.
func CutSession(text []byte) ([]byte, target.SessionID) {
	begin := len(text) - len(beforeSession) - sessionLength - len(afterSession)
	if begin < 0 {
		return text, ""
	}
	tail, isOpen := bytes.CutPrefix(text[begin:], []byte(beforeSession))
	id, isClosed := bytes.CutSuffix(tail, []byte(afterSession))
	if !isOpen || !isClosed || bytes.ContainsAny(id, `"\`) {
		return text, ""
	}
	return text[:begin], target.SessionID(id)
}

// tooLong is what a session of Relay gets in place of a message that is too long;
// nil for an event.
func tooLong(head []byte, id target.SessionID) []byte {
	n := headID(head)
	if n == 0 {
		return nil
	}
	return fmt.Appendf(nil, `{"id":%d,"error":{"code":-32000,"message":%q}%s%s%s`, n, errTooLong, beforeSession, id, afterSession)
}
