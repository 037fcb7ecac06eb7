package door

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// checkHost refuses requests for a host that is not this one. A web page can
// point a name of its own at 127.0.0.1 and read from there what its script
// asked for (DNS rebinding); the Host header then still has the page's name.
// An IP address cannot be rebound. Without a Host header (HTTP/1.0, as some
// health checkers speak) it is no browser.
func checkHost(own string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isOwnHost(r.Host, own) {
			http.Error(w, fmt.Sprintf("host %q is not served here; use an IP address, localhost or the name in host.http", r.Host), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isOwnHost(header, own string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	switch host {
	case "", "localhost", "ip6-localhost", "ip6-loopback":
		return true
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	// Browsers resolve all of localhost to the loopback (RFC 6761, section 6.3).
	return strings.HasSuffix(host, ".localhost") || own != "" && host == strings.ToLower(own)
}

// checkOrigin refuses what a browser sends on behalf of a page of another
// origin, also of another port of this machine. Programs send neither header.
func checkOrigin(r *http.Request) error {
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "none", "same-origin":
	default:
		return status.Errorf(codes.PermissionDenied, "calls on behalf of a foreign web page are refused (Sec-Fetch-Site: %q)", site)
	}
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return status.Errorf(codes.PermissionDenied, "calls on behalf of a foreign web page are refused (Origin: %q, Host: %q)", origin, r.Host)
		}
	}
	return nil
}

// noForms refuses bodies that a web page can send anywhere without being asked
// (the CORS-safelisted types). RPC would, too, and not say what to do.
func noForms(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
		case "application/x-www-form-urlencoded", "multipart/form-data", "text/plain":
			http.Error(w, "a form is not taken, because any web page can send one; send JSON with the header Content-Type: application/json "+
				"(curl --json '{…}' does, curl -d does not)", http.StatusUnsupportedMediaType)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// bearer knows who has the token; without a token there is nobody.
func bearer(token string) func(*http.Request) (context.Context, error) {
	return func(r *http.Request) (context.Context, error) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "bearer") || !sameToken(strings.TrimSpace(given), token) {
			return nil, status.Error(codes.Unauthenticated, "this needs the header Authorization: Bearer with the token that the host writes to run/token")
		}
		return r.Context(), nil
	}
}

// sameToken takes the same time whatever is given.
func sameToken(given, want string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && want != ""
}

// boundBody gives bodies little time: the server reads what a handler leaves of
// one, and would wait for ever for who announces a body and does not send it.
// Handlers that want the body say how long it may take.
func boundBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a test's recorder has none
		next.ServeHTTP(w, r)
		_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	})
}

// noSniff keeps browsers from taking an answer for a page.
func noSniff(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
