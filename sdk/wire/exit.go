package wire

import (
	"errors"
	"fmt"
	"io/fs"
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
	// Detached is true for a process that somebody else has started: it was let
	// go, or could not be reached any more, and how it ended is not known.
	Detached bool
}

// String says it in words: "exited with code 3 after 1.2s".
func (e Exit) String() string {
	ran := e.Ran.Round(time.Millisecond)
	if e.Detached {
		return fmt.Sprintf("detached after %v", ran)
	}
	if e.Signal != 0 {
		return fmt.Sprintf("killed by signal %d (%v) after %v", int(e.Signal), e.Signal, ran)
	}
	return fmt.Sprintf("exited with code %d after %v", e.Code, ran)
}

// StartError says why a plugin could not be started.
type StartError struct {
	// Reason in one line.
	Reason string
	// Tail is what the process wrote last, as Process.Tail returns it; often
	// the true cause.
	Tail []string
	// Err is the cause, if there is one to test for.
	Err error
}

// Error joins the reason and the beginning of the most telling line of output.
func (e *StartError) Error() string {
	words := lastWords(e.Tail)
	switch {
	case words == "":
		return e.Reason
	case isCrash(words):
		return fmt.Sprintf("%s; it wrote: %.200q", e.Reason, words)
	default:
		return fmt.Sprintf("%s; its last line: %.200q", e.Reason, words)
	}
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

const reasonCancelled = "start was cancelled"

var (
	// errHandshake is matched by errors of the first line.
	errHandshake = errors.New("handshake")
	// errTooSlow is the cause of a start's end after Command.StartTimeout.
	errTooSlow = errors.New("start timeout")
)

// startError finds words for what go-plugin says in general terms. cause is
// why the start was cut short, nil if it was not; closing is what Close said.
func startError(cause error, r *processRunner, err, closing error) *StartError {
	e := &StartError{Err: errors.Join(err, closing), Tail: r.tail.copy()}
	switch {
	case cause != nil && !errors.Is(cause, errTooSlow):
		e.Reason, e.Err = reasonCancelled, cause
	case !r.wasStarted():
		e.Reason = notExecuted(r, err)
	case closing != nil:
		e.Reason = closing.Error() // and so there is no exit to tell of
	default:
		e.Reason = notConnected(cause, r, err)
	}
	return e
}

func notExecuted(r *processRunner, err error) string {
	if r.socketDir == "" {
		return fmt.Sprintf("no private directory in socket directory %s: %v", r.command.SocketDir, innermost(err))
	}
	return fmt.Sprintf("cannot be executed: %s: %v", r.command.Path, innermost(err))
}

// innermost strips names that mean nothing to the reader: those of an open
// file below /proc and of a directory that does not exist.
func innermost(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

func notConnected(cause error, r *processRunner, err error) string {
	first, heard := r.firstLine()
	awaited := "handshake"
	if heard {
		awaited = "answer"
	}
	switch {
	case heard && strings.Count(first, "|") < 3:
		return fmt.Sprintf("its first line on standard output is %.60q, not a handshake; is it a gaia plugin?", first)
	case heard && errors.Is(err, errHandshake):
		return strings.ReplaceAll(err.Error(), "\n", " ")
	case r.exit.Signal != syscall.SIGKILL || !r.wasKilled():
		return fmt.Sprintf("%v, before the %s", r.exit, awaited)
	case cause != nil:
		return fmt.Sprintf("no %s within %v", awaited, r.command.StartTimeout)
	case !heard:
		return "standard output ended without a handshake"
	default:
		return err.Error()
	}
}
