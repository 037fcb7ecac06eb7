package proxy

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gaia-go/gaia/sdk/egress"
)

// http answers one request and reports whether another may follow on the
// connection.
func (s *session) http(ctx context.Context) bool {
	head, err := s.in.head(maxHead)
	if err != nil {
		s.broken(err)
		return false
	}
	s.phase.Store(busy)
	_ = s.client.SetReadDeadline(time.Time{})
	r, err := parseRequest(head)
	if r.method == http.MethodConnect && len(head) > maxConnect {
		err = errTooLong
	}
	if err != nil {
		s.say(malformed(err))
		return false
	}
	client, ok := s.server.gate.Load().admit(r.fields.values("Proxy-Authorization"))
	if !ok {
		return s.refuse(r, unknown())
	}
	if r.method == http.MethodConnect {
		return s.connect(ctx, client, r)
	}
	return s.forward(ctx, client, r)
}

// broken answers a head that did not come, or not as one.
func (s *session) broken(err error) {
	switch {
	case timedOut(err):
		s.say(answer{status: http.StatusRequestTimeout, text: "the head of the request has not come within " + s.server.headTime.String()})
	case errors.Is(err, errTooLong), errors.Is(err, errBareLF):
		s.say(malformed(err))
	}
}

// refuse says no to a request. If it has no body, the client may ask for
// something else on the same connection.
func (s *session) refuse(r request, a answer) bool {
	b, err := bodyOf(r.fields, r.minor, 0)
	if err != nil || !b.empty() || !r.persists() || s.server.quitting() {
		s.say(a)
		return false
	}
	_ = s.client.SetWriteDeadline(time.Now().Add(s.server.headTime))
	_, err = s.client.Write(a.bytes(false))
	return err == nil
}

// persists reports whether the client wants to go on after this request.
func (r request) persists() bool {
	return r.minor == 1 && !r.fields.has("Connection", "close") && !r.fields.has("Proxy-Connection", "close")
}

// resource is what a request in absolute form asks for.
type resource struct {
	to        egress.Target
	authority string // as it was written
	path      string // with the query
}

// resource reads the target of a request and holds it against the Host field:
// rules must not be asked about one host and the server about another.
func (r request) resource(client string) (resource, error) {
	scheme, rest, found := strings.Cut(r.target, "://")
	switch {
	case strings.HasPrefix(r.target, "/") || r.target == "*":
		return resource{}, errors.New("this is a proxy: it takes requests for whole URLs (GET http://HOST/PATH) and CONNECT")
	case !found || !strings.EqualFold(scheme, "http"):
		return resource{}, errors.New("the URL does not begin with http://; for https:// send a CONNECT")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	x := resource{authority: rest[:end], path: rest[end:]}
	if strings.ContainsAny(x.path, "#") || strings.ContainsAny(x.authority, "@\\") {
		return resource{}, errors.New("a URL with a fragment, a name or a password; send these in fields")
	}
	if !strings.HasPrefix(x.path, "/") {
		if x.path == "" && r.method == http.MethodOptions {
			x.path = "*"
		} else {
			x.path = "/" + x.path
		}
	}
	var err error
	if x.to, err = authority(client, x.authority, 80); err != nil {
		return resource{}, err
	}
	hosts := r.fields.values("Host")
	if len(hosts) > 1 || len(hosts) == 0 && r.minor == 1 {
		return resource{}, errors.New("there is not one Host field")
	}
	if len(hosts) == 1 {
		if named, err := authority(client, hosts[0], 80); err != nil || named != x.to {
			return resource{}, errors.New("the Host field does not name the host of the URL")
		}
	}
	return x, nil
}

// forward passes a request on and its response back. It reports whether another
// request may follow.
func (s *session) forward(ctx context.Context, client string, r request) bool {
	x, err := r.resource(client)
	if err != nil {
		s.say(malformed(err))
		return false
	}
	b, err := bodyOf(r.fields, r.minor, 0)
	if err != nil {
		s.say(malformed(err))
		return false
	}
	switch {
	case r.method == http.MethodTrace:
		return s.refuse(r, answer{status: http.StatusMethodNotAllowed, text: "TRACE shows what others have added to a request; it is not passed on"})
	case r.loops(s.server.me):
		return s.refuse(r, answer{status: http.StatusLoopDetected, text: "the request has been here already"})
	}
	e := &exchange{session: s, request: r, resource: x, body: b, upgrade: r.upgrades()}
	return e.run(ctx)
}

// loops reports whether this proxy has passed the request on before.
func (r request) loops(me string) bool {
	for _, via := range r.fields.values("Via") {
		if strings.Contains(via, me) {
			return true
		}
	}
	return false
}

// upgrades returns the protocol that the client wants to change to.
func (r request) upgrades() string {
	if wanted := r.fields.values("Upgrade"); len(wanted) == 1 && r.minor == 1 && r.fields.has("Connection", "upgrade") {
		return wanted[0]
	}
	return ""
}

// head is the request as it is sent on.
func (e *exchange) head() []byte {
	out := make([]byte, 0, 1024)
	out = append(out, e.request.method+" "+e.resource.path+" HTTP/1.1\r\nHost: "+e.resource.authority+"\r\n"...)
	out = appendFields(out, e.request.fields)
	out = append(out, "Via: 1."+strconv.Itoa(e.request.minor)+" "+e.session.server.me+"\r\n"...)
	out = appendFraming(out, e.request.fields, e.body)
	if e.upgrade != "" {
		out = append(out, "Connection: Upgrade\r\nUpgrade: "+e.upgrade+"\r\n"...)
	}
	return append(out, "\r\n"...)
}

// appendFields appends those fields that are not of one connection only (RFC
// 9110, section 7.6.1), nor written anew.
func appendFields(out []byte, all fields) []byte {
	hop := map[string]struct{}{"host": {}}
	for _, named := range all.values("Connection") {
		for name := range strings.SplitSeq(named, ",") {
			hop[strings.ToLower(strings.Trim(name, " \t"))] = struct{}{}
		}
	}
	for _, f := range all {
		if _, named := hop[strings.ToLower(f.name)]; named || isFraming(f.name) {
			continue
		}
		out = append(out, f.name+": "+f.value+"\r\n"...)
	}
	return out
}

// appendFraming appends how the end of the body is told, as it came.
func appendFraming(out []byte, all fields, b body) []byte {
	if b.chunked {
		return append(out, "Transfer-Encoding: chunked\r\n"...)
	}
	for _, length := range all.values("Content-Length") {
		out = append(out, "Content-Length: "+length+"\r\n"...)
	}
	return out
}

// isFraming reports whether a field is of one connection only.
func isFraming(name string) bool {
	switch len(name) {
	case 2, 7, 10, 14, 16, 17, 18, 19:
	default:
		return false
	}
	switch strings.ToLower(name) {
	case "te", "trailer", "upgrade", "connection", "keep-alive", "content-length", "proxy-connection",
		"transfer-encoding", "proxy-authorization", "proxy-authenticate":
		return true
	}
	return false
}

var errUnasked = errors.New("a response that nobody asked for")
