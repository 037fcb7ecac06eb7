package cache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// heuristicCap bounds what is guessed of a response that says nothing of its
// freshness but when it was last modified. RFC 9111, 4.2.2 suggests 10 % of its
// age and leaves the bound to the cache.
const heuristicCap = 24 * time.Hour

// terms are how a stored response may be used, read from its headers once.
type terms struct {
	initialAge     time.Duration // when it was received
	lifetime       time.Duration
	noCache        bool     // validate before each use
	hidden         []string // headers that are not used without validation: no-cache="name"
	mustRevalidate bool     // never stale
	whileRefresh   time.Duration
	ifError        time.Duration
}

// termsOf reads the headers of a response to a request sent and answered at
// the times given.
func termsOf(status int, headers http.Header, requested, received time.Time) terms {
	control := parseDirectives(headers)
	t := terms{
		initialAge:     initialAge(headers, requested, received),
		lifetime:       lifetime(status, headers, control, received),
		mustRevalidate: control.has("must-revalidate"),
	}
	if fields, is := control["no-cache"]; is && fields == "" {
		t.noCache = true
	} else if is {
		t.hidden = names([]string{fields})
	}
	t.whileRefresh, _ = control.seconds("stale-while-revalidate")
	t.ifError, _ = control.seconds("stale-if-error")
	return t
}

// initialAge is RFC 9111, 4.2.3's corrected_initial_age.
func initialAge(headers http.Header, requested, received time.Time) time.Duration {
	var value time.Duration
	if lines := headers["Age"]; len(lines) > 0 {
		first, _, _ := strings.Cut(lines[0], ",")
		value, _ = parseSeconds(strings.TrimSpace(first))
	}
	apparent := received.Truncate(time.Second).Sub(dateOf(headers, received)) // Date has no fractions either
	return max(apparent, value+max(0, received.Sub(requested)), 0)
}

// dateOf is when the server made the response.
func dateOf(headers http.Header, received time.Time) time.Time {
	if date, err := http.ParseTime(headers.Get("Date")); err == nil {
		return date
	}
	return received
}

// lifetime is RFC 9111, 4.2.1's freshness_lifetime. s-maxage is for shared
// caches only.
func lifetime(status int, headers http.Header, control directives, received time.Time) time.Duration {
	if seconds, is := control.seconds("max-age"); is {
		return seconds
	}
	date := dateOf(headers, received)
	if lines := headers["Expires"]; len(lines) > 0 {
		expires, err := http.ParseTime(lines[0])
		if err != nil {
			return 0 // "0" above all
		}
		return max(0, expires.Sub(date))
	}
	modified, err := http.ParseTime(headers.Get("Last-Modified"))
	if err != nil || !heuristic(status) && !control.has("public") {
		return 0
	}
	return min(max(0, date.Sub(modified)/10), heuristicCap)
}

// heuristic reports whether responses of status may be kept although they do
// not say so: RFC 9110, 15.1, without 206.
func heuristic(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent, http.StatusMultipleChoices,
		http.StatusMovedPermanently, http.StatusPermanentRedirect, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusGone, http.StatusRequestURITooLong, http.StatusNotImplemented:
		return true
	}
	return false
}

// storable reports whether RFC 9111, 3 lets a private cache keep response, and
// whether it could ever be used.
func storable(want wish, response *http.Response) bool {
	status, headers := response.StatusCode, response.Header
	control := parseDirectives(headers)
	understood := control.has("must-understand") && (heuristic(status) || status == http.StatusFound || status == http.StatusTemporaryRedirect)
	switch {
	case want.noStore, control.has("no-store") && !understood:
		return false
	case status < 200, status == http.StatusPartialContent, status == http.StatusNotModified:
		return false
	case slices.Contains(names(headers["Vary"]), "*"):
		return false
	case want.profile != "" && slices.Contains(names(headers["Vary"]), "Cookie"):
		return false // the profile's cookies are added further on and not seen here
	case !complete(response):
		return false
	}
	explicit := control.has("max-age") || len(headers["Expires"]) > 0 || control.has("public") || control.has("private")
	if !explicit && (!heuristic(status) || len(headers["Set-Cookie"]) > 0) {
		return false // what is made for one caller is not guessed to do for others
	}
	return lifetime(status, headers, control, want.now) > 0 || hasValidator(headers) ||
		control.has("stale-while-revalidate") || control.has("stale-if-error")
}

// complete reports whether the end of the body can be told from its loss.
func complete(response *http.Response) bool {
	return response.ContentLength >= 0 || response.Uncompressed || response.ProtoMajor >= 2 ||
		slices.Contains(response.TransferEncoding, "chunked")
}

func hasValidator(headers http.Header) bool {
	return headers.Get("Etag") != "" || headers.Get("Last-Modified") != ""
}
