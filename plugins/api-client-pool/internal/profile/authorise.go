package profile

import (
	"bytes"
	"io"
	"maps"
	"net/http"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
)

// maxRefusal is how large the body of a 401 may be, in bytes, for the request to
// be sent again: it is kept in case there is no other token.
const maxRefusal = 64 << 10

// Authoriser is a RoundTripper that adds what a profile has to the requests that
// its hosts get. It does so for each attempt and each redirect by itself, so
// that nothing that it adds travels on to where a redirect leads.
type Authoriser struct {
	Next     http.RoundTripper
	Profiles Profiles
}

// RoundTrip sends one request. A 401 to a token that was had by oauth2 has the
// request sent again, once, with a new one.
func (a *Authoriser) RoundTrip(request *http.Request) (*http.Response, error) {
	p := a.Profiles[call.From(request.Context()).Profile]
	if p == nil || !p.Has(request.URL) {
		return a.Next.RoundTrip(request)
	}
	if p.tokens == nil {
		return p.send(a.Next, request, p.authorization)
	}
	ctx := request.Context()
	first, err := p.tokens.get(ctx, a.Next)
	if err != nil {
		closeBody(request)
		return nil, err
	}
	response, err := p.send(a.Next, request, first.authorization)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		return response, err
	}
	p.tokens.drop(first)
	again := replay(request)
	if again == nil || !release(response) {
		return response, nil
	}
	second, err := p.tokens.get(ctx, a.Next)
	if err != nil {
		closeBody(again)
		return response, nil //nolint:nilerr // the 401 says more than that there is no other token
	}
	return p.send(a.Next, again, second.authorization)
}

// release reads the body of a 401, so that its connection can be had by whoever
// asks for the token. It reports false for a body that is too large for that,
// or broken, and leaves it as it was.
func release(response *http.Response) bool {
	body := response.Body
	head, err := io.ReadAll(io.LimitReader(body, maxRefusal+1))
	if err != nil || len(head) > maxRefusal {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), &failing{body, err}), body}
		return false
	}
	_ = body.Close()
	response.Body = io.NopCloser(bytes.NewReader(head))
	return true
}

// failing is the rest of a body, or the error that it has ended with.
type failing struct {
	rest io.Reader
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.rest.Read(p)
}

// send sends a copy of request that has what the profile adds.
func (p *Profile) send(next http.RoundTripper, request *http.Request, authorization Secret) (*http.Response, error) {
	sent := request.WithContext(request.Context()) // a copy
	sent.Header = maps.Clone(request.Header)
	if !authorization.IsZero() {
		sent.Header.Set("Authorization", authorization.Reveal())
	}
	for _, h := range p.headers {
		if _, own := sent.Header[h.name]; !own {
			sent.Header.Set(h.name, h.value.Reveal())
		}
	}
	if p.cookies != nil {
		p.cookies.add(sent)
	}
	response, err := next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	if p.cookies != nil {
		p.cookies.keep(request.URL, response)
		hide(request, response)
	}
	response.Request = request
	return response, nil
}

// replay returns request as it was before it was sent, or nil if its body is
// gone.
func replay(request *http.Request) *http.Request {
	again := request.Clone(request.Context())
	if request.Body == nil || request.Body == http.NoBody {
		return again
	}
	if request.GetBody == nil {
		return nil
	}
	body, err := request.GetBody()
	if err != nil {
		return nil
	}
	again.Body = body
	return again
}

func closeBody(request *http.Request) {
	if request.Body != nil {
		_ = request.Body.Close()
	}
}
