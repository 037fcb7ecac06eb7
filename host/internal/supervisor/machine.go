// Package supervisor keeps a subsystem's plugin alive: it starts an instance,
// sees it die or hang, starts it again, keeps spares warm, replaces it by
// another generation without losing a call, and ends it with the host.
package supervisor

import (
	"slices"
	"time"
)

// rules are the numbers that the machine goes by.
type rules struct {
	backoff     time.Duration // longest wait before the second start in a row
	maxBackoff  time.Duration
	stableAfter time.Duration // an instance that was ready for so long has wiped out earlier exits
	loopExits   int           // so many exits…
	loopWithin  time.Duration // …within this time are a crash loop; 0 exits: there is none
	disable     bool          // a crash loop ends in failed, not in quarantine
	standby     int           // spares to keep
}

// role is what an instance is there for.
type role int

const (
	serving   role = iota // takes the calls, or will as soon as it is ready
	spare                 // takes over when the serving one dies
	candidate             // takes over when the operator says so
	ending                // finishes its calls and ends
)

// member is one instance that has not ended.
type member struct {
	generation uint64
	role       role
	ready      bool
	since      time.Time // when it became ready
}

// machine is the life of one subsystem. It starts nothing and reads no clock.
type machine struct {
	rules   rules
	state   State
	last    uint64      // the generation that was started last
	members []member    // in the order of their generations
	exits   int         // since a serving instance was stable
	recent  []time.Time // of the exits that may be a crash loop, oldest first
	trials  int         // starts out of quarantine that came to nothing, since then
	misfits int         // spares that ended in a row

	waits     uint64 // numbers the waits
	nextWait  uint64 // the wait for the next start that counts
	spareWait uint64 // the wait for the next spare that counts
}

type eventKind int

const (
	begin     eventKind = iota // the host wants an instance
	ready                      // the instance answers
	exited                     // the instance has ended, or could not be started
	broken                     // it cannot be started until the operator changes something
	timer                      // the wait for the next start is over
	respare                    // the wait for the next spare is over
	propose                    // the operator wants another generation beside the present one
	commit                     // the candidate takes over
	withdraw                   // the candidate is not wanted any more
	renew                      // the operator wants the present instance to end before the next starts
	adopt                      // the rules have changed
	adoptAnew                  // the rules have changed, and what spares are started from
	stop                       // the host wants no instance any more
)

// event is something that happened. Those from ready to broken, commit and
// withdraw are about the instance of a generation; timer and respare are about a
// wait, whose number takes that place.
type event struct {
	kind       eventKind
	generation uint64
	at         time.Time
}

type actionKind int

const (
	start     actionKind = iota // start the instance of a generation
	wait                        // send a timer event of that number after at most wait
	waitSpare                   // send a respare event of that number after at most wait
	end                         // drain and stop the instance of a generation
)

// action is what the loop must do about an event.
type action struct {
	kind       actionKind
	generation uint64        // of start and end; the number of a wait
	wait       time.Duration // the longest wait; the loop picks a random part of it
}

// next says where the subsystem goes when ev happens and what the loop must do
// about it. m itself stays as it is.
func (m machine) next(ev event) (machine, []action) {
	if m.isStale(ev) {
		return m, nil
	}
	m.members, m.recent = slices.Clone(m.members), slices.Clone(m.recent)
	var actions []action
	switch ev.kind {
	case begin:
		actions = m.begin()
	case ready:
		actions = m.ready(ev)
	case exited:
		actions = m.exited(ev, false)
	case broken:
		actions = m.exited(ev, true)
	case timer:
		actions = m.launch(serving)
		m.state = Starting
	case respare:
		actions = m.fillSpares()
	case propose:
		actions = m.launch(candidate)
	case commit:
		actions = m.commit(ev.generation)
	case withdraw:
		actions = m.retire(ev.generation)
	case renew:
		actions = m.renew()
	case adopt:
		actions = m.adopt()
	case adoptAnew:
		actions = append(m.retireAll(spare), m.adopt()...)
	case stop:
		actions = m.stop()
	}
	return m, actions
}

// isStale reports whether ev has no meaning any more, or has none in this
// state: it came from an instance that is gone or has another role by now, or
// from a wait that something else ended.
func (m machine) isStale(ev event) bool {
	waiting := m.state == Backoff || m.state == Quarantined
	over := m.state == Draining || m.state == Stopped
	switch ev.kind {
	case begin:
		return m.state != Stopped
	case ready:
		i := m.find(ev.generation)
		return i < 0 || m.members[i].ready || m.members[i].role == ending
	case exited, broken:
		return m.find(ev.generation) < 0
	case timer:
		return !waiting || ev.generation != m.nextWait
	case respare:
		return m.state != Ready || ev.generation != m.spareWait
	case propose, renew, adopt, adoptAnew:
		return over
	case commit:
		i := m.find(ev.generation)
		return i < 0 || m.members[i].role != candidate || !m.members[i].ready
	case withdraw:
		i := m.find(ev.generation)
		return i < 0 || m.members[i].role != candidate
	case stop:
		return over
	}
	return false
}

// find returns the index of a generation among the members, or -1.
func (m machine) find(generation uint64) int {
	return slices.IndexFunc(m.members, func(i member) bool { return i.generation == generation })
}

// server returns the index of the serving member, or -1.
func (m machine) server() int {
	return slices.IndexFunc(m.members, func(i member) bool { return i.role == serving })
}

func (m machine) anyEnding() bool {
	return slices.ContainsFunc(m.members, func(i member) bool { return i.role == ending })
}

// active is the generation that takes calls, 0 for none.
func (m machine) active() uint64 {
	if i := m.server(); i >= 0 && m.members[i].ready {
		return m.members[i].generation
	}
	return 0
}

// launch adds a member of the next generation.
func (m *machine) launch(r role) []action {
	m.last++
	m.members = append(m.members, member{generation: m.last, role: r})
	return []action{{kind: start, generation: m.last}}
}

// waitForStart begins the only wait for the next start that counts from now on.
func (m *machine) waitForStart(longest time.Duration) []action {
	m.waits++
	m.nextWait = m.waits
	return []action{{kind: wait, generation: m.nextWait, wait: longest}}
}

// waitForSpare does the same for the next spare.
func (m *machine) waitForSpare(longest time.Duration) []action {
	m.waits++
	m.spareWait = m.waits
	return []action{{kind: waitSpare, generation: m.spareWait, wait: longest}}
}

// retire makes a member end.
func (m *machine) retire(generation uint64) []action {
	i := m.find(generation)
	if i < 0 || m.members[i].role == ending {
		return nil
	}
	m.members[i].role = ending
	return []action{{kind: end, generation: generation}}
}

// retireAll makes all members of a role end.
func (m *machine) retireAll(r role) (actions []action) {
	for _, i := range m.members {
		if i.role == r {
			actions = append(actions, m.retire(i.generation)...)
		}
	}
	return actions
}

func (m *machine) begin() []action {
	m.state = Starting
	return m.launch(serving)
}

func (m *machine) ready(ev event) []action {
	i := m.find(ev.generation)
	m.members[i].ready, m.members[i].since = true, ev.at
	switch m.members[i].role {
	case serving:
		m.state = Ready
		return m.fillSpares()
	case spare:
		m.misfits = 0
		if m.state == Starting || m.state == Backoff {
			return m.takeOver() // nobody serves: here is somebody who can
		}
	case candidate, ending: // the loop knows who waits for it
	}
	return nil
}

// takeOver lets a ready spare serve; what was being started for that becomes a
// spare.
func (m *machine) takeOver() []action {
	i := slices.IndexFunc(m.members, func(i member) bool { return i.role == spare && i.ready })
	if i < 0 {
		return nil
	}
	if server := m.server(); server >= 0 {
		m.members[server].role = spare
	}
	m.members[i].role = serving
	m.state = Ready
	if m.missingSpares() <= 0 {
		return nil
	}
	return m.waitForSpare(respareWait)
}

// respareWait is the longest wait for the next spare after one has taken over:
// a start takes a processor for some 20 ms, which the calls that were lost
// need first.
const respareWait = 100 * time.Millisecond

func (m *machine) missingSpares() int {
	missing := m.rules.standby
	for _, i := range m.members {
		if i.role == spare {
			missing--
		}
	}
	return missing
}

// fillSpares starts as many spares as are missing.
func (m *machine) fillSpares() (actions []action) {
	for range max(0, m.missingSpares()) {
		actions = append(actions, m.launch(spare)...)
	}
	return actions
}

// exited goes on without a member. beyondHelp means that no other start of the
// same executable would do better.
func (m *machine) exited(ev event, beyondHelp bool) []action {
	i := m.find(ev.generation)
	gone := m.members[i]
	m.members = slices.Delete(m.members, i, i+1)
	switch gone.role {
	case serving:
		return m.lost(gone, ev.at, beyondHelp)
	case spare:
		m.misfits++
		if m.state == Ready && !beyondHelp {
			return m.waitForSpare(m.rules.wait(m.misfits + 1))
		}
	case ending:
		switch {
		case m.state == Draining && len(m.members) == 0:
			m.state = Stopped
		case m.state == Starting && m.server() < 0 && !m.anyEnding(): // its successor waited for its end
			return m.launch(serving)
		}
	case candidate: // the loop tells the operator
	}
	return nil
}

// lost goes on without the serving instance: a spare takes over; or the next
// one is started at once after the first exit in a row, and otherwise after a
// wait that doubles from exit to exit. Too many exits in too short a time are
// a crash loop.
func (m *machine) lost(gone member, at time.Time, beyondHelp bool) []action {
	if gone.ready && at.Sub(gone.since) >= m.rules.stableAfter {
		m.exits, m.trials, m.recent = 0, 0, nil
	}
	m.exits++
	looping := m.noteExit(at)
	switch {
	case beyondHelp, looping && m.rules.disable:
		m.state = Failed
		return m.retireAll(spare)
	case looping:
		m.state = Quarantined
		m.trials++
		return append(m.retireAll(spare), m.waitForStart(m.rules.trialWait(m.trials))...)
	}
	m.state = Starting
	if actions := m.takeOver(); m.state == Ready {
		return actions
	}
	if m.exits == 1 {
		return m.launch(serving)
	}
	m.state = Backoff
	return m.waitForStart(m.rules.wait(m.exits))
}

// noteExit reports whether there were too many exits with this one. Once in
// quarantine, any further exit is one too many.
func (m *machine) noteExit(at time.Time) bool {
	if m.rules.loopExits == 0 {
		return false
	}
	m.recent = append(m.recent, at)
	if surplus := len(m.recent) - m.rules.loopExits; surplus > 0 {
		m.recent = m.recent[surplus:]
	}
	return m.trials > 0 || len(m.recent) == m.rules.loopExits && at.Sub(m.recent[0]) <= m.rules.loopWithin
}

// commit lets the candidate serve and ends all that ran before it.
func (m *machine) commit(generation uint64) []action {
	actions := append(m.retireAll(serving), m.retireAll(spare)...)
	m.members[m.find(generation)].role = serving
	m.state = Ready
	m.forgive()
	return append(actions, m.fillSpares()...)
}

// renew ends the serving instance and starts the next one when it has ended,
// or at once when there is none.
func (m *machine) renew() []action {
	m.forgive()
	m.state = Starting
	if actions := append(m.retireAll(serving), m.retireAll(spare)...); m.anyEnding() {
		return actions
	}
	return m.launch(serving)
}

// adopt keeps as many spares as the rules say now.
func (m *machine) adopt() (actions []action) {
	have := 0
	for _, i := range m.members {
		if i.role != spare {
			continue
		}
		if have++; have > m.rules.standby {
			actions = append(actions, m.retire(i.generation)...)
		}
	}
	if m.state == Ready {
		actions = append(actions, m.fillSpares()...)
	}
	return actions
}

// forgive forgets all exits: what runs now is something else.
func (m *machine) forgive() { m.exits, m.trials, m.misfits, m.recent = 0, 0, 0, nil }

func (m *machine) stop() (actions []action) {
	for _, r := range []role{candidate, spare, serving} {
		actions = append(actions, m.retireAll(r)...)
	}
	m.state = Draining
	if len(m.members) == 0 {
		m.state = Stopped
	}
	return actions
}

// wait is the longest wait after the given number of exits in a row, 2 or more.
func (r rules) wait(exits int) time.Duration { return doubled(r.backoff, exits-2, r.maxBackoff) }

// trialWait is the longest wait for the given start out of quarantine, from 1:
// with the defaults a minute, doubling up to ten.
func (r rules) trialWait(trial int) time.Duration {
	return doubled(min(r.maxBackoff, 1<<61)*2, trial-1, min(r.maxBackoff, 1<<58)*20)
}

// doubled is d doubled times times, at most limit.
func doubled(d time.Duration, times int, limit time.Duration) time.Duration {
	for range times {
		if d >= limit/2 {
			return limit
		}
		d *= 2
	}
	return min(d, limit)
}
