package pool

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// staircase redirects /n to /n-1 until /0, which answers.
func staircase(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil || n == 0 {
		_, _ = io.WriteString(w, "bottom")
		return
	}
	http.Redirect(w, r, fmt.Sprintf("/%d", n-1), http.StatusFound)
}

func TestRedirectsAreFollowedUpToTheirNumber(t *testing.T) {
	server, census := counted(t, staircase)
	p := open(t, &apiv1.Config{ConnectionsPerHost: 1}) // which each step needs again
	tests := []struct {
		name       string
		steps      int
		redirects  *uint32
		wantStatus uint32
		wantPath   string
	}{
		{"none needed", 0, nil, 200, "/0"},
		{"the default of ten", 10, nil, 200, "/0"},
		{"one over the default", 11, nil, 302, "/1"},
		{"none allowed", 1, proto.Uint32(0), 302, "/1"},
		{"exactly as many", 3, proto.Uint32(3), 200, "/0"},
		{"one too many", 4, proto.Uint32(3), 302, "/1"},
		{"twenty", 20, proto.Uint32(20), 200, "/0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response := mustDo(t, p, &apiv1.DoRequest{Url: fmt.Sprintf("%s/%d", server.URL, test.steps), Redirects: test.redirects})
			if response.GetStatus() != test.wantStatus || response.GetUrl() != server.URL+test.wantPath {
				t.Errorf("got %d from %s, want %d from %s", response.GetStatus(), response.GetUrl(), test.wantStatus, server.URL+test.wantPath)
			}
			if test.wantStatus == 302 && (len(response.GetBody()) == 0 || !cmp.Equal(values(response, "Location"), []string{"/0"})) {
				t.Errorf("the redirect came without its body or Location: %v", response)
			}
		})
	}
	if _, _, all := census.numbers(); all != 1 {
		t.Errorf("the redirects used %d connections, want 1", all)
	}
}

func TestARedirectLoopEnds(t *testing.T) {
	calls := 0
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
	})
	response := mustDo(t, open(t, nil), &apiv1.DoRequest{Url: server.URL})
	if response.GetStatus() != 307 || calls != 11 {
		t.Errorf("got %d after %d requests, want 307 after 11", response.GetStatus(), calls)
	}
}

func TestCredentialsDoNotFollowARedirectToAnotherHost(t *testing.T) {
	elsewhere, there := record(t)
	// Another name for the same machine is another host.
	target := strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1) + "/?token=new"
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target, http.StatusFound)
	})
	p := open(t, nil)
	headers := map[string]string{"Authorization": "Bearer s", "Cookie": "a=b", "X-Trace": "1"}
	response := mustDo(t, p, &apiv1.DoRequest{Url: server.URL + "/?api_key=s", Headers: headers})
	if response.GetUrl() != target {
		t.Errorf("url: got %s, want %s", response.GetUrl(), target)
	}
	got := (<-there).Headers
	want := http.Header{"Accept-Encoding": {"gzip, br, zstd"}, "User-Agent": {"gaia"}, "X-Trace": {"1"}}
	if diff := cmp.Diff(want, got); diff != "" { // no Authorization, Cookie, Referer
		t.Errorf("headers at the other host (-want +got):\n%s", diff)
	}

	target = elsewhere.URL // another port is another server
	headers["Referer"] = "http://my.own/"
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL, Headers: headers})
	got = (<-there).Headers
	if got.Get("Authorization") != "" || got.Get("Cookie") != "" || got.Get("Referer") != "http://my.own/" {
		t.Errorf("headers at another port: got %v, want the caller's own without Authorization and Cookie", got)
	}
}

func TestCredentialsGoNoFurtherThanTheServerTheyAreFor(t *testing.T) {
	const first = "http://example.test/"
	tests := []struct {
		to   string
		want bool
	}{
		{"http://example.test/other", true},
		{"http://EXAMPLE.test:80/", true},
		{"https://example.test/", true},
		{"http://sub.example.test/", false},
		{"http://example.test:81/", false},
		{"https://example.test:8443/", false},
		{"http://test/", false},
	}
	past, err := http.NewRequestWithContext(t.Context(), http.MethodGet, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := func(to string) *http.Request {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{"Authorization": {"s"}, "Cookie": {"a=b"}}
		return request
	}
	for _, test := range tests {
		r := &redirects{limit: 10}
		request := next(test.to)
		if err := r.check(request, []*http.Request{past}); err != nil {
			t.Fatal(err)
		}
		if got := len(request.Header) == 2; got != test.want {
			t.Errorf("to %s: got %v, want credentials %v", test.to, request.Header, test.want)
		}
		home := next(first)
		if err := r.check(home, []*http.Request{past, request}); err != nil {
			t.Fatal(err)
		}
		if got := len(home.Header) == 2; got != test.want {
			t.Errorf("to %s and back: got %v, want credentials %v", test.to, home.Header, test.want)
		}
	}
	secure, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := next(first)
	if err := (&redirects{limit: 10}).check(plain, []*http.Request{secure}); err != nil || len(plain.Header) != 0 {
		t.Errorf("from https to http: got %v, %v; want no credentials", plain.Header, err)
	}
}

func TestUserInformationInALocationIsNeitherSentNorReturned(t *testing.T) {
	elsewhere, there := record(t)
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", strings.Replace(elsewhere.URL, "://", "://user:hunter2@", 1)+"/x")
		w.WriteHeader(http.StatusFound)
	})
	response := mustDo(t, open(t, nil), &apiv1.DoRequest{Url: server.URL})
	if got := (<-there).Headers.Get("Authorization"); got != "" {
		t.Errorf("Authorization: got %q, want none", got)
	}
	if response.GetUrl() != elsewhere.URL+"/x" {
		t.Errorf("url: got %q, want %q", response.GetUrl(), elsewhere.URL+"/x")
	}
}

func TestARedirectThatLeadsNowhereIsTheResponse(t *testing.T) {
	for _, location := range []string{"", "ftp://example.com/", "file:///etc/passwd", "http://:80/", "http://h:99999/", "javascript:x"} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(http.StatusFound)
			_, _ = io.WriteString(w, "see there")
		})
		response := mustDo(t, open(t, nil), &apiv1.DoRequest{Url: server.URL})
		if response.GetStatus() != 302 || string(response.GetBody()) != "see there" || response.GetUrl() != server.URL {
			t.Errorf("%q: got %v, want the redirect itself", location, response)
		}
	}
}

func TestALocationThatIsNoURLIsAnErrorThatDoesNotRepeatIt(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://user:hunter2%zz@h/?token=hunter2")
		w.WriteHeader(http.StatusFound)
	})
	_, err := do(t, open(t, nil), &apiv1.DoRequest{Url: server.URL})
	wantError(t, err, codes.Unavailable, "headers: the server redirected to a Location that is not a URL")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error repeats a secret: %v", err)
	}
}

func TestARedirectToAQueryThatIsNotUTF8IsReturnedEscaped(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			w.Header().Set("Location", "/?n=caf\xe9")
			w.WriteHeader(http.StatusFound)
		}
	})
	response := mustDo(t, open(t, nil), &apiv1.DoRequest{Url: server.URL})
	if want := server.URL + "/?n=caf%E9"; response.GetUrl() != want {
		t.Errorf("url: got %q, want %q", response.GetUrl(), want)
	}
}

func TestMethodAndBodySurviveTheRedirectsThatKeepThem(t *testing.T) {
	for code, want := range map[int]struct{ method, body string }{
		301: {"GET", ""}, 302: {"GET", ""}, 303: {"GET", ""}, 307: {"POST", "payload"}, 308: {"POST", "payload"},
	} {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				w.Header().Set("Location", "/next")
				w.WriteHeader(code)
				return
			}
			_, _ = io.Copy(w, io.MultiReader(strings.NewReader(r.Method+" "), r.Body))
		})
		response := mustDo(t, open(t, nil), &apiv1.DoRequest{Method: "POST", Url: server.URL, Body: []byte("payload")})
		if got := string(response.GetBody()); got != want.method+" "+want.body {
			t.Errorf("%d: got %q, want %q", code, got, want.method+" "+want.body)
		}
	}
}

func TestTimingIsOfTheLastExchangeAndTotalOfAll(t *testing.T) {
	server := serve(t, staircase)
	first := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, server.URL+"/0", http.StatusFound)
	})
	p := open(t, nil)
	mustDo(t, p, &apiv1.DoRequest{Url: server.URL}) // warms the second server's connection only
	response := mustDo(t, p, &apiv1.DoRequest{Url: first.URL})
	if !response.GetReusedConnection() || response.Timing.Connect != nil {
		t.Errorf("got %v, want the warm connection of the last exchange and no connect", response)
	}
	if first, total := response.Timing.FirstByte.AsDuration(), response.Timing.Total.AsDuration(); first <= 0 || first >= total {
		t.Errorf("first byte %v, total %v: want the total to have the redirect in it too", first, total)
	}
}
