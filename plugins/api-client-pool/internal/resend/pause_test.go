package resend

import (
	"net/http"
	"testing"
	"time"
)

func TestAServersWishForAPauseIsReadInAllItsSpellings(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		status int
		header map[string]string
		want   time.Duration
	}{
		{"nothing", 503, nil, 0},
		{"seconds", 503, map[string]string{"Retry-After": "12"}, 12 * time.Second},
		{"seconds with 429", 429, map[string]string{"Retry-After": " 3 "}, 3 * time.Second},
		{"a date", 503, map[string]string{"Retry-After": "Sat, 28 Nov 2026 12:00:30 GMT"}, 30 * time.Second},
		{"a date by the server's own clock", 503, map[string]string{"Retry-After": "Sat, 28 Nov 2026 09:00:30 GMT", "Date": "Sat, 28 Nov 2026 09:00:00 GMT"}, 30 * time.Second},
		{"a date in the past", 503, map[string]string{"Retry-After": "Sat, 28 Nov 2026 11:00:00 GMT"}, 0},
		{"rubbish", 503, map[string]string{"Retry-After": "soon"}, 0},
		{"below zero", 503, map[string]string{"Retry-After": "-5"}, 0},
		{"not a number", 503, map[string]string{"Retry-After": "NaN"}, 0},
		{"for ever", 503, map[string]string{"Retry-After": "1e300"}, 0},
		{"longer than there are numbers for", 503, map[string]string{"Retry-After": "99999999999999999999999"}, 999_999_999 * time.Second},
		{"with a status that does not ask", 200, map[string]string{"Retry-After": "12"}, 0},
		{"RateLimit used up", 200, map[string]string{"Ratelimit": `"default";r=0;t=12`}, 12 * time.Second},
		{"RateLimit with something left", 200, map[string]string{"Ratelimit": `"default";r=1;t=12`}, 0},
		{"RateLimit of several policies", 200, map[string]string{"Ratelimit": `"a,b;r=0;t=99";r=5;t=50, "c";r=0;t=7, "d";t=9;r=0`}, 9 * time.Second},
		{"RateLimit without a time", 200, map[string]string{"Ratelimit": `"default";r=0`}, 0},
		{"RateLimit of an early draft", 200, map[string]string{"Ratelimit": "limit=100, remaining=0, reset=5"}, 5 * time.Second},
		{"RateLimit that is rubbish", 200, map[string]string{"Ratelimit": `";;;=,"\`}, 0},
		{"RateLimit-Remaining", 200, map[string]string{"Ratelimit-Remaining": "0", "Ratelimit-Reset": "8"}, 8 * time.Second},
		{"X-RateLimit in seconds", 403, map[string]string{"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "8"}, 8 * time.Second},
		{"X-RateLimit since 1970", 403, map[string]string{"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "1795867260"}, time.Minute},
		{"X-RateLimit with something left", 200, map[string]string{"X-Ratelimit-Remaining": "7", "X-Ratelimit-Reset": "8"}, 0},
		{"X-RateLimit that was over long ago", 200, map[string]string{"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "1500000000"}, 0},
		{"the longer of two", 429, map[string]string{"Retry-After": "2", "Ratelimit": `"x";r=0;t=4`}, 4 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response := &http.Response{StatusCode: test.status, Header: http.Header{}}
			for name, value := range test.header {
				response.Header.Set(name, value)
			}
			if got := askedPause(response, now); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func FuzzAPauseIsReadFromAnything(f *testing.F) {
	f.Add("12", `"default";r=0;t=12`, "0", "1795867260")
	f.Add("Sat, 28 Nov 2026 12:00:30 GMT", "limit=1, remaining=0, reset=5", "", "1e18")
	f.Fuzz(func(t *testing.T, after, limit, remaining, reset string) {
		response := &http.Response{StatusCode: 429, Header: http.Header{
			"Retry-After": {after}, "Ratelimit": {limit}, "X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset},
		}}
		if got := askedPause(response, time.Now()); got < 0 {
			t.Errorf("got %v, want 0 at least", got)
		}
	})
}
