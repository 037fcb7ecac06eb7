package profile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/grpc/codes"
)

const (
	// tokenTimeout bounds one request for a token; the caller's deadline may be
	// nearer.
	tokenTimeout = 30 * time.Second

	// maxTokenAnswer is in bytes. Tokens of some KiB exist.
	maxTokenAnswer = 256 << 10

	// tokenMargin is how long before its end a token is not used any more, so
	// that it is still good when it arrives: at most this, and a tenth of its
	// life at most.
	tokenMargin = 30 * time.Second

	// tokenPause is how long a failure to get a token is the answer for all who
	// ask next. A broken configuration would otherwise ask once a request.
	tokenPause = time.Second
)

// tokens has the token of a profile. It asks for one when it is needed, once
// for all who wait for it.
type tokens struct {
	profile string
	url     *url.URL
	id      string
	secret  Secret
	form    string

	mu       sync.Mutex
	current  *token
	asking   *question // nil when nobody asks
	failure  error     // of the last question, until failedTo
	failedTo time.Time
	inForm   bool // whether the server wants the secret in the form, not in Basic
}

// token is an access token.
type token struct {
	authorization Secret
	until         time.Time // zero if nobody knows
}

// question is a request for a token that somebody has under way.
type question struct {
	done  chan struct{} // closed when it has an answer
	token *token
	err   error // errGaveUp if the one who asked did not wait for the answer
}

var errGaveUp = errors.New("the one who asked for a token has given up")

func newTokens(profile string, u *url.URL, config *apiv1.OAuth2) *tokens {
	form := url.Values{"grant_type": {"client_credentials"}}
	if scopes := config.GetScopes(); len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	if audience := config.GetAudience(); audience != "" {
		form.Set("audience", audience)
	}
	return &tokens{profile: profile, url: u, id: config.GetClientId(), secret: NewSecret(config.GetClientSecret()), form: form.Encode()}
}

// parseTokenURL reads a token_url.
func parseTokenURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New(`not an absolute http or https URL; write one like "https://auth.example.com/token"`)
	case u.User != nil:
		return nil, errors.New("has user information; write client_id and client_secret instead")
	case u.Fragment != "":
		return nil, errors.New("has a fragment, which RFC 6749, 3.2 forbids")
	}
	return u, nil
}

// get returns the token, or asks for one by next.
func (t *tokens) get(ctx context.Context, next http.RoundTripper) (*token, error) {
	for {
		token, q, mine, err := t.join(time.Now())
		if token != nil || err != nil {
			return token, err
		}
		if mine {
			return t.answer(ctx, q, next)
		}
		select {
		case <-q.done:
			if q.err == errGaveUp { //nolint:errorlint // it is ours, and bare
				continue
			}
			return q.token, q.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// join returns the token that there is, or the question under way, which is the
// caller's own if nobody else has asked.
func (t *tokens) join(now time.Time) (token *token, q *question, mine bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.current != nil && (t.current.until.IsZero() || now.Before(t.current.until)):
		return t.current, nil, false, nil
	case t.asking != nil:
		return nil, t.asking, false, nil
	case now.Before(t.failedTo):
		return nil, nil, false, t.failure
	}
	t.asking = &question{done: make(chan struct{})}
	return nil, t.asking, true, nil
}

// answer asks the server, and gives its answer to all who wait for q.
func (t *tokens) answer(ctx context.Context, q *question, next http.RoundTripper) (*token, error) {
	token, err := t.ask(ctx, next)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asking = nil
	q.token, q.err = token, err
	switch {
	case err == nil:
		t.current = token
	case ctx.Err() != nil:
		q.err, err = errGaveUp, ctx.Err()
	default:
		t.failure, t.failedTo = err, time.Now().Add(tokenPause)
	}
	close(q.done)
	return token, err
}

// drop forgets a token that a server has refused.
func (t *tokens) drop(refused *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == refused {
		t.current = nil
	}
}

// ask sends the request for a token. Servers must take the secret in an
// Authorization header (RFC 6749, 2.3.1); some take it in the form only, which
// is tried second.
func (t *tokens) ask(ctx context.Context, next http.RoundTripper) (*token, error) {
	// Not followed as a part of the request that needs the token.
	ctx, cancel := context.WithTimeout(call.Bare(ctx), tokenTimeout)
	defer cancel()
	ctx = call.With(ctx, &call.Call{Profile: t.profile})
	t.mu.Lock()
	inForm := t.inForm
	t.mu.Unlock()
	token, err := t.try(ctx, next, inForm)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.client() && !inForm && !t.secret.IsZero() {
		if token, err = t.try(ctx, next, true); err == nil {
			t.mu.Lock()
			t.inForm = true
			t.mu.Unlock()
		}
	}
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status < 500 && refused.status != http.StatusTooManyRequests {
		return nil, &call.Failure{Code: codes.Unavailable, Text: t.text(err)}
	}
	if err != nil {
		return nil, fmt.Errorf("oauth2 at %s: %w", t.url.Host, err)
	}
	return token, nil
}

func (t *tokens) text(err error) string { return "oauth2 at " + t.url.Host + ": " + err.Error() }

func (t *tokens) try(ctx context.Context, next http.RoundTripper, inForm bool) (*token, error) {
	form := t.form
	if inForm {
		form += "&" + url.Values{"client_id": {t.id}, "client_secret": {t.secret.Reveal()}}.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url.String(), strings.NewReader(form))
	if err != nil {
		return nil, errors.New("internal: the token_url makes no request")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "")
	if !inForm {
		request.SetBasicAuth(url.QueryEscape(t.id), url.QueryEscape(t.secret.Reveal()))
	}
	asked := time.Now()
	response, err := next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it has been read
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTokenAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer broke off: %w", err)
	case len(body) > maxTokenAnswer:
		return nil, fmt.Errorf("the answer is over %d bytes", maxTokenAnswer)
	case response.StatusCode != http.StatusOK:
		return nil, newRefusal(response.StatusCode, body)
	}
	return parseToken(body, asked)
}

// parseToken reads an answer of RFC 6749, 5.1. Its errors repeat nothing of it.
func parseToken(body []byte, asked time.Time) (*token, error) {
	var answer struct {
		AccessToken string      `json:"access_token"`
		TokenType   string      `json:"token_type"`
		ExpiresIn   json.Number `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, errors.New("the answer is not JSON with access_token, token_type and expires_in (RFC 6749, 5.1)")
	}
	switch {
	case answer.AccessToken == "":
		return nil, errors.New("the answer has no access_token")
	case !httpguts.ValidHeaderFieldValue(answer.AccessToken):
		return nil, errors.New("the access_token has a character that a header value cannot have")
	case answer.TokenType != "" && !strings.EqualFold(answer.TokenType, "bearer"):
		return nil, errors.New("the token_type is not Bearer, which is the only one that is understood")
	}
	made := &token{authorization: NewSecret("Bearer " + answer.AccessToken)}
	if seconds, err := answer.ExpiresIn.Float64(); err == nil && seconds > 0 {
		life := time.Duration(min(seconds, 1e9) * float64(time.Second))
		made.until = asked.Add(life - min(tokenMargin, life/10))
	}
	return made, nil
}

// refusal is an answer that is no token.
type refusal struct {
	status int
	code   string // of RFC 6749, 5.2; "" for another one
}

func newRefusal(status int, body []byte) *refusal {
	var answer struct {
		Error string `json:"error"`
	}
	// What else the answer says is not repeated: it may be the secret.
	known := []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
	if json.Unmarshal(body, &answer) != nil || !slices.Contains(known, answer.Error) {
		answer.Error = ""
	}
	return &refusal{status, answer.Error}
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("status %d", r.status)
	if r.code != "" {
		text += ", " + r.code
	}
	return "no token: " + text
}

// client reports whether the server did not accept who we are.
func (r *refusal) client() bool {
	return r.status == http.StatusUnauthorized || r.status == http.StatusBadRequest && (r.code == "invalid_client" || r.code == "invalid_request")
}
