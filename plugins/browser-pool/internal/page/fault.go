package page

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/chromedp/cdproto"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/sdk/egress"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// IsCrash reports whether an error is the death of a page or its browser, which
// is no fault of the call: one that may be repeated is.
func IsCrash(err error) bool { return status.Code(err) == codes.Aborted }

// MayBeBusy reports whether an error leaves it open what the page is doing now:
// nobody has waited for the end of it.
func MayBeBusy(err error) bool {
	code := status.Code(err)
	return code == codes.DeadlineExceeded || code == codes.Canceled || code == codes.Internal
}

// Fault is an error of a command as the service's. what was waited for is named
// when the time is over.
func (t *Tab) Fault(ctx context.Context, err error, what string) error {
	var thrown *Exception
	ended, isStatus := errors.AsType[statusError](err)
	switch {
	case err == nil:
		return nil
	case isStatus:
		return ended.GRPCStatus().Err() // without the command that met it
	case errors.Is(err, ErrCrashed), errors.Is(err, devtools.ErrClosed):
		return status.Error(codes.Aborted, cause(err).Error())
	case t.Err() != nil:
		return fromEnd(t.Err())
	case errors.Is(err, errPartGone):
		return status.Error(codes.FailedPrecondition, "the frame has gone, or has gone to another page")
	case errors.As(err, &thrown):
		return status.Error(codes.FailedPrecondition, "the page's script: "+thrown.Text)
	case isElsewhere(err):
		return status.Errorf(codes.FailedPrecondition, "the page went elsewhere meanwhile, waiting for %s", what)
	case errors.Is(err, errResult):
		return status.Errorf(codes.FailedPrecondition, "the page has changed what scripts work with: waiting for %s: %v", what, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return status.Errorf(codes.DeadlineExceeded, "time is over, waiting for %s", what)
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Errorf(codes.Internal, "internal: waiting for %s: %v", what, err)
}

// statusError is an error with the service's code, which a tab may end with.
type statusError interface {
	error
	GRPCStatus() *status.Status
}

// fromEnd is why a tab has ended, as the service's error: a status that whoever
// ended it chose, or a crash.
func fromEnd(why error) error {
	if s, ok := status.FromError(why); ok && s.Code() != codes.Unknown {
		return why
	}
	if errors.Is(why, devtools.ErrClosed) {
		why = devtools.ErrClosed // without what the pipe said
	}
	return status.Error(codes.Aborted, why.Error())
}

// cause is the sentinel in an error, without the command that met it.
func cause(err error) error {
	if errors.Is(err, ErrCrashed) {
		return ErrCrashed
	}
	return devtools.ErrClosed
}

// protocolError is what a browser says of a command that it refused; "" for any
// other error.
func protocolError(err error) string {
	if refused, ok := errors.AsType[*cdproto.Error](err); ok {
		return refused.Message
	}
	return ""
}

var errElsewhere = errors.New("the page went elsewhere")

// isElsewhere reports whether a command came to a document that has gone.
func isElsewhere(err error) bool {
	if errors.Is(err, errElsewhere) {
		return true
	}
	switch protocolError(err) {
	case "Inspected target navigated or closed", "Cannot find context with specified id", "Execution context was destroyed.",
		"Not attached to an active page", "No frame for given id found":
		return true
	}
	return false
}

// unreachable is the error of a page that could not be loaded. Browsers see all
// connections fail alike at their proxy; why knows the difference.
func unreachable(address, text string, why func(string) error) error {
	name := strings.TrimPrefix(text, "net::")
	at := origin(address)
	if why != nil {
		if err := why(destination(address)); err != nil && isConnection(name) {
			if denied, ok := errors.AsType[*egress.Denied](err); ok {
				return status.Error(codes.PermissionDenied, denied.Error())
			}
			if status.Code(err) == codes.PermissionDenied { // by a rule of the proxy
				return status.Errorf(codes.PermissionDenied, "%s: %v", at, err)
			}
			return status.Errorf(codes.Unavailable, "%s: %v", at, err)
		}
	}
	switch {
	case name == "ERR_BLOCKED_BY_CLIENT":
		return status.Errorf(codes.PermissionDenied, "%s is blocked by the page's rules", at)
	case name == "ERR_INTERNET_DISCONNECTED":
		return status.Errorf(codes.Unavailable, "%s: the page's rules say offline", at)
	case strings.HasPrefix(name, "ERR_CERT_"), strings.HasPrefix(name, "ERR_SSL_"):
		return status.Errorf(codes.Unavailable, "%s: certificate: %s", at, text)
	case name == "ERR_ABORTED":
		return status.Errorf(codes.Unavailable, "%s: the page went elsewhere or has no content (%s)", at, text)
	case name == "ERR_INVALID_URL", name == "ERR_UNKNOWN_URL_SCHEME", name == "ERR_DISALLOWED_URL_SCHEME":
		return status.Errorf(codes.InvalidArgument, "url: %s", text)
	}
	return status.Errorf(codes.Unavailable, "%s: %s", at, text)
}

// isConnection reports whether a failure is one that the outlet has seen.
func isConnection(name string) bool {
	switch name {
	case "ERR_TUNNEL_CONNECTION_FAILED", "ERR_EMPTY_RESPONSE", "ERR_PROXY_CONNECTION_FAILED", "ERR_CONNECTION_CLOSED",
		"ERR_CONNECTION_RESET", "ERR_HTTP_RESPONSE_CODE_FAILURE":
		return true
	}
	return false
}

// destination is where a URL's connection goes, "host:port".
func destination(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https", u.Scheme == "wss":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// origin is what may be shown of a URL: neither path nor query, in which secrets
// travel.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "the page"
	}
	return u.Scheme + "://" + u.Host
}

// Explain is what is known of a failed request beside the browser's text for it;
// why as in Open.
func Explain(address, text string, why func(string) error) string {
	if !isConnection(strings.TrimPrefix(text, "net::")) {
		return text
	}
	err := why(destination(address))
	if err == nil {
		return text
	}
	if _, ok := errors.AsType[*egress.Denied](err); ok {
		return "blocked by rule: " + err.Error()
	}
	return text + ": " + err.Error()
}
