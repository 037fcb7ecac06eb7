package life

import (
	"fmt"
	"strings"
	"time"
)

// Cause of an end, as in gaia.process.v1.Cause.
type Cause int

// The causes.
const (
	CauseUnknown Cause = iota
	CauseExit
	CauseSignal
	CauseOOM
	CauseRequested
	CauseTimeout
	CauseUnhealthy
	CauseNotStarted
)

// String is the cause as a label.
func (c Cause) String() string {
	return [...]string{"unknown", "exit", "signal", "oom", "requested", "timeout", "unhealthy", "not_started"}[c]
}

// Exit is how a process ended. Who reports one leaves Cause, At and, but for
// NotStarted and what is not known, Message to the machine.
type Exit struct {
	Cause    Cause
	Code     int    // -1 if there is none
	Signal   string // such as "SIGKILL"; empty for none
	CoreDump bool
	OOM      bool   // the kernel has killed somebody of the tree for want of memory
	Left     int    // processes of the tree that it left behind, and that were killed
	By       string // who asked for the end, or what
	Message  string
	At       time.Time
}

// Explain finds the cause and puts all of it into words. It was asked to end for
// the reason, if that has a cause, and killed, if it did not. Want of memory, which
// may have killed one of the tree long ago, does not turn into a failure what
// somebody has asked for.
func (e *Exit) Explain(asked Reason, killed bool, ran time.Duration) {
	switch {
	case e.Cause == CauseNotStarted:
		return
	case e.OOM && !killed && asked.isFailure():
		e.Cause = CauseOOM
	case asked.Cause != CauseUnknown:
		e.Cause, e.By = asked.Cause, asked.By
	case e.Signal != "":
		e.Cause = CauseSignal
	case e.Code >= 0:
		e.Cause = CauseExit
	}
	e.Message = e.words(asked.Detail, killed, ran)
}

// words are such as "exit code 3 after 12s".
func (e *Exit) words(detail string, killed bool, ran time.Duration) string {
	var b strings.Builder
	switch e.Cause {
	case CauseOOM:
		b.WriteString("out of memory: ")
	case CauseRequested:
		b.WriteString("stopped")
		if e.By != "" {
			fmt.Fprintf(&b, " by %s", e.By)
		}
		b.WriteString(": ")
	case CauseTimeout:
		b.WriteString("timeout: ")
	case CauseUnhealthy:
		fmt.Fprintf(&b, "unhealthy: %s: ", detail)
	case CauseUnknown, CauseExit, CauseSignal, CauseNotStarted:
	}
	switch {
	case e.Signal != "":
		b.WriteString(e.Signal)
	case e.Code >= 0:
		fmt.Fprintf(&b, "exit code %d", e.Code)
	default:
		b.WriteString(e.Message) // of how much is known
	}
	if e.Cause == CauseSignal && e.By != "" {
		fmt.Fprintf(&b, " (sent by %s)", e.By)
	}
	if e.CoreDump {
		b.WriteString(" (core dumped)")
	}
	fmt.Fprintf(&b, " after %v", Rounded(ran))
	if e.OOM && e.Cause != CauseOOM {
		b.WriteString("; one of its tree was killed for want of memory")
	}
	if killed {
		b.WriteString("; its tree was killed when the grace was over")
	}
	if e.Left > 0 {
		fmt.Fprintf(&b, "; processes left behind and killed: %d", e.Left)
	}
	return b.String()
}

func crashLoop(r Rules, exits []time.Time) string {
	return fmt.Sprintf("%d exits within %v, which is the limit (restart.exits, restart.within)", len(exits), Rounded(r.Within))
}

// Rounded is a duration as people say it: three digits are enough.
func Rounded(d time.Duration) time.Duration {
	unit := time.Microsecond
	for unit < time.Second && d >= 1000*unit {
		unit *= 10
	}
	if d >= time.Second {
		unit = 10 * time.Millisecond
	}
	if d >= 10*time.Second {
		unit = time.Second
	}
	return d.Round(unit)
}
