// Package domain keeps the bounds of domain{} blocks: how many requests a
// domain gets in a time, and how many exchanges each of its hosts at once.
package domain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/egress"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
)

// Domain is the bounds of one block. All hosts that it covers share its rate.
type Domain struct {
	Name        string // as it is written
	Connections int    // exchanges at once with each host; 0 for no bound of its own
	rate        *rate.Limiter
	pace        string // the rate in words
}

// Domains are all blocks. It is safe for concurrent use.
type Domains struct {
	exact map[string]*Domain // by host
	below map[string]*Domain // by what is behind the "*."
	rest  *Domain            // "*"; nil for no bounds
}

// Parse reads domain{} blocks. The error joins one sdk.FieldError per fault.
func Parse(blocks map[string]*apiv1.Domain) (*Domains, error) {
	d := &Domains{exact: map[string]*Domain{}, below: map[string]*Domain{}}
	var faults []error
	for name, block := range blocks {
		if err := d.add(name, newDomain(name, block)); err != nil {
			faults = append(faults, sdk.Invalid(fmt.Sprintf("domain[%q]", name), "%v", err))
		}
	}
	return d, errors.Join(faults...)
}

func newDomain(name string, block *apiv1.Domain) *Domain {
	domain := &Domain{Name: name, Connections: int(block.GetConnections())}
	if events, per := block.GetRate().GetEvents(), block.GetRate().GetPer().AsDuration(); events > 0 && per > 0 {
		burst := max(1, int(block.GetBurst()))
		domain.rate = rate.NewLimiter(rate.Limit(float64(events)/per.Seconds()), burst)
		domain.pace = fmt.Sprintf("%d per %v", events, per)
	}
	return domain
}

func (d *Domains) add(name string, domain *Domain) error {
	if name == "*" {
		d.rest = domain
		return nil
	}
	suffix, isPattern := strings.CutPrefix(name, "*.")
	host, err := egress.ParseHost(suffix)
	if err != nil || isPattern && host.Addr.IsValid() {
		return errors.New(`not a host; write a name such as "api.example.com", "*.example.com" for all below it, or "*" for all others`)
	}
	into := d.exact
	if isPattern {
		into = d.below
	}
	if other := into[host.String()]; other != nil {
		return fmt.Errorf("the same domain as %q; write one block", other.Name)
	}
	into[host.String()] = domain
	return nil
}

// Find returns the block that covers host the most closely: itself, then the
// longest name above it, then all others. It is nil if none does.
func (d *Domains) Find(host string) *Domain {
	if len(d.exact) == 0 && len(d.below) == 0 {
		return d.rest
	}
	parsed, err := egress.ParseHost(host)
	if err != nil {
		return d.rest
	}
	name := parsed.String()
	if domain := d.exact[name]; domain != nil {
		return domain
	}
	if parsed.Addr.IsValid() {
		return d.rest
	}
	for _, above, ok := strings.Cut(name, "."); ok; _, above, ok = strings.Cut(above, ".") {
		if domain := d.below[above]; domain != nil {
			return domain
		}
	}
	return d.rest
}

// Connections returns how many exchanges host may have at once, standard if no
// block says, and the field of the configuration that says so.
func (d *Domains) Connections(host string, standard int) (int, string) {
	if domain := d.Find(host); domain != nil && domain.Connections > 0 {
		return domain.Connections, fmt.Sprintf("domain[%q].connections", domain.Name)
	}
	return standard, "connections_per_host"
}

// Most is the largest number of connections of any block, at least standard.
func (d *Domains) Most(standard int) int {
	most := standard
	for _, blocks := range []map[string]*Domain{d.exact, d.below, {"*": d.rest}} {
		for _, domain := range blocks {
			if domain != nil {
				most = max(most, domain.Connections)
			}
		}
	}
	return most
}

// Limiter is an http.RoundTripper that holds requests back to the rate of their
// domain, in the order of their arrival.
type Limiter struct {
	Next    http.RoundTripper
	Domains *Domains
}

// RoundTrip sends request when it is its turn. A turn that comes after the
// deadline is refused at once and takes nobody else's place.
func (l *Limiter) RoundTrip(request *http.Request) (*http.Response, error) {
	domain := l.Domains.Find(request.URL.Hostname())
	if domain != nil && domain.rate != nil {
		if err := domain.wait(request.Context()); err != nil {
			if request.Body != nil {
				_ = request.Body.Close()
			}
			return nil, err
		}
	}
	return l.Next.RoundTrip(request)
}

func (d *Domain) wait(ctx context.Context) error {
	turn := d.rate.Reserve()
	wait := turn.Delay()
	if wait <= 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		turn.Cancel()
		return &call.Failure{
			Code:       codes.ResourceExhausted,
			Text:       fmt.Sprintf("the next request to domain %q may leave in %v (rate of %s), which is after the deadline of the call", d.Name, wait.Round(time.Millisecond), d.pace),
			RetryAfter: wait,
		}
	}
	exchange := call.ExchangeFrom(ctx)
	exchange.Await(fmt.Sprintf("the rate of domain %q, %s", d.Name, d.pace))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		exchange.Await("")
		return nil
	case <-ctx.Done():
		turn.Cancel()
		return ctx.Err()
	}
}
