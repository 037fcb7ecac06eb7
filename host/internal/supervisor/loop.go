package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// loop is the state of Run's goroutine, touched by no other.
type loop struct {
	supervisor *Supervisor
	machine    machine
	status     Status
	plan       *Plan           // of the next start
	renewal    *renewal        // under way, or nil
	runs       map[uint64]*run // by generation

	replies []func() // to be given when the snapshot is published

	next      *time.Timer // the wait for the next start
	nextWait  uint64      // its number
	spare     *time.Timer // the wait for the next spare
	spareWait uint64
	instances sync.WaitGroup // goroutines of live
}

// run is one instance that has not ended.
type run struct {
	plan     *Plan
	instance *Instance          // nil until it is ready
	took     time.Duration      // from exec to ready
	end      context.CancelFunc // asks it to end
	settled  chan<- error       // told once: nil when it is ready, or why it is not; may be nil
}

// renewal is a change of plan that has to end the old instance first. It is over
// when the first instance of the new plan is ready, or has come to nothing.
type renewal struct {
	previous   *Plan        // to go back to then
	generation uint64       // of that instance; 0 before its start
	settled    chan<- error // until then it is told here, as in run
}

// happening is an event with what the machine need not know of it.
type happening struct {
	event

	instance *Instance     // of ready
	took     time.Duration // of ready
	reason   string        // of exited, broken, propose, renew and stop
	err      error         // of exited and broken, when it was not ready before
	plan     *Plan         // of propose and renew
	settled  chan<- error  // of propose and renew; has room for one
	accepted chan<- uint64 // of propose: the generation, 0 for a refusal; has room for one
	done     chan<- error  // of adopt, adoptAnew and commit; has room for one
}

func newLoop(s *Supervisor) *loop {
	l := &loop{
		supervisor: s,
		machine:    machine{state: Stopped},
		plan:       s.options.Plan,
		runs:       make(map[uint64]*run),
		next:       time.NewTimer(time.Hour),
		spare:      time.NewTimer(time.Hour),
	}
	l.next.Stop()
	l.spare.Stop()
	return l
}

func (l *loop) close() {
	l.next.Stop()
	l.spare.Stop()
	l.instances.Wait()
}

// adoptPlan takes all of a plan but what to start, which an operator may have
// swapped.
func (l *loop) adoptPlan(p *Plan) {
	l.plan = &Plan{Subsystem: p.Subsystem, File: l.plan.File, SHA256: l.plan.SHA256}
	l.supervisor.config.Store(p.Subsystem)
	for _, r := range l.runs {
		if r.instance != nil {
			l.updateLimits(r, p)
		}
	}
}

// updateLimits puts the limits of a plan into force for an instance that runs.
func (l *loop) updateLimits(r *run, p *Plan) {
	if err := r.instance.tied.update(p.Subsystem); err != nil {
		l.supervisor.options.Logger.Warn("some limits stay as they were", "subsystem", p.Subsystem.Name, "pid", r.pid(), "err", err)
	}
}

// handle moves the machine, tells everybody, and does what it asks for.
func (l *loop) handle(ctx context.Context, h happening) {
	h.at = time.Now()
	if l.machine.isStale(h.event) {
		h.refuse()
		return
	}
	if h.kind == broken && l.isRenewed(h.generation) {
		h.kind = exited // what is beyond help is the new plan, and it is given up
	}
	l.prepare(h)
	before := l.machine
	var actions []action
	l.machine, actions = l.machine.next(h.event)
	l.note(h, before)
	for _, a := range actions {
		switch a.kind {
		case start:
			l.start(ctx, a.generation, h, before)
		case wait:
			l.nextWait = a.generation
			l.status.NextStart = h.at.Add(jitter(l.next, a.wait))
		case waitSpare:
			l.spareWait = a.generation
			jitter(l.spare, a.wait)
		case end: // below
		}
	}
	l.publish(before)
	for _, reply := range l.replies {
		reply()
	}
	l.replies = nil
	for _, a := range actions {
		if a.kind == end { // by now nobody is handed this instance any more
			r := l.runs[a.generation]
			l.emit(Event{Kind: "draining", Generation: a.generation, PID: r.pid(), Reason: h.reason})
			r.end()
		}
	}
}

// prepare puts into force what the rules of the machine depend on.
func (l *loop) prepare(h happening) {
	s := l.supervisor
	switch h.kind {
	case adopt, adoptAnew:
		l.adoptPlan(h.plan)
		l.reply(h.done, nil)
	case commit:
		r := l.runs[h.generation]
		s.config.Store(r.plan.Subsystem)
		s.alone.Store(r.instance.description.Exclusive)
	case renew:
		s.config.Store(h.plan.Subsystem)
	case ready:
		if m := l.machine.members[l.machine.find(h.generation)]; m.role == serving {
			s.alone.Store(h.instance.description.Exclusive)
		}
	default:
	}
	l.machine.rules = rulesOf(s.config.Load(), s.alone.Load())
}

// reply gives an answer to who waits for it, when others can see it, too.
func (l *loop) reply(to chan<- error, err error) {
	if to != nil {
		l.replies = append(l.replies, func() { to <- err })
	}
}

// isRenewed reports whether a generation is the first one of a plan that
// another instance had to end for.
func (l *loop) isRenewed(generation uint64) bool {
	return l.renewal != nil && l.renewal.generation == generation && generation != 0
}

// jitter starts a timer with a random part of the longest wait.
func jitter(t *time.Timer, longest time.Duration) time.Duration {
	d := rand.N(max(longest, 1)) + 1 //nolint:gosec // G404: jitter, not a secret
	t.Reset(d)
	return d
}

// refuse answers who wants something that is not possible any more.
func (h happening) refuse() {
	switch h.kind {
	case propose:
		h.accepted <- 0
	case renew:
		h.settled <- ErrStopped
	case adopt, adoptAnew:
		h.done <- ErrStopped
	case commit:
		h.done <- fmt.Errorf("generation %d ended before it could take over", h.generation)
	default: // nobody waits
	}
}

// note keeps what an event brought and answers those who wait for it.
func (l *loop) note(h happening, before machine) {
	r := l.runs[h.generation]
	switch h.kind {
	case ready:
		r.instance, r.took = h.instance, h.took
		l.settle(r, nil)
		if l.isRenewed(h.generation) {
			l.renewal = nil
		}
		if r.plan != l.plan && before.members[before.find(h.generation)].role != candidate {
			l.updateLimits(r, l.plan) // a reload came while it was started
		}
		l.emit(Event{Kind: "ready", Generation: h.generation, PID: r.pid(), Reason: "after " + h.took.Round(time.Millisecond).String()})
	case exited, broken:
		delete(l.runs, h.generation)
		l.settle(r, cmp.Or(h.err, errors.New(h.reason)))
		l.noteEnd(h, r, before.members[before.find(h.generation)].role)
	case commit:
		l.plan = r.plan.again()
		l.endRenewal(errReplaced)
		l.reply(h.done, nil)
	case renew:
		previous := l.plan
		if l.renewal != nil {
			previous = l.renewal.previous // the present one has yet to prove itself
		}
		l.endRenewal(errReplaced)
		l.renewal = &renewal{previous: previous, settled: h.settled}
		l.plan = h.plan
		l.status.Reason = h.reason
	case stop:
		l.status.Reason = h.reason
	default:
	}
}

// noteEnd keeps why an instance has ended, where that is to be told.
func (l *loop) noteEnd(h happening, r *run, as role) {
	kind := "exited"
	if as == ending {
		kind = "ended"
	}
	l.emit(Event{Kind: kind, Generation: h.generation, PID: r.pid(), Reason: h.reason})
	if as != serving {
		return
	}
	if l.isRenewed(h.generation) {
		l.plan, l.renewal = l.renewal.previous, nil
		l.supervisor.config.Store(l.plan.Subsystem)
	}
	l.status.Reason = h.reason
	switch {
	case l.machine.state == Quarantined:
		l.status.Reason = l.loopWords() + ": " + h.reason
	case l.machine.state == Failed && h.kind == exited:
		l.status.Reason = l.loopWords() + ", and restart.crash_loop.then is \"disable\": " + h.reason
	}
}

var errReplaced = errors.New("another replacement has come in between")

// endRenewal tells who waits for a renewal that it will not come to an end.
func (l *loop) endRenewal(err error) {
	if l.renewal != nil {
		l.reply(l.renewal.settled, err)
		l.renewal = nil
	}
}

func (l *loop) loopWords() string {
	if l.machine.trials > 1 {
		return fmt.Sprintf("trial %d came to nothing", l.machine.trials-1)
	}
	return fmt.Sprintf("%d exits within %v", l.machine.rules.loopExits, l.machine.rules.loopWithin)
}

// start begins the life of a generation.
func (l *loop) start(ctx context.Context, generation uint64, h happening, before machine) {
	s := l.supervisor
	r := &run{plan: l.plan}
	l.plan = l.plan.again()
	as := l.machine.members[l.machine.find(generation)].role
	cause := l.cause(as, h.kind, before.state)
	switch cause {
	case telemetry.StartSwap:
		if as == candidate {
			r.plan, r.settled = h.plan, h.settled
			h.accepted <- generation
			break
		}
		l.renewal.generation = generation
		r.settled, l.renewal.settled = l.renewal.settled, nil
	case telemetry.StartRestart, telemetry.StartTrial:
		l.status.Restarts++
	}
	s.options.Meter.Started(cause)
	l.emit(Event{Kind: "starting", Generation: generation, Reason: cause})
	// The host's end reaches the instance through the machine, which lets it
	// drain; so it must not reach it through ctx.
	lifeCtx, end := context.WithCancel(context.WithoutCancel(ctx))
	r.end = end
	l.runs[generation] = r
	l.instances.Go(func() {
		defer end()
		s.live(lifeCtx, generation, r.plan)
	})
}

// cause says why an instance is started, in the words of the metrics.
func (l *loop) cause(as role, because eventKind, from State) string {
	switch {
	case as == candidate, as == serving && l.renewal != nil && l.renewal.generation == 0:
		return telemetry.StartSwap
	case as == spare:
		return telemetry.StartStandby
	case because == begin:
		return telemetry.StartFirst
	case from == Quarantined:
		return telemetry.StartTrial
	default:
		return telemetry.StartRestart
	}
}

// settle tells who waits for an instance how its start has ended.
func (l *loop) settle(r *run, err error) {
	l.reply(r.settled, err)
	r.settled = nil
}

func (r *run) pid() int {
	if r.instance == nil {
		return 0
	}
	return r.instance.PID()
}

func (l *loop) emit(e Event) {
	e.Time, e.Subsystem = time.Now(), l.plan.Subsystem.Name
	l.supervisor.options.Event(e)
}

// publish makes a snapshot of what is, and tells what is new about it.
func (l *loop) publish(before machine) {
	s := l.supervisor
	now, was := l.machine.active(), before.active()
	l.status.State, l.status.File, l.status.Generation = l.machine.state, l.plan.File, l.machine.last
	if l.machine.state != Backoff && l.machine.state != Quarantined {
		l.status.NextStart = time.Time{}
	}
	l.status.Spares = 0
	for _, m := range l.machine.members {
		if m.role == spare && m.ready {
			l.status.Spares++
		}
	}
	next := &snapshot{changed: make(chan struct{})}
	l.status.PID, l.status.ReadySince, l.status.Confinement, l.status.Attached = 0, time.Time{}, "", false
	if now != 0 {
		next.instance = l.serve(now, was)
	}
	if now != was {
		s.options.Meter.Serving(now)
	}
	next.Status = l.status
	old := s.current.Swap(next)
	close(old.changed)
	if l.machine.state != before.state {
		l.emitState()
	}
	s.options.Changed(next.Status)
}

// serve makes the status that of the serving instance.
func (l *loop) serve(generation, was uint64) *Instance {
	r := l.runs[generation]
	l.status.Reason = ""
	l.status.Generation, l.status.PID = generation, r.pid()
	l.status.ReadySince = l.machine.members[l.machine.find(generation)].since
	l.status.Attached = r.instance.attached
	l.status.StartDuration, l.status.Confinement = r.took, r.instance.tied.confinement()
	l.status.Version, l.status.SHA256 = r.instance.description.Version, r.instance.executable.SHA256
	if generation != was {
		l.supervisor.announce(r.instance)
		l.emit(Event{Kind: "serving", Generation: generation, PID: r.pid()})
	}
	return r.instance
}

// emitState tells of a state that no instance tells of.
func (l *loop) emitState() {
	switch l.machine.state {
	case Backoff, Quarantined:
		l.emit(Event{
			Kind: l.machine.state.String(), Generation: l.machine.last,
			Reason: fmt.Sprintf("next start in %v: %s", time.Until(l.status.NextStart).Round(time.Millisecond), l.status.Reason),
		})
	case Failed, Stopped:
		l.emit(Event{Kind: l.machine.state.String(), Generation: l.machine.last, Reason: l.status.Reason})
	case Starting, Ready, Draining: // instances start, serve and drain
	}
}
