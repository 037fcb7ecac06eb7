package resend

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// askedPause is for how long a response asks to be left alone: by Retry-After
// with status 429 or 503 (RFC 9110, 10.2.3), or by having used up what it
// allows, as RateLimit (draft-ietf-httpapi-ratelimit-headers) or one of its
// forerunners says. 0 is not at all. What cannot be read is not there.
func askedPause(response *http.Response, now time.Time) time.Duration {
	header := response.Header
	var pause time.Duration
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		pause = retryAfter(header.Get("Retry-After"), serversTime(header, now))
	}
	for _, line := range header["Ratelimit"] {
		pause = max(pause, usedUp(line))
	}
	for _, name := range [...]struct{ remaining, reset string }{
		{"Ratelimit-Remaining", "Ratelimit-Reset"},
		{"X-Ratelimit-Remaining", "X-Ratelimit-Reset"},
		{"X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"},
	} {
		if isZero(header.Get(name.remaining)) {
			pause = max(pause, reset(header.Get(name.reset), serversTime(header, now)))
		}
	}
	return max(pause, 0)
}

// serversTime is what the server takes for now. Times of day are by its clock,
// which may differ from ours.
func serversTime(header http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		return date
	}
	return now
}

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if date, err := http.ParseTime(text); err == nil {
		return date.Sub(now)
	}
	if digits := strings.Trim(text, "0123456789"); digits == "" && len(text) > 9 {
		return 999_999_999 * time.Second // what is too long to count is no less of a wish
	}
	return seconds(text)
}

// reset reads seconds from now, or since 1970, which nobody would wait for: as
// many seconds from now are over thirty years.
func reset(text string, now time.Time) time.Duration {
	const year2001 = 1_000_000_000 * time.Second
	if wait := seconds(text); wait < year2001 {
		return wait
	}
	at := seconds(text)
	return time.Unix(0, 0).Add(at).Sub(now)
}

// seconds reads a number of seconds, 0 if it is none. It may have a fraction,
// although no standard has one.
func seconds(text string) time.Duration {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(n > 0) || n > 9e9 {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

func isZero(text string) bool {
	if text == "" {
		return false // as in most responses; an error would be made for each
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return err == nil && n <= 0
}

// usedUp reads a RateLimit field: the list `"burst";r=0;t=12, "day";r=9;t=99` of
// policies, each with what remains and the seconds until there is more; or
// "limit=100, remaining=0, reset=12" of its early drafts. It is the longest
// time of a policy of which nothing remains.
func usedUp(line string) time.Duration {
	var longest time.Duration
	early := map[string]string{}
	for _, item := range splitOutside(line, ',') {
		parts := splitOutside(item, ';')
		name, value, hasValue := strings.Cut(strings.TrimSpace(parts[0]), "=")
		if hasValue && len(parts) == 1 {
			early[strings.ToLower(name)] = value
			continue
		}
		parameters := map[string]string{}
		for _, part := range parts[1:] {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			parameters[name] = value
		}
		if isZero(parameters["r"]) {
			longest = max(longest, seconds(parameters["t"]))
		}
	}
	if isZero(early["remaining"]) {
		longest = max(longest, seconds(early["reset"]))
	}
	return longest
}

// splitOutside splits text at each separator that is not within quotation marks.
func splitOutside(text string, separator byte) []string {
	var parts []string
	quoted, begin := false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			parts = append(parts, text[begin:i])
			begin = i + 1
		}
	}
	return append(parts, text[begin:])
}
