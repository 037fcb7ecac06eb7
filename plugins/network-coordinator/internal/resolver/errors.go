package resolver

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// What a *LookupError is made of.
var (
	// ErrNotFound: the name does not exist, or has no address of the family.
	ErrNotFound = errors.New("the name has no such record")
	// ErrUnavailable: no upstream gave an answer and nothing stale is left.
	ErrUnavailable = errors.New("no upstream answered")
	// ErrBusy: too many names are being asked for at once.
	ErrBusy = fmt.Errorf("%d names are being asked for, the limit; try again in a moment", maxFlights)
	// ErrClosed: the resolver has been closed.
	ErrClosed = errors.New("the resolver is closed")
	// ErrName: what was asked for is no name of a host. The caller's fault.
	ErrName = errors.New("it is no name of a host")
)

// LookupError says which name could not be resolved and why. The errors above
// and those of contexts are found in it by errors.Is.
type LookupError struct {
	Host string
	Err  error
}

func (e *LookupError) Error() string {
	// errors.Join puts lines below each other.
	return fmt.Sprintf("lookup %.300q: %s", e.Host, strings.ReplaceAll(e.Err.Error(), "\n", "; "))
}

func (e *LookupError) Unwrap() error { return e.Err }

// Timeout and Temporary are as net.Error has them.
func (e *LookupError) Timeout() bool {
	var timeout interface{ Timeout() bool }
	return errors.As(e.Err, &timeout) && timeout.Timeout()
}

// Temporary reports whether another try may do better.
func (e *LookupError) Temporary() bool {
	return !errors.Is(e.Err, ErrNotFound) && !errors.Is(e.Err, ErrName)
}

// Answers of upstreams that are none. The next upstream is asked.
var (
	errMalformed = errors.New("malformed answer")
	errTruncated = errors.New("truncated answer")
	errChain     = fmt.Errorf("malformed answer: more than %d CNAME records in a row, or in a circle", maxChain)
	errRecords   = fmt.Errorf("malformed answer: more than %d records", maxRecords)
)

// refusal is an upstream's word that it has no answer, such as SERVFAIL.
type refusal dnsmessage.RCode

func (r refusal) Error() string {
	switch dnsmessage.RCode(r) {
	case dnsmessage.RCodeFormatError:
		return "FORMERR"
	case dnsmessage.RCodeServerFailure:
		return "SERVFAIL"
	case dnsmessage.RCodeNotImplemented:
		return "NOTIMP"
	case dnsmessage.RCodeRefused:
		return "REFUSED"
	default:
		return fmt.Sprintf("response code %d", uint16(r))
	}
}
