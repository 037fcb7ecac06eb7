package egress

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
)

// Phase is how far a dial has come.
type Phase string

// The phases after the rules have been asked.
const (
	Resolve Phase = "resolve" // the name has no address, or nobody said so in time
	Connect Phase = "connect" // no address has answered
)

// DialError is the error for a target that could not be reached, although it
// may be. The causes, such as *net.DNSError, *net.OpError, syscall.ECONNREFUSED
// or context.Canceled, are found by errors.As and errors.Is.
type DialError struct {
	Target Target
	Phase  Phase
	Err    error // of Connect all attempts', joined
}

func (e *DialError) Error() string {
	// errors.Join puts lines below each other.
	cause := strings.ReplaceAll(e.Err.Error(), "\n", "; ")
	if e.Phase == Resolve {
		return "resolve: " + cause // a resolver's errors name the host
	}
	return "connect to " + e.Target.address() + ": " + cause
}

func (e *DialError) Unwrap() error { return e.Err }

// Timeout reports whether time ran out for the resolver or an attempt to
// connect, as net.Error has it.
func (e *DialError) Timeout() bool {
	var dns *net.DNSError
	return errors.As(e.Err, &dns) && dns.IsTimeout || errors.Is(e.Err, context.DeadlineExceeded) ||
		errors.Is(e.Err, os.ErrDeadlineExceeded) || errors.Is(e.Err, syscall.ETIMEDOUT)
}

// Temporary is what net.Error asks for. It says nothing.
func (e *DialError) Temporary() bool { return false }
