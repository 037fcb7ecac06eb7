package life

import (
	"slices"
	"time"
)

// When to restart.
type When int

// The policies, as in gaia.process.v1.When.
const (
	Never When = iota
	OnFailure
	Always
)

// Rules are what the life of one process goes by.
type Rules struct {
	When         When
	Backoff      time.Duration // before the second restart in a row; the first is at once
	MaxBackoff   time.Duration
	StableAfter  time.Duration // a run of this length wipes out earlier exits
	Exits        int           // so many exits…
	Within       time.Duration // …within this time are a crash loop; 0 exits: there is none
	SuccessCodes []int32       // that are no failure, beside 0
	HasReady     bool          // a probe says when it is ready
	Timeout      time.Duration // from when it was asked for; 0 for none
	Grace        time.Duration // until the tree is killed, when the time is up
}

// ended goes on without a process: it could not be started, or has ended.
func (m *Machine) ended(r Rules, ev Event) []Action {
	exit := ev.Exit
	exit.At = ev.At
	ran := time.Duration(0)
	if ev.Kind == Ended {
		ran = max(ev.At.Sub(m.Since), 0) // somebody may have set the clock back
	}
	exit.Explain(m.Stop, m.Killed, ran)
	m.Exit, m.Alive, m.Stop = &exit, false, Reason{}
	switch {
	case m.Again:
		m.Restarts++
		return m.begin(ev.At)
	case ev.Kind == NotStarted && m.Fresh:
		m.State = Failed
		return nil
	case !r.restarts(exit):
		m.State = Exited
		return nil
	}
	return m.lost(r, ran, ev)
}

// lost starts the next run: at once after the first exit in a row, and then
// after a wait that doubles. Too many exits in too short a time are a crash loop.
func (m *Machine) lost(r Rules, ran time.Duration, ev Event) []Action {
	if ran >= r.StableAfter {
		m.InRow, m.Recent = 0, nil
	}
	m.InRow++
	if m.noteExit(r, ev.At) {
		m.State = Failed
		m.Fault = crashLoop(r, m.Recent)
		return nil
	}
	if m.InRow == 1 {
		m.Restarts++
		return m.launch()
	}
	m.State = Backoff
	m.NextStart = ev.At.Add(r.wait(m.InRow, ev.Jitter))
	return nil
}

// noteExit reports whether there were too many exits with this one.
func (m *Machine) noteExit(r Rules, at time.Time) bool {
	if r.Exits <= 0 {
		return false
	}
	m.Recent = append(slices.Clone(m.Recent), at)
	if surplus := len(m.Recent) - r.Exits; surplus > 0 {
		m.Recent = m.Recent[surplus:]
	}
	return len(m.Recent) == r.Exits && at.Sub(m.Recent[0]) <= r.Within
}

// restarts reports whether the policy wants another run after this exit.
func (r Rules) restarts(e Exit) bool {
	switch {
	case !Reason{Cause: e.Cause}.isFailure():
		return false
	case r.When == Always:
		return true
	case r.When == OnFailure:
		return e.Cause != CauseExit || e.Code != 0 && !slices.Contains(r.SuccessCodes, int32(e.Code)) //nolint:gosec // G115: exit codes have 8 bits
	}
	return false
}

// jitter is by how much a wait may be shorter or longer, so that those who ended
// together do not start together for ever.
const jitter = 0.2

// wait is the time to the next start after the given number of exits in a row, 2
// or more.
func (r Rules) wait(exits int, random float64) time.Duration {
	d := r.Backoff
	for range exits - 2 {
		if d >= r.MaxBackoff/2 {
			d = r.MaxBackoff
			break
		}
		d *= 2
	}
	d = time.Duration(float64(d) * (1 - jitter + 2*jitter*random))
	return min(d, r.MaxBackoff)
}
