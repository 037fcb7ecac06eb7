package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
)

// exchange is a request of plain HTTP and its response.
type exchange struct {
	session  *session
	request  request
	resource resource
	body     body
	upgrade  string // the protocol that the client would change to; "" none

	host    *conn.Conn
	reused  bool       // host has carried requests before
	begun   bool       // something of the response has gone to the client
	goesOn  bool       // another request may follow
	sending chan error // ends with what became of the request's body; nil without one
	sent    error      // what is wrong with that body
	unread  bool       // the client may still send it
}

const (
	// lateBody is how long a client may go on with its body once it has the
	// response: that long the last bytes of one may be on their way.
	lateBody = 100 * time.Millisecond
	// maxInterim is how many responses may come before the final one.
	maxInterim = 32
)

// run sends the request and passes the response back. It reports whether another
// request may follow.
func (e *exchange) run(ctx context.Context) bool {
	for {
		if err := e.connect(ctx); err != nil {
			return e.session.refuse(e.request, refusal(err))
		}
		err := e.attempt()
		if err == nil {
			if e.unread {
				e.session.linger()
			}
			return e.goesOn
		}
		// A host may close a connection at the moment at which it gets a request;
		// then it has not answered, and the request is sent once more.
		if e.reused && !e.begun && e.body.empty() && isSafe(e.request.method) && e.host.Ended() == "" {
			e.session.drop(conn.Reset)
			continue
		}
		e.fail(err)
		return false
	}
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// connect makes the session's connection one to the host of the request.
func (e *exchange) connect(ctx context.Context) error {
	s := e.session
	if s.host != nil {
		if s.host.Target == e.resource.to && len(s.fromHost.buffered()) == 0 && s.host.Alive() {
			e.host, e.reused = s.host, true
			return nil
		}
		s.hangUp()
	}
	e.reused = false
	host, err := s.server.table.Open(ctx, networkv1.Door_HTTP, e.resource.to)
	if err != nil {
		return err
	}
	s.host, e.host = host, host
	s.fromHost = s.server.reader(attentive{host, s.client})
	return host.SetReadDeadline(time.Now().Add(lookTime))
}

// attempt sends the request and passes the response back.
func (e *exchange) attempt() (err error) {
	if _, err := e.host.Write(e.head()); err != nil {
		return err
	}
	if !e.body.empty() {
		e.sending = make(chan error, 1)
		go func() { e.sending <- e.send() }()
		defer func() { e.stop(err == nil) }()
	}
	for range maxInterim {
		r, err := e.receive()
		switch {
		case err != nil:
			return err
		case r.status == http.StatusSwitchingProtocols:
			return e.change(r)
		case r.status >= 200:
			return e.answer(r)
		case e.request.minor == 1:
			if err := e.pass(e.session.responseHead(r, body{}, false)); err != nil {
				return err
			}
		}
	}
	return errors.New("too many responses before the final one")
}

// receive reads the head of a response.
func (e *exchange) receive() (response, error) {
	head, err := e.session.fromHost.head(maxHead)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return response{}, err
	}
	return parseResponse(head)
}

// send sends the body of the request. What is wrong with it breaks the
// connection to the host off, so that nobody takes it for whole.
func (e *exchange) send() error {
	err := e.session.server.copier.copy(e.host, e.session.in, e.body, false)
	if errors.As(err, new(fault)) {
		e.host.End(conn.Reset)
	}
	return err
}

// stop ends the sending of the body, whole or not.
func (e *exchange) stop(answered bool) {
	var late <-chan time.Time
	if answered {
		timer := time.NewTimer(lateBody)
		defer timer.Stop()
		late = timer.C
	} else {
		late = past()
	}
	select {
	case e.sent = <-e.sending:
	case <-late:
		_ = e.session.client.SetReadDeadline(time.Unix(1, 0))
		e.host.End(conn.Reset)
		if e.sent = <-e.sending; timedOut(e.sent) {
			e.sent = nil // that was the deadline just set
		}
		e.unread = true
	}
	if e.sent != nil || e.unread {
		e.goesOn = false
	}
}

// past is a time that has come.
func past() <-chan time.Time {
	now := make(chan time.Time)
	close(now)
	return now
}

// change makes a tunnel of the connection (RFC 9110, section 7.8).
func (e *exchange) change(r response) error {
	if e.upgrade == "" || !e.body.empty() {
		return errUnasked
	}
	s := e.session
	out := appendFields([]byte("HTTP/1.1 101 "+r.reason+"\r\n"), r.fields)
	for _, to := range r.fields.values("Upgrade") {
		out = append(out, "Upgrade: "+to+"\r\n"...)
	}
	out = append(out, "Connection: Upgrade\r\n\r\n"...)
	if err := e.pass(append(out, s.fromHost.buffered()...)); err != nil {
		return err
	}
	host := s.host
	if err := host.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	s.server.giveBack(s.fromHost)
	s.host, s.fromHost = nil, nil
	s.tunnel(host)
	return nil
}

// answer passes a final response on.
func (e *exchange) answer(r response) error {
	s := e.session
	none := int64(untilClose)
	if e.request.method == http.MethodHead || r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		none = 0
	}
	b, err := bodyOf(r.fields, r.minor, untilClose)
	if err != nil {
		return err
	}
	framing := b
	if none == 0 {
		b = body{}
	}
	decode := b.chunked && e.request.minor == 0
	e.goesOn = e.request.persists() && b.length != untilClose && !s.server.quitting()
	if !s.host.Attach(s.client) {
		return errors.New("the connection was ended")
	}
	defer s.letGo()
	if decode {
		framing = body{length: untilClose}
	}
	if err := e.pass(s.responseHead(r, framing, !e.goesOn)); err != nil {
		return err
	}
	if err := s.server.copier.copy(s.client, s.fromHost, b, decode); err != nil {
		return err
	}
	if r.minor == 0 || b.length == untilClose || r.fields.has("Connection", "close") {
		s.hangUp()
	}
	return nil
}

// pass writes a head to the client. After that, nothing else can be answered.
func (e *exchange) pass(head []byte) error {
	e.begun = true
	_ = e.session.client.SetWriteDeadline(time.Now().Add(e.session.server.headTime))
	defer e.session.client.SetWriteDeadline(time.Time{}) //nolint:errcheck // a closed connection needs none
	_, err := e.session.client.Write(head)
	return err
}

// responseHead is the head of a response as it is passed on.
func (s *session) responseHead(r response, b body, last bool) []byte {
	out := append(make([]byte, 0, 1024), "HTTP/1.1 "+strconv.Itoa(r.status)+" "+r.reason+"\r\n"...)
	out = appendFields(out, r.fields)
	out = append(out, "Via: 1."+strconv.Itoa(r.minor)+" "+s.server.me+"\r\n"...)
	if r.status >= 200 && r.status != http.StatusNoContent {
		out = appendFraming(out, r.fields, b)
	}
	if last {
		out = append(out, "Connection: close\r\n"...)
	}
	return append(out, "\r\n"...)
}

// fail tells the client of an exchange that did not come to its end: in words if
// nothing of the response has gone out, else by breaking off.
func (e *exchange) fail(err error) {
	s := e.session
	ended := e.host.Ended()
	s.drop(conn.Reset)
	switch {
	case e.begun:
		conn.Abort(s.client)
	case errors.As(e.sent, new(fault)):
		s.say(answer{status: http.StatusBadRequest, text: "malformed body: " + e.sent.Error()})
	case ended == conn.Idle || ended == conn.Expired:
		s.say(answer{status: http.StatusGatewayTimeout, text: "the host has not answered in time (" + string(ended) + ")"})
	case ended == conn.Revoked:
		s.say(answer{status: http.StatusForbidden, text: "the rules have changed and deny the connection now"})
	case ended == conn.Closed || ended == conn.Shutdown:
		s.say(answer{status: http.StatusBadGateway, text: "the connection was ended here (" + string(ended) + ")"})
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.say(answer{status: http.StatusBadGateway, text: "the host has closed the connection before its answer was whole"})
	default:
		s.say(answer{status: http.StatusBadGateway, text: "the host's answer cannot be passed on: " + err.Error()})
	}
}

// letGo makes the client outlive its connection to the host.
func (s *session) letGo() {
	if s.host != nil {
		s.host.Attach(nil)
	}
}

// hangUp ends the connection to the host in good order.
func (s *session) hangUp() { s.drop(conn.Done) }

// drop ends the connection to the host.
func (s *session) drop(why conn.Reason) {
	if s.host == nil {
		return
	}
	s.host.Attach(nil)
	s.host.Close(why)
	s.server.giveBack(s.fromHost)
	s.host, s.fromHost = nil, nil
}
