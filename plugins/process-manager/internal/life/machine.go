// Package life says what becomes of a supervised process when something happens
// to it. It is pure: it starts nothing, and reads no clock.
package life

import "time"

// State of a supervised process, as in gaia.process.v1.State.
type State int

// The states. Of the first three a process may run, or be about to.
const (
	New      State = iota // nothing has happened yet
	Starting              // it is being started, or is not ready yet
	Running
	Backoff  // it has ended and will be started again at NextStart
	Stopping // it was asked to end
	Exited   // it has ended for good
	Failed   // it could not be started, or has crashed too often
)

// String is the state's name in the API, which knows of New as of one that starts.
func (s State) String() string {
	return [...]string{"STARTING", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FAILED"}[s]
}

// Ended reports whether nothing will happen in this state unless somebody asks.
func (s State) Ended() bool { return s == Exited || s == Failed }

// Machine is the life of one supervised process. Its exported fields are what the
// next instance of the plugin goes on with.
type Machine struct {
	State      State
	Generation uint64 // of the run that was started last, from 1
	Alive      bool   // that run has a process whose end is not known yet
	Fresh      bool   // nobody has seen it run since somebody asked for it
	Restarts   uint32 // since the first start

	Began     time.Time   // when somebody asked for it; the timeout counts from here
	Since     time.Time   // when the present or last run began
	NextStart time.Time   // in Backoff
	KillAt    time.Time   // in Stopping: when the tree is killed
	InRow     int         // exits since it was stable
	Recent    []time.Time // those that may be a crash loop, oldest first

	Stop   Reason // why it was asked to end
	Again  bool   // it is started again when it has
	Killed bool   // the tree was killed, because the grace was over

	Exit  *Exit  // of the last run; never written to
	Fault string // why it is Failed, if the exit does not say it
}

// Reason is why a process was asked to end.
type Reason struct {
	Cause  Cause  // CauseUnknown: it was not asked
	By     string // who asked, or what
	Detail string // for people
	Signal string // that asks; empty for the usual one
}

// isFailure reports whether an end for this reason is one.
func (r Reason) isFailure() bool { return r.Cause != CauseRequested && r.Cause != CauseTimeout }

// EventKind says what has happened.
type EventKind int

// The events. Those from Started to Exited are about the run of a generation.
const (
	Begin      EventKind = iota // somebody wants it to run, for the first time
	Started                     // its process runs
	NotStarted                  // it could not be started
	Ready                       // its probe says that it is ready
	Unhealthy                   // its probe says that it has to end
	Ended                       // its process has ended, and what was left of its tree is gone
	Tick                        // time has passed; see Deadline
	Stop                        // somebody wants it to end
	Restart                     // somebody wants it to end and start again
	Adopt                       // another instance of the plugin goes on with it
)

// Event is something that has happened.
type Event struct {
	Kind       EventKind
	At         time.Time
	Generation uint64        // of Started to Exited
	Exit       Exit          // of NotStarted and Ended: how, as far as the kernel tells
	By         string        // of Stop, Restart and Unhealthy
	Detail     string        // of Unhealthy: what the probe says
	Signal     string        // of Stop: that asks, if not the usual one
	Grace      time.Duration // of Stop, Restart and Unhealthy: until the tree is killed
	Jitter     float64       // of NotStarted and Ended: random, from 0 to 1
}

// Action is what has to be done about an event.
type Action int

// The actions.
const (
	Start Action = iota // start the run of the machine's generation
	Ask                 // send the signal that asks for the end
	Kill                // kill the whole tree
)

// Next says where the process goes when ev happens, and what has to be done
// about it. m itself stays as it is.
func (m Machine) Next(r Rules, ev Event) (Machine, []Action) {
	if m.isStale(ev) {
		return m, nil
	}
	var actions []Action
	switch ev.Kind {
	case Begin:
		actions = m.begin(ev.At)
	case Started:
		m.started(r, ev.At)
	case NotStarted, Ended:
		actions = m.ended(r, ev)
	case Ready:
		m.State = Running
	case Unhealthy:
		actions = m.ask(Reason{Cause: CauseUnhealthy, By: ev.By, Detail: ev.Detail}, ev.At.Add(ev.Grace))
	case Tick:
		actions = m.tick(r, ev)
	case Stop:
		actions = m.stop(ev)
	case Restart:
		actions = m.restart(ev)
	case Adopt:
		actions = m.adopt()
	}
	return m, actions
}

// isStale reports whether ev has no meaning any more, or has none in this state:
// it belongs to another run, or somebody else was quicker.
func (m Machine) isStale(ev Event) bool {
	switch ev.Kind {
	case Begin:
		return m.State != New
	case Started, NotStarted:
		return ev.Generation != m.Generation || m.Alive || m.State != Starting
	case Ready:
		return ev.Generation != m.Generation || m.State != Starting || !m.Alive
	case Unhealthy:
		return ev.Generation != m.Generation || m.State != Starting && m.State != Running || !m.Alive
	case Ended:
		return ev.Generation != m.Generation || !m.Alive
	case Stop, Restart, Tick, Adopt:
		return m.State == New
	}
	return true
}

// Deadline is when a Tick is due, zero for never.
func (m Machine) Deadline(r Rules) time.Time {
	switch {
	case m.State == Stopping && !m.Killed:
		return m.KillAt
	case m.State == Backoff:
		return earlier(m.NextStart, m.timeout(r))
	case m.State == Starting, m.State == Running:
		return m.timeout(r)
	}
	return time.Time{}
}

func (m Machine) timeout(r Rules) time.Time {
	if r.Timeout == 0 {
		return time.Time{}
	}
	return m.Began.Add(r.Timeout)
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// begin forgets what was before: what is started now, somebody has asked for.
func (m *Machine) begin(at time.Time) []Action {
	m.Began, m.Fresh, m.Again = at, true, false
	m.InRow, m.Recent, m.Stop, m.Fault = 0, nil, Reason{}, ""
	return m.launch()
}

func (m *Machine) launch() []Action {
	m.State, m.Alive, m.Killed = Starting, false, false
	m.Generation++
	m.NextStart, m.KillAt = time.Time{}, time.Time{}
	return []Action{Start}
}

func (m *Machine) started(r Rules, at time.Time) {
	m.Alive, m.Fresh, m.Since = true, false, at
	if !r.HasReady {
		m.State = Running
	}
}

// ask asks the process to end, until the tree is killed.
func (m *Machine) ask(why Reason, killAt time.Time) []Action {
	m.State, m.Stop, m.KillAt = Stopping, why, killAt
	return []Action{Ask}
}

func (m *Machine) tick(r Rules, ev Event) []Action {
	due := func(at time.Time) bool { return !at.IsZero() && !ev.At.Before(at) }
	switch {
	case m.State == Stopping:
		if m.Killed || !due(m.KillAt) {
			return nil
		}
		m.Killed = true
		return []Action{Kill}
	case m.State.Ended():
		return nil
	case due(m.timeout(r)):
		return m.end(Reason{Cause: CauseTimeout, By: "timeout"}, ev.At, r.Grace)
	case m.State == Backoff && due(m.NextStart):
		m.Restarts++
		return m.launch()
	}
	return nil
}

func (m *Machine) stop(ev Event) []Action {
	m.Again = false
	return m.end(Reason{Cause: CauseRequested, By: ev.By, Signal: ev.Signal}, ev.At, ev.Grace)
}

func (m *Machine) restart(ev Event) []Action {
	if !m.Alive {
		if m.State == Starting { // it is about to
			return nil
		}
		m.Restarts++
		return m.begin(ev.At)
	}
	m.Again = true
	return m.end(Reason{Cause: CauseRequested, By: ev.By}, ev.At, ev.Grace)
}

// end makes it end for the reason; who has been asked already is only given less
// time.
func (m *Machine) end(why Reason, at time.Time, grace time.Duration) []Action {
	switch {
	case m.State == Stopping:
		m.KillAt = earlier(m.KillAt, at.Add(grace))
		if m.Stop.Cause == CauseUnhealthy { // it would have been started again
			m.Stop = why
		}
		return nil
	case m.State.Ended():
		return nil
	case !m.Alive: // nothing runs: in Backoff
		m.State, m.NextStart, m.Stop = Exited, time.Time{}, why
		return nil
	}
	return m.ask(why, at.Add(grace))
}

// adopt does again what the instance before may not have come to.
func (m *Machine) adopt() []Action {
	switch {
	case m.State == Stopping && m.Killed:
		return []Action{Kill}
	case m.State == Stopping:
		return []Action{Ask}
	case m.State == Starting && !m.Alive:
		return []Action{Start}
	}
	return nil
}
