package conn

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/admit"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/resolver"
	"github.com/gaia-go/gaia/sdk/egress"
)

// Kind is what an error of Open means to who asked. Each door has its own words
// for it.
type Kind int

// The kinds.
const (
	Internal    Kind = iota
	Denied           // by a rule
	Limited          // as many are open as may be
	Paced            // as many were opened lately as may be; RetryAfter says until when
	NotFound         // the name does not exist
	Unresolved       // nobody knows the name's addresses now
	Unreachable      // no address took the connection
	Refused          // an address refused it, and no other took it
	TimedOut         // resolving or connecting
	Ending           // the coordinator, or who asked
)

// KindOf says what an error of Open means.
func KindOf(err error) Kind {
	if _, ok := errors.AsType[*egress.Denied](err); ok {
		return Denied
	}
	if limit, ok := errors.AsType[*admit.Refusal](err); ok {
		if limit.RetryAfter > 0 {
			return Paced
		}
		return Limited
	}
	dial, ok := errors.AsType[*egress.DialError](err)
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return Ending
	case !ok:
		return Internal
	case errors.Is(err, resolver.ErrUnavailable): // be it that an upstream did not answer in its time
		return Unresolved
	case dial.Timeout():
		return TimedOut
	case dial.Phase == egress.Resolve:
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound || errors.Is(err, resolver.ErrNotFound) {
			return NotFound
		}
		return Unresolved
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	}
	return Unreachable
}

// RetryAfter is when it is worth asking again after such an error; 0 is unknown.
func RetryAfter(err error) time.Duration {
	if limit, ok := errors.AsType[*admit.Refusal](err); ok {
		return limit.RetryAfter
	}
	return 0
}
