package pool

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
)

// issuer is a server that gives tokens "t1", "t2", …, and an API that takes the
// newest of them.
type issuer struct {
	given  atomic.Int64
	valid  atomic.Int64 // of the newest
	answer func(w http.ResponseWriter, r *http.Request, n int64)
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		n := i.given.Add(1)
		i.valid.Store(n)
		i.answer(w, r, n)
		return
	}
	if r.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", i.valid.Load()) {
		w.WriteHeader(http.StatusUnauthorized)
	}
	body, _ := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, "%s %s", r.Header.Get("Authorization"), body)
}

// give answers with a token that lives so many seconds.
func give(seconds string) func(http.ResponseWriter, *http.Request, int64) {
	return func(w http.ResponseWriter, _ *http.Request, n int64) {
		_, _ = fmt.Fprintf(w, `{"access_token":"t%d","token_type":"bearer","expires_in":%s}`, n, seconds)
	}
}

// issue serves i, and returns the config of a profile "api" that uses it.
func issue(t *testing.T, i *issuer) *apiv1.Config {
	t.Helper()
	server := serve(t, i.ServeHTTP)
	config := keyed(&apiv1.Profile{BaseUrl: server.URL, Oauth2: &apiv1.OAuth2{
		TokenUrl: server.URL + "/token", ClientId: "id:1", ClientSecret: "s3 cret", Scopes: []string{"read", "write"}, Audience: "them",
	}})
	config.Retry = &apiv1.Retry{Retries: new(uint32)}
	return config
}

func TestOneTokenServesManyCallers(t *testing.T) {
	i := &issuer{answer: func(w http.ResponseWriter, r *http.Request, n int64) {
		user, password, _ := r.BasicAuth()
		if user != "id%3A1" || password != "s3+cret" || r.Method != http.MethodPost {
			t.Errorf("credentials: got %q %q by %s", user, password, r.Method)
		}
		body, _ := io.ReadAll(r.Body)
		if got, want := string(body), "audience=them&grant_type=client_credentials&scope=read+write"; got != want {
			t.Errorf("form: got %s, want %s", got, want)
		}
		give("3600")(w, r, n)
	}}
	p := open(t, issue(t, i))
	var wg sync.WaitGroup
	for n := range 200 {
		wg.Go(func() {
			response, err := do(t, p, &apiv1.DoRequest{Profile: "api", Url: fmt.Sprintf("/%d", n)})
			if err != nil || response.GetStatus() != 200 || response.GetAttempts() != 1 {
				t.Errorf("got %v and %v, want 200 at the first attempt", response, err)
			}
		})
	}
	wg.Wait()
	if got := i.given.Load(); got != 1 {
		t.Errorf("tokens given: got %d, want 1", got)
	}
}

func TestATokenIsAskedForAnewBeforeItEndsAndOnceAfterA401(t *testing.T) {
	for life, want := range map[string]int64{"3600": 1, `"3600"`: 1, "null": 1, "0.000001": 3} {
		i := &issuer{answer: give(life)}
		p := open(t, issue(t, i))
		for range 3 {
			mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: "/x"})
		}
		if got := i.given.Load(); got != want {
			t.Errorf("life %s: got %d tokens for 3 calls, want %d", life, got, want)
		}
	}
	i := &issuer{answer: give("3600")}
	p := open(t, issue(t, i))
	mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: "/x"})
	i.valid.Store(0) // the server forgets the token
	response := mustDo(t, p, &apiv1.DoRequest{Profile: "api", Method: "POST", Url: "/x", Body: []byte("body")})
	if got := string(response.GetBody()); response.GetStatus() != 200 || got != "Bearer t2 body" {
		t.Errorf("after a 401: got %d %q, want 200 with the second token and the whole body", response.GetStatus(), got)
	}
	i.answer = func(w http.ResponseWriter, r *http.Request, n int64) { give("3600")(w, r, n); i.valid.Store(0) }
	i.valid.Store(0)
	if response := mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: "/x"}); response.GetStatus() != 401 || i.given.Load() != 3 {
		t.Errorf("no token is good: got %d after %d tokens, want 401 after 3", response.GetStatus(), i.given.Load())
	}
}

// The one connection that may be open is not kept by a 401 from the token that
// would follow it, and a 401 that is the last word comes whole.
func TestATokenIsHadOverTheOnlyConnection(t *testing.T) {
	i := &issuer{answer: give("3600")}
	config := issue(t, i)
	config.ConnectionsPerHost = 1
	p := open(t, config)
	mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: "/x"})
	i.valid.Store(0)
	if response := mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: "/x"}); response.GetStatus() != 200 {
		t.Errorf("got %d, want 200", response.GetStatus())
	}
	for _, size := range []int{10, 100_000} { // the second is too large to be kept while a token is asked for
		i := &issuer{answer: func(w http.ResponseWriter, r *http.Request, n int64) {
			if n > 1 {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			give("3600")(w, r, n)
		}}
		config := issue(t, i)
		config.ConnectionsPerHost = 1
		p := open(t, config)
		mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: "/x"})
		i.valid.Store(0)
		body := strings.Repeat("x", size)
		response := mustDo(t, p, &apiv1.DoRequest{Profile: "api", Method: "POST", Url: "/x", Body: []byte(body)})
		if response.GetStatus() != 401 || !strings.HasSuffix(string(response.GetBody()), body) {
			t.Errorf("got %d and %d bytes, want 401 with %d", response.GetStatus(), len(response.GetBody()), size)
		}
	}
}

func TestAServerThatTakesTheSecretInTheFormGetsItThere(t *testing.T) {
	var basic atomic.Int64
	i := &issuer{answer: func(w http.ResponseWriter, r *http.Request, n int64) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		if form.Get("client_id") != "id:1" || form.Get("client_secret") != "s3 cret" {
			basic.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
			return
		}
		give("0.000001")(w, r, n)
	}}
	p := open(t, issue(t, i))
	for range 3 {
		if response := mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: "/x"}); response.GetStatus() != 200 {
			t.Errorf("got %v, want 200", response)
		}
	}
	if got := basic.Load(); got != 1 {
		t.Errorf("the header was tried %d times, want once", got)
	}
}

func TestNoTokenIsAnErrorWithoutTheSecret(t *testing.T) {
	const secret = "s3 cret"
	tests := []struct {
		name, body string
		status     int
		want       string
	}{
		{"refused", `{"error":"invalid_scope","error_description":"s3 cret"}`, 400, "no token: status 400, invalid_scope"},
		{"refused in words of its own", `{"error":"s3 cret"}`, 403, "no token: status 403"},
		{"broken", "oops s3 cret", 500, "no token: status 500"},
		{"no JSON", "s3 cret", 200, "the answer is not JSON"},
		{"no token", `{"token":"s3 cret"}`, 200, "the answer has no access_token"},
		{"another type", `{"access_token":"s3 cret","token_type":"mac"}`, 200, "the token_type is not Bearer"},
		{"a token with a line break", `{"access_token":"s3 cret\n"}`, 200, "the access_token has a character"},
		{"endless", strings.Repeat("s3 cret", 100_000), 200, "the answer is over 262144 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := &issuer{answer: func(w http.ResponseWriter, _ *http.Request, _ int64) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}}
			p := open(t, issue(t, i))
			for range 20 { // only the first few ask
				_, err := do(t, p, &apiv1.DoRequest{Profile: "api", Url: "/x"})
				wantError(t, err, codes.Unavailable, "connect: oauth2 at 127.0.0.1:", test.want)
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error repeats the secret: %v", err)
				}
			}
			if got := i.given.Load(); got > 8 {
				t.Errorf("the server was asked %d times in a moment, want a few", got)
			}
		})
	}
}

// Whoever asks for a token may give up; the others need it all the same.
func TestACallerWhoGivesUpTakesNobodysTokenAlong(t *testing.T) {
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	i := &issuer{answer: func(w http.ResponseWriter, r *http.Request, n int64) {
		arrived <- struct{}{}
		if n == 1 {
			select {
			case <-r.Context().Done():
			case <-release:
			}
			return
		}
		give("3600")(w, r, n)
	}}
	defer close(release)
	p := open(t, issue(t, i))
	ctx, cancel := cancelable(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := p.Do(ctx, &apiv1.DoRequest{Profile: "api", Url: "/x"})
		wantError(t, err, codes.Canceled)
	})
	<-arrived
	for range 10 {
		wg.Go(func() {
			response, err := do(t, p, &apiv1.DoRequest{Profile: "api", Url: "/y"})
			if err != nil || response.GetStatus() != 200 {
				t.Errorf("got %v and %v, want 200", response, err)
			}
		})
	}
	cancel()
	wg.Wait()
	if got := i.given.Load(); got != 2 {
		t.Errorf("the server was asked %d times, want twice", got)
	}
}

func TestTheWayToATokenObeysEgressRulesAndProxy(t *testing.T) {
	i := &issuer{answer: give("3600")}
	config := issue(t, i)
	config.Profile["api"].Oauth2.TokenUrl = "http://10.0.0.1/token"
	_, err := do(t, open(t, config), &apiv1.DoRequest{Profile: "api", Url: "/x"})
	wantError(t, err, codes.PermissionDenied, "egress to 10.0.0.1:80 is denied by default")

	config = issue(t, i)
	via := &viaProxy{}
	config.Profile["api"].Proxy = "http://" + misbehave(t, via.http)
	if response := mustDo(t, open(t, config), &apiv1.DoRequest{Profile: "api", Url: "/x"}); response.GetStatus() != 200 {
		t.Errorf("got %v, want 200", response)
	}
	if got := via.seen(); !strings.HasPrefix(got, "POST http://127.0.0.1:") || strings.Count(got, "\n") != 1 {
		t.Errorf("the proxy was asked for %q, want the token and the request", got)
	}
}
