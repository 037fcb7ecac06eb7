package cache

import (
	"net/http"
	"slices"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// wish is what a request asks of the cache, by its mode and its headers.
type wish struct {
	now          time.Time
	profile      string
	noStore      bool
	noCache      bool // validate
	onlyIfCached bool
	maxAge       time.Duration // -1 for any
	minFresh     time.Duration
	maxStale     time.Duration
	ifError      time.Duration
}

func wishOf(request *http.Request, mode apiv1.CacheMode, profile string, now time.Time) wish {
	w := wish{now: now, profile: profile, maxAge: -1}
	control := parseDirectives(request.Header)
	if control != nil {
		w.noStore, w.noCache, w.onlyIfCached = control.has("no-store"), control.has("no-cache"), control.has("only-if-cached")
		if seconds, is := control.seconds("max-age"); is {
			w.maxAge = seconds
		}
		w.minFresh, _ = control.seconds("min-fresh")
		w.ifError, _ = control.seconds("stale-if-error")
		if value, is := control["max-stale"]; is && value == "" {
			w.maxStale = longest
		} else if is {
			w.maxStale, _ = control.seconds("max-stale")
		}
	} else if slices.Contains(names(request.Header["Pragma"]), "No-Cache") {
		w.noCache = true // RFC 9111, 5.4
	}
	switch mode {
	case apiv1.CacheMode_REVALIDATE:
		w.noCache = true
	case apiv1.CacheMode_ONLY_IF_CACHED:
		w.onlyIfCached, w.maxStale = true, longest
	default:
	}
	return w
}

// verdict is what may be done with a stored response.
type verdict uint8

const (
	validate     verdict = iota // ask the server
	hit                         // use it
	stale                       // use it, although it is stale
	staleRefresh                // use it, and ask the server behind the caller's back
)

// judge applies RFC 9111, 4.2 and 5.2.1 to a stored response.
func (w wish) judge(e *entry) verdict {
	age := e.age(w.now)
	left := e.terms.lifetime - age // not above 0: stale
	switch {
	case w.noCache, e.terms.noCache, w.maxAge >= 0 && age > w.maxAge:
		return validate
	case left > 0 && left >= w.minFresh:
		return hit
	case left > 0, w.minFresh > 0, e.terms.mustRevalidate:
		return validate
	case -left < e.terms.whileRefresh && !w.onlyIfCached:
		return staleRefresh
	case w.maxStale == longest, -left <= w.maxStale && w.maxStale > 0, -left < e.terms.whileRefresh:
		return stale
	}
	return validate
}

// afterError reports whether e may be used where the server failed (RFC 5861, 4).
func (w wish) afterError(e *entry) bool {
	overdue := e.age(w.now) - e.terms.lifetime
	return !w.noCache && !e.terms.noCache && !e.terms.mustRevalidate && overdue < max(e.terms.ifError, w.ifError)
}
