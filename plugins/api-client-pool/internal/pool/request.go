package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/profile"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/transport"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk/egress"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	defaultRedirects = 10
	maxRedirects     = 20
	maxRetries       = 10
)

// faults are what is wrong with a request. No fault repeats a URL or a header's
// value: a password may be in it.
type faults []*errdetails.BadRequest_FieldViolation

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, &errdetails.BadRequest_FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)})
}

// err is nil without faults, and else InvalidArgument with all of them.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b *errdetails.BadRequest_FieldViolation) int {
		return strings.Compare(a.GetField(), b.GetField())
	})
	texts := make([]string, len(f))
	for i, fault := range f {
		texts[i] = fault.GetField() + ": " + fault.GetDescription()
	}
	invalid := status.New(codes.InvalidArgument, strings.Join(texts, "; "))
	detailed, err := invalid.WithDetails(&errdetails.BadRequest{FieldViolations: f})
	if err != nil {
		return invalid.Err()
	}
	return detailed.Err()
}

// newRequest makes message an HTTP request without a context, or returns
// InvalidArgument. It shares the body's memory with message.
func newRequest(message *apiv1.DoRequest, s *settings) (*http.Request, error) {
	var faults faults
	p := checkProfile(message.GetProfile(), s.profiles, &faults)
	checkNumbers(message, &faults)
	method := checkMethod(message.GetMethod(), &faults)
	if p != nil && p.Echoes(method) {
		faults.add("method", "TRACE would return the secrets of profile %q", p)
	}
	target := checkURL(message.GetUrl(), p, &faults)
	headers := checkHeaders(message, p, &faults)
	checkVersion(message.GetHttpVersion(), target, s.routes[message.GetProfile()].Proxy != nil, s.http2, &faults)
	if err := faults.err(); err != nil {
		return nil, err
	}
	host := headers.Get("Host")
	if host == "" {
		host = target.Host
	}
	headers.Del("Host") // net/http sends Request.Host
	if _, set := headers["User-Agent"]; !set && (p == nil || !p.Adds("User-Agent")) {
		headers.Set("User-Agent", s.userAgent)
	}
	request := &http.Request{
		Method:     method,
		URL:        target,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     headers,
		Host:       host,
	}
	attach(request, message.GetBody())
	return request, nil
}

// attach gives request a body that redirects and new connections can repeat.
func attach(request *http.Request, body []byte) {
	if len(body) == 0 {
		request.Body = http.NoBody
		request.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
		return
	}
	request.ContentLength = int64(len(body))
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
}

func checkNumbers(message *apiv1.DoRequest, faults *faults) {
	if timeout := message.GetTimeout(); timeout != nil && (timeout.CheckValid() != nil || timeout.AsDuration() <= 0) {
		faults.add("timeout", "must be above 0s; leave it out for the deadline of the call")
	}
	if n := message.GetRedirects(); n > maxRedirects {
		faults.add("redirects", "%d is above %d", n, maxRedirects)
	}
	if n := message.GetRetries(); n > maxRetries {
		faults.add("retries", "%d is above %d", n, maxRetries)
	}
	if after := message.GetHedgeAfter(); after != nil && (after.CheckValid() != nil || after.AsDuration() < 0) {
		faults.add("hedge_after", "must not be below 0s, which is the time within which 95 %% of the domain's responses begin")
	}
}

// newCall is what the message asks of the round trippers, beside request.
func newCall(message *apiv1.DoRequest, request *http.Request, s settings) *call.Call {
	c := &call.Call{
		Profile:    message.GetProfile(),
		Cache:      message.GetCache(),
		Version:    message.GetHttpVersion(),
		Idempotent: call.Idempotent(request.Method, request.Header),
		Retries:    s.retries,
		Hedge:      message.GetHedgeAfter() != nil,
		HedgeAfter: message.GetHedgeAfter().AsDuration(),
		MaxBody:    s.maxResponseBody,
	}
	if message.Retries != nil {
		c.Retries = int(message.GetRetries())
	}
	return c
}

func redirectLimit(message *apiv1.DoRequest) int {
	if message.Redirects == nil {
		return defaultRedirects
	}
	return int(message.GetRedirects())
}

// checkMethod returns the method, "GET" for none. Methods are case-sensitive
// (RFC 9110, 9.1), so "get" would be one that no server knows.
func checkMethod(method string, faults *faults) string {
	switch {
	case method == "":
		return http.MethodGet
	case !httpguts.ValidHeaderFieldName(method): // both are tokens
		faults.add("method", "%q has a character that a method cannot have", method)
	case method != strings.ToUpper(method):
		faults.add("method", "%q: write %q", method, strings.ToUpper(method))
	case method == http.MethodConnect:
		faults.add("method", "CONNECT opens tunnels through proxies, which this service does not")
	}
	return method
}

// checkProfile returns the profile of a name, nil for "".
func checkProfile(name string, profiles profile.Profiles, faults *faults) *profile.Profile {
	if name == "" {
		return nil
	}
	p := profiles[name]
	if p == nil {
		known := "there is none"
		if len(profiles) > 0 {
			known = "those that there are: " + strings.Join(slices.Sorted(maps.Keys(profiles)), ", ")
		}
		faults.add("profile", "%.80q is not configured; %s", name, known)
	}
	return p
}

func checkVersion(version apiv1.HTTPVersion, target *url.URL, proxied, http2 bool, faults *faults) {
	if _, known := apiv1.HTTPVersion_name[int32(version)]; !known {
		faults.add("http_version", "%d is not known", version)
	}
	if target == nil {
		return
	}
	if err := transport.Fits(version, target, proxied, http2); err != nil {
		faults.add("http_version", "%v", err)
	}
}

func checkURL(text string, p *profile.Profile, faults *faults) *url.URL {
	if text == "" && p == nil {
		faults.add("url", `missing; write an absolute one, such as "https://example.com/"`)
		return nil
	}
	target, err := url.Parse(text)
	if err != nil {
		faults.add("url", "not a well-formed URL: a space or control character is written %%XX, "+
			"a port is a number, an IPv6 address stands in brackets")
		return nil
	}
	if p != nil && target.User == nil {
		if target, err = p.Resolve(target); err != nil {
			faults.add("url", "%v", err)
			return nil
		}
	}
	if fault := urlFault(target); fault != "" {
		faults.add("url", "%s", fault)
		return nil
	}
	if err := spell(target); err != nil {
		faults.add("url", "%v", err)
		return nil
	}
	return target
}

// spell writes host and port of u in their one spelling, by the same rules as
// a profile's hosts and egress rules: what is bounded for each host would else be
// for each spelling of it.
func spell(u *url.URL) error {
	host, err := egress.ParseHost(u.Hostname())
	if err != nil {
		return err
	}
	name, port := host.String(), strings.TrimLeft(u.Port(), "0")
	if name == u.Hostname() && port == u.Port() && !strings.HasSuffix(u.Host, ":") {
		return nil // as most are
	}
	switch {
	case port != "":
		name = net.JoinHostPort(name, port)
	case strings.Contains(name, ":"):
		name = "[" + name + "]"
	}
	u.Host = name
	return nil
}

// urlFault says why a request cannot go to u, and is "" if it can.
func urlFault(u *url.URL) string {
	switch {
	case u.User != nil:
		return "has user information; send an Authorization header instead"
	case u.Scheme != "http" && u.Scheme != "https" && u.Host != "":
		return fmt.Sprintf("scheme %q; only http and https are served", u.Scheme)
	case u.Scheme != "http" && u.Scheme != "https":
		return `not absolute; write scheme and host, such as "https://example.com/"`
	case u.Hostname() == "":
		return `has no host; write one, such as "https://example.com/"`
	case strings.Contains(u.RawQuery, " "):
		return "has a space in its query; write %20"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Sprintf("port %s; ports are 1 to 65535", port)
		}
	}
	return ""
}

// checkHeaders returns the headers under canonical names, Host among them.
func checkHeaders(message *apiv1.DoRequest, p *profile.Profile, faults *faults) http.Header {
	headers := make(http.Header, len(message.GetHeaders())+2)
	for name, value := range message.GetHeaders() {
		canonical := http.CanonicalHeaderKey(name)
		if fault := headerFault(canonical, value); fault != "" {
			faults.add(fmt.Sprintf("headers[%q]", name), "%s", fault)
			continue
		}
		if p != nil {
			if fault := p.Refuses(canonical, value); fault != "" {
				faults.add(fmt.Sprintf("headers[%q]", name), "%s", fault)
			}
		}
		if _, twice := headers[canonical]; twice {
			faults.add(fmt.Sprintf("headers[%q]", canonical), "given twice, in different case; join the values with a comma")
			continue
		}
		headers[canonical] = []string{value}
	}
	if key := message.GetIdempotencyKey(); key != "" {
		switch _, set := headers["Idempotency-Key"]; {
		case set:
			faults.add("idempotency_key", "also given as a header; write one of the two")
		case !httpguts.ValidHeaderFieldValue(key):
			faults.add("idempotency_key", "has a character that a header value cannot have")
		}
		headers["Idempotency-Key"] = []string{key}
	}
	return headers
}

// headerFault says why the header cannot be sent, and is "" if it can.
func headerFault(canonical, value string) string {
	if !httpguts.ValidHeaderFieldName(canonical) {
		return "has a character that a header name cannot have"
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		return "its value has a character that a header value cannot have"
	}
	switch canonical {
	case "Content-Length":
		return "is set by the client from the body"
	case "Connection", "Http2-Settings", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return "belongs to the connection, which is the client's own"
	case "Idempotency-Key", "X-Idempotency-Key":
		if value == "" { // net/http would repeat the request by the mere name
			return "is empty; leave it out, or write the key that the server knows repetitions by"
		}
	case "Host":
		if !isHost(value) {
			return `is not a host; write "example.com" or "example.com:8080"`
		}
	}
	return ""
}

// isHost reports whether value is a host with or without a port.
func isHost(value string) bool {
	u, err := url.Parse("http://" + value)
	return err == nil && u.Host == value && urlFault(u) == ""
}

// errRedirect is what net/http says of a Location that is not a URL; it is
// unexported there, and its text repeats the Location.
const errRedirect = "failed to parse Location header"

// redirects decides about each redirect of one call.
type redirects struct {
	limit   int
	version apiv1.HTTPVersion
	strayed bool // whether another server than the first was met
}

// check is an http.Client's CheckRedirect. Where it does not follow, the
// redirect itself becomes the response.
func (r *redirects) check(next *http.Request, past []*http.Request) error {
	if len(past) > r.limit {
		return http.ErrUseLastResponse
	}
	// Credentials that a server put into a Location are not the caller's.
	next.URL.User = nil
	if urlFault(next.URL) != "" || spell(next.URL) != nil || transport.Fits(r.version, next.URL, false, true) != nil {
		return http.ErrUseLastResponse
	}
	// net/http lets them go along to all names below the first one's, to other
	// ports, and from https to http.
	if r.strayed = r.strayed || !isAtHome(past[0].URL, next.URL); r.strayed {
		next.Header.Del("Authorization")
		next.Header.Del("Cookie")
	}
	call.From(next.Context()).Redirected()
	// net/http adds the previous URL, query included, which may carry a key.
	if past[0].Header.Get("Referer") == "" {
		next.Header.Del("Referer")
	}
	return nil
}

// isAtHome reports whether what is meant for the server of from may go to that of
// to: it is the same, or the same on https.
func isAtHome(from, to *url.URL) bool {
	home, there := originOf(from), originOf(to)
	if home.scheme == "http" && home.port == "80" && there.scheme == "https" {
		home.scheme, home.port = "https", "443"
	}
	return home == there
}

// cause takes off http.Client's url.Error, which repeats the URL.
func cause(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}
