package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/transport"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// maxCause bounds, in bytes, what an error repeats of a cause: net/http quotes
// the first line of an answer that is not HTTP, however long it is.
const maxCause = 300

// explain makes err, which ended an exchange, the error of the call: what was
// asked of whom, in which phase it ended, why, and whether the server may have
// done what it was asked for.
func (c *client) explain(ctx context.Context, t *trace, err error) error {
	at, target := t.where()
	err = cause(err)
	if strings.HasPrefix(err.Error(), errRedirect) {
		at = call.Awaiting // it is the headers that are at fault, though the body has been read
	}
	if _, proxied := errors.AsType[*transport.ProxyError](err); proxied {
		at = call.Connecting
	}
	t.failed = at
	code, text := c.reason(ctx, t, at, err)
	text = fmt.Sprintf("%s %s: %s: %s", t.method, target, at, text)
	processed := "no"
	if t.call.Sent() {
		processed = "maybe"
		text += "; the server may have processed the request"
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Domain:   "gaia.api.v1",
		Reason:   strings.ToUpper(at.String()),
		Metadata: map[string]string{"processed": processed, "attempts": strconv.Itoa(t.call.Outcome().Attempts)},
	}}
	if failure, ok := errors.AsType[*call.Failure](err); ok && failure.RetryAfter > 0 {
		t.limited = true
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(failure.RetryAfter)})
	}
	failed := status.New(code, text)
	if detailed, err := failed.WithDetails(details...); err == nil {
		failed = detailed
	}
	return failed.Err()
}

// reason returns the code and the cause in words. What the caller did, by
// giving up or by the time it allows, is not blamed on the server.
func (c *client) reason(ctx context.Context, t *trace, at call.Phase, err error) (codes.Code, string) {
	elapsed := time.Since(t.begun).Round(time.Millisecond)
	failure, isFailure := errors.AsType[*call.Failure](err)
	if !isFailure {
		failure, isFailure = errors.AsType[*call.Failure](context.Cause(ctx))
	}
	switch {
	case isFailure:
		return failure.Code, failure.Text
	case errors.Is(ctx.Err(), context.Canceled):
		return codes.Canceled, fmt.Sprintf("canceled by the caller after %v", elapsed)
	case ctx.Err() != nil:
		text := fmt.Sprintf("deadline exceeded after %v", elapsed)
		if what := t.call.Exchange().WaitsFor(); what != "" && at == call.Waiting {
			text += ", waiting for " + what
		}
		return codes.DeadlineExceeded, text
	}
	return codes.Unavailable, c.words(at, err)
}

// words says why a server could not be reached or broke off.
func (c *client) words(at call.Phase, err error) string {
	var timeout net.Error
	if proxied, ok := errors.AsType[*transport.ProxyError](err); ok {
		return "proxy " + proxied.Proxy + ": " + strings.Replace(c.words(at, proxied.Err), "the server closed", "it closed", 1)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text := strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: ")
		text = strings.TrimSuffix(strings.TrimSuffix(text, "unexpected EOF"), "EOF")
		return text + "the server closed the connection"
	case at == call.Sending && errors.Is(err, net.ErrClosed): // one goroutine has read the end before another wrote
		return "the server closed the connection"
	case at == call.Handshaking && errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no handshake within %v (tls_timeout)", c.settings.tlsTimeout)
	case strings.Contains(err.Error(), "tls: no application protocol"):
		return "the server does not offer the version of HTTP that must be used: no application protocol"
	case at == call.Awaiting && strings.HasPrefix(err.Error(), errHTTP2):
		return fmt.Sprintf("HTTP/2 %v: broken frames, or headers of this or another response on the connection far over %d bytes (max_response_headers)",
			err, c.settings.maxResponseHeaders)
	case strings.HasPrefix(err.Error(), errRedirect):
		return "the server redirected to a Location that is not a URL"
	}
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\n", "; "), "\uFFFD") // errors.Join makes lines
	if at >= call.Sending {
		text = withoutQuotes(text)
	}
	if len(text) > maxCause {
		text = strings.ToValidUTF8(text[:maxCause], "") + "…"
	}
	return text
}

// withoutQuotes leaves out what net/http quotes of an answer that is not HTTP. It
// may be what the server was sent, path and secrets included.
func withoutQuotes(text string) string {
	for _, inside := range []string{"net/http: HTTP/1.x transport connection broken: ", "readLoopPeekFailLocked: "} {
		text = strings.TrimPrefix(text, inside)
	}
	if text == "%!w(<nil>)" { // net/http's, for what came on a connection before the request had left
		return "the server answered what it was not asked"
	}
	if begin, end := strings.IndexByte(text, '"'), strings.LastIndexByte(text, '"'); begin < end {
		text = text[:begin] + "…" + text[end+1:]
	}
	return text
}

// errHTTP2 begins what net/http says when it gives up an HTTP/2 connection.
const errHTTP2 = "connection error: "

// isHeaderLimit reports whether err is about response headers over
// Transport.MaxResponseHeaderBytes, which has no type: tests hold the texts, of
// HTTP/1, HTTP/2 and HTTP/3.
func isHeaderLimit(err error) bool {
	text := err.Error()
	return strings.Contains(text, "server response headers exceeded") ||
		strings.Contains(text, "response header list larger than advertised limit") ||
		strings.Contains(text, "http3: HEADERS frame too large")
}

func requestTooLarge(size, limit int64) error {
	return status.Errorf(codes.ResourceExhausted, "request body of %d bytes, limit %d (max_request_body)", size, limit)
}
