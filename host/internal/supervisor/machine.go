// Package supervisor keeps one instance of a subsystem's plugin alive: it
// starts it, sees it die, starts it again, and ends it with the host.
package supervisor

import (
	"time"
)

// State is where a subsystem's instance is in its life.
type State int

// The states. The numbers are those of gaia.host.v1.State.
const (
	Starting State = iota + 1
	Ready
	Draining
	Stopped
	Backoff
	_ // quarantined
	Failed
)

// String is the word that people read.
func (s State) String() string {
	switch s {
	case Starting:
		return "starting"
	case Ready:
		return "ready"
	case Draining:
		return "draining"
	case Stopped:
		return "stopped"
	case Backoff:
		return "backoff"
	case Failed:
		return "failed"
	default:
		return "unknown"
	}
}

// rules are the numbers that the machine goes by.
type rules struct {
	backoff     time.Duration // longest wait before the second start in a row
	maxBackoff  time.Duration
	stableAfter time.Duration // an instance that was ready for so long has wiped out earlier exits
}

// machine is the state of one subsystem's life. It starts nothing and reads no
// clock.
type machine struct {
	rules      rules
	state      State
	generation uint64
	readySince time.Time // valid in state Ready
	exits      int       // since an instance was stable
}

type eventKind int

const (
	begin  eventKind = iota // the host wants an instance
	ready                   // the instance answers
	exited                  // the instance has ended, or could not be started
	broken                  // it cannot be started until the operator changes something
	timer                   // the wait is over
	stop                    // the host wants no instance any more
)

// event is something that happened to the instance of a generation.
type event struct {
	kind       eventKind
	generation uint64
	at         time.Time
}

type actionKind int

const (
	start actionKind = iota // start the instance of the machine's generation
	wait                    // send a timer event after at most wait
	end                     // drain and stop the instance
)

// action is what the loop must do about an event.
type action struct {
	kind actionKind
	wait time.Duration // the longest wait; the loop picks a random part of it
}

// next says where an instance goes when ev happens and what the loop must do
// about it.
func (m machine) next(ev event) (machine, []action) {
	if ev.generation != m.generation {
		return m, nil // a timer or process of an earlier life
	}
	switch ev.kind {
	case begin, timer:
		if (ev.kind == begin && m.state == Stopped) || (ev.kind == timer && m.state == Backoff) {
			return m.start()
		}
	case ready:
		if m.state == Starting {
			m.state, m.readySince = Ready, ev.at
		}
	case exited:
		return m.exited(ev)
	case broken:
		switch m.state {
		case Starting:
			m.state = Failed
		case Draining:
			m.state = Stopped
		default: // there was nothing to break
		}
	case stop:
		switch m.state {
		case Starting, Ready:
			m.state = Draining
			return m, []action{{kind: end}}
		case Backoff, Failed:
			m.state = Stopped
		default: // it is stopping or has stopped
		}
	}
	return m, nil
}

func (m machine) start() (machine, []action) {
	m.state = Starting
	m.generation++
	return m, []action{{kind: start}}
}

// exited starts the next instance at once after the first exit in a row, and
// after a wait that doubles from exit to exit otherwise.
func (m machine) exited(ev event) (machine, []action) {
	switch m.state {
	case Draining:
		m.state = Stopped
		return m, nil
	case Starting, Ready:
	default:
		return m, nil
	}
	if m.state == Ready && ev.at.Sub(m.readySince) >= m.rules.stableAfter {
		m.exits = 0
	}
	m.exits++
	if m.exits == 1 {
		return m.start()
	}
	m.state = Backoff
	return m, []action{{kind: wait, wait: m.rules.wait(m.exits)}}
}

// wait is the longest wait after the given number of exits in a row, 2 or more.
func (r rules) wait(exits int) time.Duration {
	wait := r.backoff
	for range exits - 2 {
		if wait >= r.maxBackoff/2 {
			return r.maxBackoff
		}
		wait *= 2
	}
	return min(wait, r.maxBackoff)
}
