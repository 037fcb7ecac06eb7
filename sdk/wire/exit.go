package wire

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code, or -1 if a signal ended the process.
	Code int
	// Signal that ended the process, or 0.
	Signal syscall.Signal
	// Ran is the time from exec to exit.
	Ran time.Duration
}

// String says it in words: "exited with code 3 after 1.2s".
func (e Exit) String() string {
	ran := e.Ran.Round(time.Millisecond)
	if e.Signal != 0 {
		return fmt.Sprintf("killed by signal %d (%v) after %v", int(e.Signal), e.Signal, ran)
	}
	return fmt.Sprintf("exited with code %d after %v", e.Code, ran)
}

// StartError says why a plugin could not be started.
type StartError struct {
	// Reason in one line.
	Reason string
	// Tail is what the process wrote last, oldest first; often the true cause.
	Tail []string
	// Err is the cause, if there is one to test for.
	Err error
}

// Error joins the reason and the last line of output.
func (e *StartError) Error() string {
	if len(e.Tail) == 0 {
		return e.Reason
	}
	return e.Reason + "; its last line: " + strconv.Quote(e.Tail[len(e.Tail)-1])
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// startError finds words for what go-plugin says in general terms. The process,
// if there was one, has ended.
func startError(ctx context.Context, c Command, r *processRunner, err error) *StartError {
	e := &StartError{Err: err, Tail: r.tail.copy()}
	if !r.wasStarted() {
		e.Reason = "cannot be executed: " + err.Error()
		return e
	}
	byItself := r.exit.Signal != syscall.SIGKILL
	switch first := r.firstLine(); {
	case ctx.Err() != nil:
		e.Reason, e.Err = "start was cancelled", ctx.Err()
	case first != "" && strings.Count(first, "|") < 3:
		e.Reason = fmt.Sprintf("its first line on standard output is %.60q, not a handshake; is it a gaia plugin?", first)
	case first != "":
		e.Reason = "handshake: " + strings.ReplaceAll(err.Error(), "\n", " ")
	case byItself:
		e.Reason = r.exit.String() + ", before the handshake"
	case r.exit.Ran >= c.StartTimeout:
		e.Reason = fmt.Sprintf("no handshake within %v", c.StartTimeout)
	default:
		e.Reason = "standard output ended without a handshake"
	}
	return e
}
