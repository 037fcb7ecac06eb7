package cache

import (
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// kept are the steps of a response that is used again.
func kept(answer string) []step {
	return []step{{answer: answer, want: miss}, {after: 1, want: fresh, body: "1"}}
}

// notKept are those of one that is not.
func notKept(answer string) []step {
	return []step{{answer: answer, want: miss}, {after: 1, want: miss, body: "2"}}
}

// aged are those of a response that is used at first and not later.
func aged(answer string, lifetime int) []step {
	return []step{{answer: answer, want: miss}, {after: lifetime - 1, want: fresh}, {after: 1, want: miss, body: "2"}}
}

// stories are what RFC 9111 and RFC 5861 say, by their sections.
func stories() map[string][]step {
	const tagged = `Cache-Control: max-age=10 | ETag: "a"`
	return map[string][]step{
		// 3: what is kept
		"max-age is kept":                          kept("Cache-Control: max-age=60"),
		"nothing said is not kept":                 notKept("X: y"),
		"no-store is not kept":                     notKept("Cache-Control: max-age=60, no-store"),
		"no-store in capitals is not kept":         notKept("Cache-Control: max-age=60 | Cache-Control: NO-STORE"),
		"private is kept by a private cache":       kept("Cache-Control: private, max-age=60"),
		"Set-Cookie does not prevent it":           kept("Cache-Control: max-age=60 | Set-Cookie: a=b"),
		"Set-Cookie is not kept by a guess":        notKept("Last-Modified: {-100000} | Set-Cookie: a=b"),
		"206 is not kept":                          {{answer: "206 | Cache-Control: max-age=60", want: miss, status: 206}, {want: miss, status: 206}},
		"a 404 is kept if it says so":              {{answer: "404 | Cache-Control: max-age=60", want: miss, status: 404}, {want: fresh, status: 404}},
		"a 500 is kept if it says so":              {{answer: "500 | Cache-Control: max-age=60", want: miss, status: 500}, {want: fresh, status: 500}},
		"a 302 is kept if it says so":              {{answer: "302 | Location: /x | Cache-Control: max-age=60", want: miss, status: 302}, {want: fresh, status: 302, header: "Location: /x"}},
		"a 302 is not kept by a guess":             {{answer: "302 | Last-Modified: {-100000}", want: miss, status: 302}, {want: miss, status: 302}},
		"a 301 is kept by a guess":                 {{answer: "301 | Last-Modified: {-100000}", want: miss, status: 301}, {want: fresh, status: 301}},
		"a status nobody knows is kept if it says": {{answer: "599 | Cache-Control: max-age=60", want: miss, status: 599}, {want: fresh, status: 599}},
		"204 is kept":                              {{answer: "204 | Cache-Control: max-age=60", want: miss, status: 204}, {want: fresh, status: 204}},
		"must-understand overrides no-store":       kept("Cache-Control: max-age=60, no-store, must-understand"),
		"must-understand with a strange status":    {{answer: "299 | Cache-Control: max-age=60, no-store, must-understand", want: miss, status: 299}, {want: miss, status: 299}},
		"POST is not kept":                         {{ask: "POST /", answer: "Cache-Control: max-age=60", want: none}, {want: miss, body: "2"}},
		"a request's no-store is obeyed":           {{ask: "Cache-Control: no-store", answer: "Cache-Control: max-age=60", want: miss}, {want: miss, body: "2"}},
		"Connection's headers are not kept":        {{answer: "Cache-Control: max-age=60 | Connection: X-Hop | X-Hop: 1 | Keep-Alive: 5", want: miss}, {want: fresh, header: "X-Hop: "}},
		"other headers are kept":                   {{answer: "Cache-Control: max-age=60 | X-A: 1 | Content-Type: a/b", want: miss}, {want: fresh, header: "X-A: 1"}, {want: fresh, header: "Content-Type: a/b"}},
		"a response without Date gets one":         {{answer: "Cache-Control: max-age=60 | Date: none", want: miss}, {after: 5, want: fresh, header: "Date: Sun, 01 Mar 2026 12:00:00 GMT"}},
		"a broken body is not kept":                {{answer: "Content-Length: 5 | Cache-Control: max-age=60 | Body: four", status: -1}, {answer: "Content-Length: 4 | Cache-Control: max-age=60 | Body: four", want: miss}},
		"an unknown directive does not matter":     kept("Cache-Control: max-age=60, foo=\"no-store\", bar"),
		"no-store in a quoted string does not":     kept(`Cache-Control: foo="a, no-store, b", max-age=60`),
		"an escaped quote in a quoted string":      kept(`Cache-Control: foo="a\", no-store, b", max-age=60`),
		"an open quote hides what follows":         notKept(`Cache-Control: foo="a, max-age=60`),
		"empty members of a list":                  kept("Cache-Control: ,, max-age=60 ,"),

		// 4.2: freshness
		"max-age ends":                         aged("Cache-Control: max-age=10", 10),
		"max-age in quotes":                    aged(`Cache-Control: max-age="10"`, 10),
		"max-age with spaces":                  aged("Cache-Control:   Max-Age=10  ", 10),
		"the first max-age counts":             aged("Cache-Control: max-age=10, max-age=100", 10),
		"s-maxage is not for us":               aged("Cache-Control: s-maxage=100, max-age=10", 10),
		"s-maxage alone is nothing":            notKept("Cache-Control: s-maxage=100"),
		"max-age over Expires":                 aged("Cache-Control: max-age=10 | Expires: {+100}", 10),
		"max-age over an Expires of the past":  aged("Cache-Control: max-age=10 | Expires: {-100}", 10),
		"Expires ends":                         aged("Expires: {+10}", 10),
		"Expires against a Date of the past":   aged("Date: {-5} | Expires: {+10}", 10),
		"Expires: 0 is stale":                  notKept("Expires: 0"),
		"an Expires that is no date is stale":  notKept("Expires: tomorrow | Last-Modified: {-100000}"),
		"a max-age that is no number is stale": notKept("Cache-Control: max-age=soon"),
		"a negative max-age is stale":          notKept("Cache-Control: max-age=-5"),
		"a fraction is no number":              notKept("Cache-Control: max-age=10.5"),
		"a max-age of 2^80 is long":            {{answer: "Cache-Control: max-age=1208925819614629174706176", want: miss}, {after: 100000000, want: fresh}},
		"10 % of the age since Last-Modified":  {{answer: "Last-Modified: {-1000}", want: miss}, {after: 99, want: fresh}, {after: 1, want: miss, sees: "If-Modified-Since: Sun, 01 Mar 2026 11:43:20 GMT"}},
		"at most a day":                        {{answer: "Last-Modified: {-100000000}", want: miss}, {after: 86399, want: fresh}, {after: 1, want: miss}},
		"a Last-Modified of the future":        {{answer: "Last-Modified: {+1000}", want: miss}, {after: 1, want: miss, body: "2"}},
		"public lets guess of any status":      {{answer: "302 | Cache-Control: public | Last-Modified: {-1000}", want: miss, status: 302}, {want: fresh, status: 302}},

		// 4.2.3: age
		"Age counts":                       aged("Cache-Control: max-age=30 | Age: 20", 10),
		"an Age over max-age is stale":     notKept("Cache-Control: max-age=10 | Age: 20"),
		"an Age that is no number is none": aged("Cache-Control: max-age=10 | Age: old", 10),
		"a negative Age is none":           aged("Cache-Control: max-age=10 | Age: -5", 10),
		"the first Age counts":             aged("Cache-Control: max-age=30 | Age: 20, 5", 10),
		"a Date of the past counts":        aged("Cache-Control: max-age=30 | Date: {-20}", 10),
		"a Date of the future does not":    aged("Cache-Control: max-age=10 | Date: {+20}", 10),
		"a Date that is none does not":     aged("Cache-Control: max-age=10 | Date: yesterday", 10),
		"a hit has an Age":                 {{answer: "Cache-Control: max-age=60 | Age: 7", want: miss, header: "Age: 7"}, {after: 5, want: fresh, header: "Age: 12"}},

		// 5.2.1: what requests say
		"no-cache asks the server":                 {{answer: tagged, want: miss}, {ask: "Cache-Control: no-cache", answer: "304", want: revalidated, body: "1", sees: `If-None-Match: "a"`}},
		"Pragma: no-cache asks the server":         {{answer: tagged, want: miss}, {ask: "Pragma: no-cache", want: miss, body: "2"}},
		"Pragma does not count with Cache-Control": {{answer: tagged, want: miss}, {ask: "Pragma: no-cache | Cache-Control: max-age=60", want: fresh}},
		"max-age=0 asks the server":                {{answer: tagged, want: miss}, {after: 1, ask: "Cache-Control: max-age=0", want: miss, body: "2"}},
		"max-age bounds the age":                   {{answer: tagged, want: miss}, {after: 5, ask: "Cache-Control: max-age=5", want: fresh}, {after: 1, ask: "Cache-Control: max-age=5", want: miss}},
		"min-fresh wants time left":                {{answer: tagged, want: miss}, {after: 5, ask: "Cache-Control: min-fresh=5", want: fresh}, {after: 1, ask: "Cache-Control: min-fresh=5", want: miss}},
		"max-stale takes stale ones":               {{answer: tagged, want: miss}, {after: 15, ask: "Cache-Control: max-stale=5", want: old, body: "1", header: "Age: 15"}, {after: 1, ask: "Cache-Control: max-stale=5", want: miss}},
		"max-stale alone takes any":                {{answer: tagged, want: miss}, {after: 1000000, ask: "Cache-Control: max-stale", want: old}},
		"max-stale does not beat must-revalidate":  {{answer: tagged + " | Cache-Control: must-revalidate", want: miss}, {after: 15, ask: "Cache-Control: max-stale", want: miss}},
		"max-stale does not beat no-cache":         {{answer: tagged + " | Cache-Control: no-cache", want: miss}, {ask: "Cache-Control: max-stale", want: miss}},
		"only-if-cached has a 504":                 {{ask: "Cache-Control: only-if-cached", want: miss, status: 504}, {answer: tagged, want: miss}, {ask: "Cache-Control: only-if-cached", want: fresh}, {after: 20, ask: "Cache-Control: only-if-cached", want: miss, status: 504}},

		// 5.2.2: what responses say
		"no-cache is kept and asked about":        {{answer: `Cache-Control: no-cache, max-age=60 | ETag: "a"`, want: miss}, {answer: "304", want: revalidated, body: "1"}},
		"no-cache of a header hides it":           {{answer: `Cache-Control: no-cache="X-A", max-age=60 | X-A: 1 | X-B: 2`, want: miss, header: "X-A: 1"}, {want: fresh, header: "X-A: "}, {want: fresh, header: "X-B: 2"}},
		"must-revalidate when fresh":              kept("Cache-Control: max-age=60, must-revalidate"),
		"must-revalidate when the server is down": {{answer: tagged + " | Cache-Control: must-revalidate, stale-if-error=60", want: miss}, {after: 15, answer: "503", want: miss, status: 503}},

		// 4.1: Vary
		"Vary tells variants apart":             {{ask: "Accept: a", answer: "Cache-Control: max-age=60 | Vary: Accept", want: miss}, {ask: "Accept: b", want: miss}, {ask: "Accept: a", want: fresh, body: "1"}, {ask: "Accept: b", want: fresh, body: "2"}, {want: miss}},
		"Vary by two headers":                   {{ask: "Accept: a | X: 1", answer: "Cache-Control: max-age=60 | Vary: Accept, x", want: miss}, {ask: "Accept: a | X: 2", want: miss}, {ask: "X: 1 | Accept: a", want: fresh, body: "1"}},
		"Vary by a header nobody sent":          {{answer: "Cache-Control: max-age=60 | Vary: Accept", want: miss}, {want: fresh}, {ask: "Accept: a", want: miss}},
		"an empty header is not none":           {{ask: "X: ", answer: "Cache-Control: max-age=60 | Vary: X", want: miss}, {want: miss}},
		"spaces in a list do not tell apart":    {{ask: "Accept: a,b", answer: "Cache-Control: max-age=60 | Vary: Accept", want: miss}, {ask: "Accept: a ,  b", want: fresh}, {ask: "Accept: a | Accept: b", want: fresh}},
		"Vary: * is not kept":                   notKept("Cache-Control: max-age=60 | Vary: *"),
		"Vary: * among others is not kept":      notKept("Cache-Control: max-age=60 | Vary: Accept, *"),
		"a coding without Vary tells apart":     {{ask: "Accept-Encoding: x", answer: "Cache-Control: max-age=60 | Content-Encoding: x", want: miss}, {want: miss}, {ask: "Accept-Encoding: x", want: fresh, body: "1"}},
		"Vary: Cookie of a profile is not kept": {{ask: "Profile: p", answer: "Cache-Control: max-age=60 | Vary: Cookie", want: miss}, {ask: "Profile: p", want: miss}},

		// 4.3: validation
		"a stale one is asked about":             {{answer: tagged + " | Last-Modified: {-50}", want: miss}, {after: 10, answer: "304", want: revalidated, body: "1", sees: `If-None-Match: "a"`}},
		"a 304 makes it fresh again":             {{answer: tagged, want: miss}, {after: 10, answer: "304 | Cache-Control: max-age=20", want: revalidated}, {after: 19, want: fresh, body: "1", header: "Cache-Control: max-age=20"}, {after: 1, answer: "304", want: revalidated}},
		"a 304 brings new headers":               {{answer: tagged + " | X-A: 1 | X-B: 1", want: miss}, {after: 10, answer: "304 | X-A: 2", want: revalidated, header: "X-A: 2"}, {want: fresh, header: "X-B: 1"}, {want: fresh, header: "X-A: 2"}},
		"a 304 does not bring the Age of before": {{answer: tagged + " | Age: 9", want: miss}, {after: 10, answer: "304", want: revalidated}, {after: 9, want: fresh, header: "Age: 9"}},
		"a 304 about something else":             {{answer: tagged, want: miss}, {after: 10, answer: `304 | ETag: "b"`, want: miss, status: 304}},
		"a weak tag is the strong one's":         {{answer: `Cache-Control: max-age=10 | ETag: W/"a"`, want: miss}, {after: 10, answer: `304 | ETag: "a"`, want: revalidated, sees: `If-None-Match: W/"a"`}},
		"a 200 takes its place":                  {{answer: tagged, want: miss}, {after: 10, answer: tagged, want: miss, body: "2"}, {want: fresh, body: "2"}},
		"a 200 with no-store takes it away":      {{answer: tagged, want: miss}, {after: 10, answer: "Cache-Control: no-store", want: miss, body: "2"}, {want: miss, body: "3", sees: "If-None-Match: "}},
		"a 503 leaves it":                        {{answer: tagged, want: miss}, {after: 10, answer: "503", want: miss, status: 503}, {answer: "304", want: revalidated, body: "1"}},
		"a request's own conditions pass by":     {{answer: tagged, want: miss}, {ask: `If-None-Match: "x"`, answer: "304", want: none, status: 304, sees: `If-None-Match: "x"`}, {want: fresh, body: "1"}},
		"a Range passes by":                      {{answer: tagged, want: miss}, {ask: "Range: bytes=0-0", answer: "206", want: none, status: 206}, {want: fresh, body: "1"}},

		// HEAD
		"a HEAD is answered from a GET":             {{answer: tagged, want: miss}, {ask: "HEAD /", want: fresh, header: `Etag: "a"`}},
		"a HEAD is not kept":                        {{ask: "HEAD /", answer: tagged, want: miss}, {want: miss}},
		"a HEAD of another length ends a stale GET": {{answer: tagged, want: miss}, {after: 10, ask: "HEAD /", answer: `Cache-Control: max-age=10 | ETag: "b"`, want: miss}, {want: miss, sees: "If-None-Match: "}},
		"a HEAD confirms":                           {{answer: tagged, want: miss}, {after: 10, ask: "HEAD /", answer: "304", want: revalidated}, {want: fresh, body: "1"}},

		// 4.4: invalidation
		"a POST invalidates":                      {{answer: tagged, want: miss}, {ask: "POST /", want: none}, {want: miss, sees: "If-None-Match: "}},
		"a DELETE invalidates":                    {{answer: tagged, want: miss}, {ask: "DELETE /", answer: "204", want: none, status: 204}, {answer: tagged, want: miss}},
		"a method nobody knows invalidates":       {{answer: tagged, want: miss}, {ask: "FOO /", want: none}, {want: miss}},
		"a failed POST does not":                  {{answer: tagged, want: miss}, {ask: "POST /", answer: "400", want: none, status: 400}, {want: fresh}},
		"an OPTIONS does not":                     {{answer: tagged, want: miss}, {ask: "OPTIONS /", want: none}, {want: fresh}},
		"a POST invalidates its Location":         {{ask: "GET /a", answer: tagged, want: miss}, {ask: "POST /", answer: "201 | Location: /a", want: none, status: 201}, {ask: "GET /a", answer: tagged, want: miss}},
		"a POST invalidates its Content-Location": {{ask: "GET /a", answer: tagged, want: miss}, {ask: "POST /", answer: "Content-Location: a", want: none}, {ask: "GET /a", answer: tagged, want: miss}},
		"but not that of another host":            {{ask: "GET /a", answer: tagged, want: miss}, {ask: "POST /", answer: "Location: http://example.com/a", want: none}, {ask: "GET /a", want: fresh}},
		"a POST of all variants":                  {{ask: "Accept: a", answer: "Cache-Control: max-age=60 | Vary: Accept", want: miss}, {ask: "Accept: b", want: miss}, {ask: "POST /", want: none}, {ask: "Accept: a", want: miss}, {ask: "Accept: b", want: miss}},

		// RFC 5861
		"stale-while-revalidate":              {{answer: "Cache-Control: max-age=10, stale-while-revalidate=5", want: miss}, {after: 14, want: old, body: "1", header: "Age: 14"}},
		"stale-while-revalidate ends":         {{answer: "Cache-Control: max-age=10, stale-while-revalidate=5", want: miss}, {after: 15, want: miss, body: "2"}},
		"stale-while-revalidate not if must":  {{answer: "Cache-Control: max-age=10, stale-while-revalidate=5, must-revalidate", want: miss}, {after: 14, want: miss}},
		"stale-if-error at a 503":             {{answer: "Cache-Control: max-age=10, stale-if-error=5", want: miss}, {after: 14, answer: "503", want: old, body: "1"}, {after: 1, want: miss, status: 503}},
		"stale-if-error at a lost connection": {{answer: "Cache-Control: max-age=10, stale-if-error=5", want: miss}, {after: 14, answer: "break", want: old, body: "1"}, {after: 1, status: -1}},
		"stale-if-error not at a 404":         {{answer: "Cache-Control: max-age=10, stale-if-error=5", want: miss}, {after: 14, answer: "404", want: miss, status: 404}},
		"stale-if-error of the request":       {{answer: tagged, want: miss}, {after: 14, ask: "Cache-Control: stale-if-error=5", answer: "500", want: old, body: "1"}},

		// keys
		"another path":                      {{ask: "GET /a", answer: tagged, want: miss}, {ask: "GET /b", want: miss}},
		"another query":                     {{ask: "GET /?a", answer: tagged, want: miss}, {ask: "GET /?b", want: miss}, {ask: "GET /", want: miss}, {ask: "GET /?a", want: fresh}},
		"a query is kept, too":              {{ask: "GET /?a=1", answer: tagged, want: miss}, {ask: "GET /?a=1", want: fresh}},
		"another spelling of the same path": {{ask: "GET /%7ea%2fb", answer: tagged, want: miss}, {ask: "GET /~a%2Fb", want: fresh}, {ask: "GET /~a/b", want: miss}},
		"a fragment does not count":         {{ask: "GET /#a", answer: tagged, want: miss}, {ask: "GET /#b", want: fresh}},
		"another profile":                   {{ask: "Profile: a", answer: tagged, want: miss}, {ask: "Profile: b", want: miss}, {want: miss}, {ask: "Profile: a", want: fresh, body: "1"}},
		"another Authorization":             {{ask: "Authorization: a", answer: tagged, want: miss}, {ask: "Authorization: b", want: miss}, {want: miss}, {ask: "Authorization: a", want: fresh, body: "1"}},
		"another Cookie":                    {{ask: "Cookie: a=1", answer: tagged, want: miss}, {ask: "Cookie: a=2", want: miss}, {ask: "Cookie: a=1", want: fresh, body: "1"}},

		// CacheMode
		"BYPASS":                      {{answer: tagged, want: miss}, {ask: "Mode: BYPASS", want: none, body: "2"}, {want: fresh, body: "1"}},
		"REVALIDATE":                  {{answer: tagged, want: miss}, {ask: "Mode: REVALIDATE", answer: "304", want: revalidated, sees: `If-None-Match: "a"`}},
		"REVALIDATE without anything": {{ask: "Mode: REVALIDATE", answer: tagged, want: miss}, {want: fresh}},
		"ONLY_IF_CACHED":              {{ask: "Mode: ONLY_IF_CACHED", want: miss, status: 504}, {answer: tagged, want: miss}, {ask: "Mode: ONLY_IF_CACHED", want: fresh}, {after: 1000, ask: "Mode: ONLY_IF_CACHED", want: old, header: "Age: 1000"}},
	}
}

func TestTheCacheKeepsToTheRFCs(t *testing.T) {
	all := stories()
	if len(all) < 60 {
		t.Errorf("only %d stories", len(all))
	}
	for name, steps := range all {
		t.Run(name, func(t *testing.T) {
			newWorld(t, &apiv1.Cache{}).tell(steps)
		})
	}
}

func TestTheCacheOnDiskKeepsToTheRFCs(t *testing.T) {
	for name, steps := range stories() {
		t.Run(name, func(t *testing.T) {
			// With no room in memory, all is read back from the directory.
			newWorld(t, &apiv1.Cache{Memory: 1, MaxResponse: 1 << 20, Dir: t.TempDir() + "/cache"}).tell(steps)
		})
	}
}
