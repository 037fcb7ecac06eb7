package pool

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// keyed is a config with one profile, "api".
func keyed(p *apiv1.Profile) *apiv1.Config {
	return &apiv1.Config{Profile: map[string]*apiv1.Profile{"api": p}}
}

func TestAProfileAddsWhatItHas(t *testing.T) {
	server, requests := record(t)
	tests := []struct {
		name    string
		profile *apiv1.Profile
		request *apiv1.DoRequest
		want    map[string]string // headers, "" for none; ":target" is the path
	}{
		{"basic", &apiv1.Profile{Basic: &apiv1.Basic{User: "ada", Password: "s:3 cret"}}, &apiv1.DoRequest{Url: "x"},
			map[string]string{"Authorization": "Basic YWRhOnM6MyBjcmV0", ":target": "/v1/x"}},
		{"bearer", &apiv1.Profile{Bearer: "t0ken"}, &apiv1.DoRequest{Url: "/x?q=1"},
			map[string]string{"Authorization": "Bearer t0ken", ":target": "/x?q=1"}},
		{"nothing but the base", &apiv1.Profile{Bearer: "t0ken"}, &apiv1.DoRequest{},
			map[string]string{"Authorization": "Bearer t0ken", ":target": "/v1/"}},
		{"headers where there are none", &apiv1.Profile{Headers: map[string]string{"x-api-key": "k", "Accept": "text/plain", "user-agent": "mine"}},
			&apiv1.DoRequest{Url: "?a", Headers: map[string]string{"accept": "text/html"}},
			map[string]string{"X-Api-Key": "k", "Accept": "text/html", "User-Agent": "mine", ":target": "/v1/?a"}},
		{"an absolute URL of its host", &apiv1.Profile{Bearer: "t0ken"}, &apiv1.DoRequest{Url: server.URL + "/y"},
			map[string]string{"Authorization": "Bearer t0ken", ":target": "/y"}},
		{"dots that would leave", &apiv1.Profile{Bearer: "t0ken"}, &apiv1.DoRequest{Url: "../../../../etc"},
			map[string]string{"Authorization": "Bearer t0ken", ":target": "/etc"}},
		{"an Authorization of the caller's where the profile has none", &apiv1.Profile{Headers: map[string]string{"X-A": "1"}},
			&apiv1.DoRequest{Headers: map[string]string{"Authorization": "mine"}}, map[string]string{"Authorization": "mine", "X-A": "1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.profile.BaseUrl = server.URL + "/v1"
			test.request.Profile = "api"
			mustDo(t, open(t, keyed(test.profile)), test.request)
			got := <-requests
			got.Headers.Set(":target", got.Target)
			for name, want := range test.want {
				if got.Headers[http.CanonicalHeaderKey(name)] == nil && got.Headers[name] == nil || got.Headers.Get(name)+strings.Join(got.Headers[name], "") == "" {
					t.Errorf("%s: got none, want %q", name, want)
				} else if have := append(got.Headers[name], got.Headers.Values(name)...)[0]; have != want {
					t.Errorf("%s: got %q, want %q", name, have, want)
				}
			}
		})
	}
}

func TestSecretsGoToTheProfilesHostsOnly(t *testing.T) {
	p := open(t, keyed(&apiv1.Profile{BaseUrl: "https://api.test/v1/", Hosts: []string{"files.test:8443"}, Bearer: "s3cret"}))
	const only = `url: profile "api" sends its secrets by https to api.test, files.test:8443 only`
	for _, url := range []string{
		"https://evil.test/", "//evil.test/", "http://api.test/", "https://api.test:8443/", "https://files.test/",
		"https://api.test.evil.test/", "https://xapi.test/", "https://api.test@evil.test/", `https://evil.test\.api.test/`,
	} {
		_, err := do(t, p, &apiv1.DoRequest{Profile: "api", Url: url})
		wantError(t, err, codes.InvalidArgument, "url: ")
		if !strings.Contains(url, "@") && !strings.Contains(url, `\`) {
			wantError(t, err, codes.InvalidArgument, only)
		}
	}
	// Spellings of the same host are the same host; what follows is not reached.
	for _, url := range []string{"https://API.test./", "https://api.test:443/", "https://FILES.test:8443/x", "y"} {
		_, err := do(t, p, &apiv1.DoRequest{Profile: "api", Url: url, Timeout: durationpb.New(short)})
		if err == nil || strings.Contains(err.Error(), "url: ") {
			t.Errorf("%s: got %v, want an attempt to go there", url, err)
		}
	}
	for header, value := range map[string]string{"authorization": "mine", "host": "evil.test"} {
		_, err := do(t, p, &apiv1.DoRequest{Profile: "api", Headers: map[string]string{header: value}})
		wantError(t, err, codes.InvalidArgument, fmt.Sprintf("headers[%q]: profile \"api\"", header))
	}
	_, err := do(t, p, &apiv1.DoRequest{Profile: "api", Method: "TRACE"})
	wantError(t, err, codes.InvalidArgument, `method: TRACE would return the secrets of profile "api"`)
	_, err = do(t, p, &apiv1.DoRequest{Profile: "apj", Url: "https://api.test/"})
	wantError(t, err, codes.InvalidArgument, `profile: "apj" is not configured; those that there are: api`)
	_, err = do(t, open(t, nil), &apiv1.DoRequest{Profile: "api", Url: "https://api.test/"})
	wantError(t, err, codes.InvalidArgument, `profile: "api" is not configured; there is none`)
}

func TestSecretsDoNotFollowARedirectOutOfTheProfilesHosts(t *testing.T) {
	elsewhere, there := record(t)
	var target string
	var base *httptest.Server
	here := make(chan received, 10)
	base = serve(t, func(w http.ResponseWriter, r *http.Request) {
		here <- received{Target: r.URL.Path, Headers: r.Header}
		if r.URL.Path == "/away" {
			w.Header().Add("Set-Cookie", "session=s3cret")
			http.Redirect(w, r, target, http.StatusFound)
		}
	})
	p := open(t, keyed(&apiv1.Profile{BaseUrl: base.URL, Bearer: "s3cret", Headers: map[string]string{"X-Key": "s3cret"}, Cookies: true}))
	for _, name := range []string{"127.0.0.1", "localhost"} { // another port and another host
		target = strings.Replace(elsewhere.URL, "127.0.0.1", name, 1)
		mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: "away"})
		if got := (<-here).Headers; got.Get("Authorization") != "Bearer s3cret" || got.Get("X-Key") != "s3cret" {
			t.Errorf("at the profile's host: got %v, want the secrets", got)
		}
		if got := fmt.Sprint((<-there).Headers); strings.Contains(got, "s3cret") {
			t.Errorf("at %s: got %s, want no secret", target, got)
		}
	}
	target = base.URL + "/back" // where they may go, they do
	mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: "away"})
	<-here
	if got := (<-here).Headers; got.Get("Authorization") != "Bearer s3cret" || got.Get("Cookie") != "session=s3cret" {
		t.Errorf("after a redirect to the same host: got %v, want the secrets", got)
	}
}

func TestARedirectFromHTTPSToHTTPTakesNoSecretAlong(t *testing.T) {
	plain, there := record(t)
	secure := serveTLS(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) })
	plainPort := plain.URL[strings.LastIndexByte(plain.URL, ':'):]
	p := open(t, keyed(&apiv1.Profile{BaseUrl: secure.URL, Hosts: []string{"127.0.0.1" + plainPort}, Bearer: "s3cret",
		Tls: &apiv1.TLS{Ca: certificate(secure)}}))
	mustDo(t, p, &apiv1.DoRequest{Profile: "api"})
	if got := fmt.Sprint((<-there).Headers); strings.Contains(got, "s3cret") {
		t.Errorf("got %s, want no secret", got)
	}
}

func TestCookiesAreKeptPerProfileAndBounded(t *testing.T) {
	cookies := make(chan string, 1)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		cookies <- r.Header.Get("Cookie")
		switch r.URL.Path {
		case "/set":
			w.Header().Add("Set-Cookie", "a=1; Path=/")
			w.Header().Add("Set-Cookie", "huge="+strings.Repeat("x", 5000)+"; Path=/")
		case "/many":
			for i := range 300 {
				w.Header().Add("Set-Cookie", fmt.Sprintf("c%d=v; Path=/", i))
			}
		case "/drop":
			w.Header().Add("Set-Cookie", "a=; Max-Age=0; Path=/")
		}
	})
	p := open(t, &apiv1.Config{Profile: map[string]*apiv1.Profile{
		"one": {BaseUrl: server.URL, Cookies: true}, "two": {BaseUrl: server.URL, Cookies: true}, "none": {BaseUrl: server.URL},
	}})
	for _, step := range []struct{ profile, path, own, want string }{
		{"one", "set", "", ""}, {"one", "get", "", "a=1"}, {"two", "get", "", ""}, {"none", "set", "", ""}, {"none", "get", "", ""},
		{"one", "get", "mine=2", "mine=2"}, {"one", "drop", "", "a=1"}, {"one", "get", "", ""},
	} {
		request := &apiv1.DoRequest{Profile: step.profile, Url: step.path}
		if step.own != "" {
			request.Headers = map[string]string{"Cookie": step.own}
		}
		mustDo(t, p, request)
		if got := <-cookies; got != step.want {
			t.Errorf("%s %s: got cookies %q, want %q", step.profile, step.path, got, step.want)
		}
	}
	mustDo(t, p, &apiv1.DoRequest{Profile: "one", Url: "many"})
	<-cookies
	mustDo(t, p, &apiv1.DoRequest{Profile: "one", Url: "get"})
	got := strings.Split(<-cookies, "; ")
	if len(got) != 200 || got[0] != "c100=v" {
		t.Errorf("got %d cookies from %s on, want the last 200 of 300", len(got), got[0])
	}
}

// Cookies are added below the cache, which must not answer for them.
func TestACacheKeepsNothingThatDependsOnAProfilesCookies(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Add("Set-Cookie", "user=ada; Path=/")
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept, cookie")
		_, _ = io.WriteString(w, "hello "+r.Header.Get("Cookie"))
	})
	config := keyed(&apiv1.Profile{BaseUrl: server.URL, Cookies: true})
	config.Cache = &apiv1.Cache{}
	p := open(t, config)
	for _, step := range []struct{ path, want string }{{"me", "hello "}, {"login", ""}, {"me", "hello user=ada"}} {
		response := mustDo(t, p, &apiv1.DoRequest{Profile: "api", Url: step.path})
		if got := string(response.GetBody()); got != step.want || response.GetFromCache() {
			t.Errorf("%s: got %q, from cache %v; want %q from the server", step.path, got, response.GetFromCache(), step.want)
		}
	}
}

func TestAProfilesTimeoutHoldsWhereARequestHasNone(t *testing.T) {
	address := misbehave(t, silence)
	p := open(t, keyed(&apiv1.Profile{BaseUrl: "http://" + address, Timeout: durationpb.New(short)}))
	_, err := do(t, p, &apiv1.DoRequest{Profile: "api"})
	wantError(t, err, codes.DeadlineExceeded, "headers: deadline exceeded after ")
}

func TestAFaultyProfileIsRefusedByItsFieldAndWithoutItsSecrets(t *testing.T) {
	pair := newPair(t, "client")
	base := "https://api.test/"
	tests := []struct {
		want    string
		profile *apiv1.Profile
	}{
		{`profile["api"].base_url: has user information; write a basic{} block`, &apiv1.Profile{BaseUrl: "https://u:s3cret@h/"}},
		{`profile["api"].base_url: not an absolute http or https URL`, &apiv1.Profile{BaseUrl: "api.test/s3cret"}},
		{`profile["api"].base_url: not a well-formed URL`, &apiv1.Profile{BaseUrl: "https://[s3cret/"}},
		{`profile["api"].hosts: there are secrets, and nowhere that they may be sent to`, &apiv1.Profile{Bearer: "s3cret"}},
		{`profile["api"].hosts[0]: not a host; write "example.com"`, &apiv1.Profile{Hosts: []string{"https://h/"}}},
		{`profile["api"].hosts[0]: secrets go to hosts that are named one by one`, &apiv1.Profile{Hosts: []string{"*.test"}}},
		{`profile["api"].bearer: basic and bearer are given`, &apiv1.Profile{BaseUrl: base, Bearer: "s3cret", Basic: &apiv1.Basic{User: "u", Password: "s3cret"}}},
		{`profile["api"].bearer: has a space, a line break`, &apiv1.Profile{BaseUrl: base, Bearer: "s3cret\n"}},
		{`profile["api"].basic.user: has a colon`, &apiv1.Profile{BaseUrl: base, Basic: &apiv1.Basic{User: "u:v", Password: "s3cret"}}},
		{`profile["api"].oauth2.token_url: not an absolute`, &apiv1.Profile{BaseUrl: base, Oauth2: &apiv1.OAuth2{TokenUrl: "s3cret", ClientId: "i"}}},
		{`profile["api"].headers["Te"]: belongs to the connection`, &apiv1.Profile{BaseUrl: base, Headers: map[string]string{"Te": "s3cret"}}},
		{`profile["api"].headers["Idempotency-Key"]: a key is one request's`, &apiv1.Profile{BaseUrl: base, Headers: map[string]string{"Idempotency-Key": "k"}}},
		{`profile["api"].headers["host"]: a host is that of base_url`, &apiv1.Profile{BaseUrl: base, Headers: map[string]string{"host": "h"}}},
		{`profile["api"].headers["x"]: its value has a character`, &apiv1.Profile{BaseUrl: base, Headers: map[string]string{"x": "s3cret\r\n"}}},
		{`profile["api"].tls.ca: no certificate in PEM`, &apiv1.Profile{BaseUrl: base, Tls: &apiv1.TLS{Ca: "s3cret"}}},
		{`profile["api"].tls.key: missing`, &apiv1.Profile{BaseUrl: base, Tls: &apiv1.TLS{Certificate: pair.chain}}},
		{`profile["api"].tls.certificate: missing`, &apiv1.Profile{BaseUrl: base, Tls: &apiv1.TLS{Key: pair.key}}},
		{`profile["api"].tls.key: not PEM`, &apiv1.Profile{BaseUrl: base, Tls: &apiv1.TLS{Certificate: pair.chain, Key: "s3cret"}}},
		{`profile["api"].tls.certificate: certificate and key are no pair`, &apiv1.Profile{BaseUrl: base, Tls: &apiv1.TLS{Certificate: pair.chain, Key: newPair(t, "other").key}}},
		{`profile["api"].proxy: a proxy of no known scheme`, &apiv1.Profile{BaseUrl: base, Proxy: "ftp://u:s3cret@h"}},
		{`profile["api"].proxy: not a well-formed URL`, &apiv1.Profile{BaseUrl: base, Proxy: "http://u:s3cret@h:x"}},
	}
	p := open(t, nil)
	for _, test := range tests {
		err := p.Configure(t.Context(), keyed(test.profile))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one fault %s", err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), pair.key)) {
			t.Errorf("the fault repeats a secret: %v", err)
		}
	}
}

// All that a stranger may come to read is searched for the secrets.
func TestNoSecretIsInErrorsMetricsOrDumps(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	secrets := []string{"pw-s3cret", "tok-s3cret", "hdr-s3cret", "cli-s3cret", "prx-s3cret"}
	p := open(t, &apiv1.Config{Profile: map[string]*apiv1.Profile{
		"basic":  {BaseUrl: server.URL, Basic: &apiv1.Basic{User: "u", Password: secrets[0]}},
		"bearer": {BaseUrl: "http://" + refused(t), Bearer: secrets[1], Headers: map[string]string{"X-Key": secrets[2]}},
		"oauth2": {BaseUrl: server.URL, Oauth2: &apiv1.OAuth2{TokenUrl: server.URL, ClientId: "id", ClientSecret: secrets[3]}},
		"proxy":  {BaseUrl: server.URL, Proxy: "http://u:" + secrets[4] + "@" + refused(t)},
	}})
	var seen strings.Builder
	for _, name := range []string{"basic", "bearer", "oauth2", "proxy"} {
		response, err := do(t, p, &apiv1.DoRequest{Profile: name})
		_, _ = fmt.Fprintln(&seen, response, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		_, _ = fmt.Fprintf(&seen, verb+verb+verb+"\n", p, p.client, p.client.settings)
		for name, profile := range p.client.settings.profiles {
			_, _ = fmt.Fprintf(&seen, verb+verb+verb+"\n", *profile, p.client.settings.routes, p.client.settings.routes[name])
		}
	}
	_, _ = fmt.Fprintln(&seen, gather(t, p))
	secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte("u:"+secrets[0])), base64.StdEncoding.EncodeToString([]byte("u:"+secrets[4])))
	for _, secret := range secrets {
		if strings.Contains(seen.String(), secret) {
			t.Errorf("%s is in:\n%s", secret, &seen)
		}
	}
}
