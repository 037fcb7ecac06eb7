package telemetry

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
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

// requireToken lets requests with the bearer token pass; without a token there
// are none.
func requireToken(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "bearer") || !sameToken(strings.TrimSpace(given), token) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="gaia"`)
			http.Error(w, "this needs the header Authorization: Bearer with the token that the host writes to run/token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameToken takes the same time whatever is given.
func sameToken(given, want string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && want != ""
}

// noSniff keeps browsers from taking an answer for a page.
func noSniff(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
