// Package resend sends requests, and sends them again where HTTP allows it:
// after a pause that the server asked for, within a budget for each domain, and
// never past the deadline of the call.
package resend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/body"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"google.golang.org/grpc/codes"
)

// Options say how requests are sent again.
type Options struct {
	Next      http.RoundTripper
	Budget    float64       // share of a domain's requests that may be repetitions, beside the 10 that always may
	BaseDelay time.Duration // the wait before the n-th repetition is random, below BaseDelay x 2^(n-1)
	MaxDelay  time.Duration // the longest such wait
	MaxPause  time.Duration // the longest pause that a server can ask for; 0 is none
	Metrics   *Metrics
	Connected func(reused bool) // told each time a request gets a connection; may be nil
}

// Resender is an http.RoundTripper. The response of the last attempt is
// returned as it is, also one with a status that calls for another. It is safe
// for concurrent use.
type Resender struct {
	options Options
	domains *domains
}

// New returns a Resender.
func New(o Options) *Resender {
	return &Resender{options: o, domains: newDomains(o.Budget)}
}

// attempt is what came of sending a request once.
type attempt struct {
	exchange *call.Exchange
	response *http.Response
	err      error
}

// RoundTrip sends request, and sends it again as the call of its context allows.
// A response of a call with a MaxBody has been read.
func (r *Resender) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	t := &trip{Resender: r, request: request, call: call.From(ctx)}
	t.idempotent = t.call.Idempotent || call.Idempotent(request.Method, request.Header)
	name := target(request.URL)
	t.domain = r.domains.enter(name)
	defer r.domains.leave(t.domain)

	var last attempt
	for {
		next := attempt{exchange: t.call.Begin(name, r.options.Connected)}
		if next.err = t.pause(ctx, next.exchange); next.err == nil {
			next = t.send(ctx, next)
		} else {
			t.drop()
		}
		if t.repetitions > 0 && unsent(next) {
			t.call.Choose(last.exchange) // the wait became too long: what there is stands
			return last.response, last.err
		}
		last = next
		wait, again := t.again(ctx, last)
		if !again {
			return last.response, last.err
		}
		discard(last.response)
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// trip is one request on its way.
type trip struct {
	*Resender

	request     *http.Request
	call        *call.Call
	domain      *domain
	idempotent  bool
	copies      int // of the request that were sent
	repetitions int // of them those that came after an attempt that did not succeed
	hedged      bool
}

// unsent reports whether a decorator decided not to send a request.
func unsent(a attempt) bool {
	_, refused := errors.AsType[*call.Failure](a.err)
	return refused && !a.exchange.Sent()
}

// pause waits until the domain takes requests again. A wait that ends after the
// deadline is refused at once.
func (t *trip) pause(ctx context.Context, e *call.Exchange) error {
	for waited := false; ; waited = true {
		until := t.domain.pausedUntil()
		wait := time.Until(until)
		if wait <= 0 {
			e.Ready()
			return nil
		}
		clock := until.UTC().Format("15:04:05.000Z")
		if !fits(ctx, wait) {
			t.options.Metrics.refusedByPause.Inc()
			return &call.Failure{
				Code:       codes.ResourceExhausted,
				Text:       fmt.Sprintf("the server asked for a pause until %s, in %v, which is after the deadline of the call", clock, wait.Round(time.Millisecond)),
				RetryAfter: wait,
			}
		}
		if !waited {
			t.options.Metrics.waitedForPause.Inc()
		}
		e.Await("the end of a pause that the server asked for, at " + clock)
		// Those who wait do not all come back in the same moment.
		if spread := wait + t.jitter(1); fits(ctx, spread) {
			wait = spread
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// send sends the request once, or as two copies.
func (t *trip) send(ctx context.Context, a attempt) attempt {
	if after, hedge := t.hedgeAfter(); hedge {
		return t.race(ctx, a, after)
	}
	request, err := t.copy(a.exchange.Follow(ctx))
	return t.whole(t.head(request, err, a))
}

// whole reads the body of a response, unless it is a stream's.
func (t *trip) whole(a attempt) attempt {
	if a.err != nil || t.call.MaxBody == 0 {
		return a
	}
	a.exchange.Reach(call.Reading)
	data, err := body.Read(a.response, t.call.MaxBody)
	_ = a.response.Body.Close()
	if err != nil {
		a.response, a.err = nil, err
		return a
	}
	a.response.Body = body.Of(data, true)
	return a
}

// copy is the request with a body that has not been read.
func (t *trip) copy(ctx context.Context) (*http.Request, error) {
	t.copies++
	request := t.request.WithContext(ctx)
	if t.copies == 1 || t.request.GetBody == nil {
		return request, nil
	}
	fresh, err := t.request.GetBody()
	if err != nil {
		return nil, err
	}
	request.Body = fresh
	return request, nil
}

// drop closes the body of a request that is not sent, as a RoundTripper must.
func (t *trip) drop() {
	if t.copies == 0 && t.request.Body != nil {
		_ = t.request.Body.Close()
	}
}

// learn notes the pause that a response asks for.
func (t *trip) learn(response *http.Response) {
	now := time.Now()
	if wait := min(askedPause(response, now), t.options.MaxPause); wait > 0 {
		t.domain.pause(now.Add(wait))
	}
}

// again decides whether the request is sent again, and after which wait.
func (t *trip) again(ctx context.Context, a attempt) (time.Duration, bool) {
	reason, ok := t.repeatable(ctx, a)
	if !ok || t.repetitions >= t.call.Retries {
		return 0, false
	}
	wait := max(0, time.Until(t.domain.pausedUntil())) + t.jitter(t.repetitions+1)
	if !fits(ctx, wait) {
		t.options.Metrics.refusedByDeadline.Inc()
		return 0, false
	}
	if !t.domain.withdraw() {
		t.options.Metrics.refusedByBudget.Inc()
		return 0, false
	}
	t.options.Metrics.resent[reason].Inc()
	t.repetitions++
	return wait, true
}

// repeatable reports whether HTTP allows to send the request again after a, and
// why it should be.
func (t *trip) repeatable(ctx context.Context, a attempt) (reason, bool) {
	if !t.rewinds() {
		return 0, false
	}
	stream := t.call.MaxBody == 0
	if a.err == nil {
		return forStatus, t.idempotent && !stream && isBusy(a.response.StatusCode)
	}
	switch {
	case ctx.Err() != nil, isFinal(a.err):
		return 0, false
	case !a.exchange.Sent():
		return forUnsent, true
	}
	return forBroken, t.idempotent && !stream
}

// isBusy reports whether a status calls for the same request later.
func isBusy(code int) bool {
	switch code {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// isFinal reports whether the same request would have the same error.
func isFinal(err error) bool {
	if _, ok := errors.AsType[*call.Failure](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	name, ok := errors.AsType[*net.DNSError](err)
	return ok && name.IsNotFound
}

// jitter is the wait before the n-th repetition. That it is spread over the
// whole range is what keeps callers that failed together from coming back
// together.
func (r *Resender) jitter(n int) time.Duration {
	ceiling := r.options.MaxDelay
	if shift := n - 1; shift < 32 && r.options.BaseDelay<<shift < ceiling {
		ceiling = r.options.BaseDelay << shift
	}
	if ceiling <= 0 {
		return 0
	}
	return rand.N(ceiling) //nolint:gosec // G404: nobody gains by guessing a wait
}

// fits reports whether there is time after a wait.
func fits(ctx context.Context, wait time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > wait
}

func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func discard(response *http.Response) {
	if response != nil {
		_ = response.Body.Close()
	}
}

// target is the address of the server that u is of: the domain, by which
// budgets and pauses are kept. The host of u is in its one spelling.
func target(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case u.Scheme == "https":
		return u.Host + ":443"
	}
	return u.Host + ":80"
}
