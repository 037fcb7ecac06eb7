package supervisor

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// ErrStopped is returned to who wants something of a supervisor whose Run has
// ended or is about to.
var ErrStopped = errors.New("the subsystem is stopping")

// Meter counts what happens to the instances of one subsystem. Its methods do
// not block and are safe for concurrent use.
type Meter interface {
	Started(reason string) // one of telemetry.Start…
	StartTook(took time.Duration)
	Serving(generation uint64) // 0: none
	Exited(reason string)      // one of telemetry.Exit…
	Held()
}

// Options are what a supervisor needs; all of it is required unless it says
// otherwise.
type Options struct {
	Plan        *Plan
	PluginDir   string
	SocketDir   string // as in wire.Command
	Env         []string
	Executables *Executables
	Logger      hclog.Logger
	Meter       Meter
	// Ties are what the host offers and imposes. Optional.
	Ties Ties
	// NoLink lets all calls go over gRPC.
	NoLink bool
	// Described is called with what the instance serves that is about to serve,
	// when that is news; one call at a time.
	Described func(d *registry.Description, sha256 string)
	// Changed is called after each change of Status. It does not block.
	Changed func(Status)
	// Event is called for each thing that happened. It does not block.
	Event func(Event)
}

// Plan is what instances are started from. Nobody writes it after it was made.
type Plan struct {
	Subsystem *config.Subsystem
	File      string // the executable in the plugin directory
	SHA256    string // that it must have; "" for any

	attach string // the socket of a process that runs, which takes the place of one that is started
}

// Attach is the plan for an instance that somebody else has started, which listens on a
// unix socket. It takes the place of one that is started from p, and when it ends, p holds
// again.
func (p *Plan) Attach(socket string) *Plan {
	attached := *p
	attached.attach = socket
	return &attached
}

// again is the plan for who comes after an instance of p.
func (p *Plan) again() *Plan {
	if p.attach == "" {
		return p
	}
	return p.Attach("")
}

// NewPlan is what the config says.
func NewPlan(s *config.Subsystem) *Plan {
	return &Plan{Subsystem: s, File: s.Plugin, SHA256: s.SHA256}
}

// KeepSwap lets the plan start file, which may be another executable than the
// config says, because an operator has swapped it.
func (p *Plan) KeepSwap(file string) {
	if file != p.File { // and so the checksum is not this one's
		p.File, p.SHA256 = file, ""
	}
}

// Status is a subsystem at one moment.
type Status struct {
	State         State
	Reason        string // one line; "" in state Ready
	File          string // the executable that the next instance is started from
	PID           int    // of the serving instance; 0 without one
	Generation    uint64 // of the serving instance, or else of the last one started
	ReadySince    time.Time
	StartDuration time.Duration
	NextStart     time.Time // zero unless Backoff or Quarantined
	Version       string
	SHA256        string
	Restarts      uint64
	Spares        int // ready to take over
	Confinement   string
	Attached      bool // the serving instance is one that somebody else has started
}

// Supervisor keeps one subsystem's instance alive. One goroutine, Run's, owns
// the life; everybody else reads snapshots or sends events.
type Supervisor struct {
	options Options
	book    *Book[Entry]
	current atomic.Pointer[snapshot]
	config  atomic.Pointer[config.Subsystem] // the numbers in force
	events  chan happening
	ended   chan struct{} // closed when Run has returned

	known   known
	leaving atomic.Bool // the host is about to stop
	alone   atomic.Bool // the plugin that serves, or served last, is exclusive
}

// snapshot is what others see. It is never written after it is published.
type snapshot struct {
	Status

	instance *Instance     // nil unless Ready
	changed  chan struct{} // closed when another snapshot takes its place
}

// New returns a supervisor that does nothing until Run.
func New(o Options) *Supervisor {
	s := &Supervisor{
		options: o,
		book:    NewBook[Entry](),
		events:  make(chan happening),
		ended:   make(chan struct{}),
	}
	s.options.Ties.left = new(groupsLeft)
	s.config.Store(o.Plan.Subsystem)
	s.current.Store(&snapshot{
		Status:  Status{State: Starting, File: o.Plan.File}, // as Run will do at once
		changed: make(chan struct{}),
	})
	return s
}

// Log is what all of the subsystem's instances logged.
func (s *Supervisor) Log() *Book[Entry] { return s.book }

// Status returns the present snapshot.
func (s *Supervisor) Status() Status { return s.current.Load().Status }

// Instance returns the ready instance, or nil. It may end at any moment, and
// is not waited for when it does.
func (s *Supervisor) Instance() *Instance { return s.current.Load().instance }

// AnnounceDrain tells the instance that serves, within half a second, that it is
// about to end with the host. Calls that it then sends away are not held.
func (s *Supervisor) AnnounceDrain(ctx context.Context) {
	s.leaving.Store(true)
	if i := s.Instance(); i != nil {
		i.announceDrain(ctx)
	}
}

// Adopt puts another config into force, except for what to start. What it says
// of restarts, health and the like holds from now on; its config{} block for
// instances to come. It returns when limits hold for those that run. refresh replaces
// the spares, which have the block before.
func (s *Supervisor) Adopt(plan *Plan, refresh bool) error {
	kind := adopt
	if refresh {
		kind = adoptAnew
	}
	done := make(chan error, 1)
	if err := s.send(happening{event: event{kind: kind}, plan: plan, done: done}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-s.ended:
		return ErrStopped
	}
}

// send hands an event to the loop.
func (s *Supervisor) send(h happening) error {
	select {
	case s.events <- h:
		return nil
	case <-s.ended:
		return ErrStopped
	}
}

// rules are the machine's part of a config.
func rulesOf(c *config.Subsystem, exclusive bool) rules {
	r := rules{
		backoff:     c.Restart.Backoff,
		maxBackoff:  c.Restart.MaxBackoff,
		stableAfter: c.Restart.StableAfter,
		loopExits:   c.Restart.CrashLoop.Exits,
		loopWithin:  c.Restart.CrashLoop.Within,
		disable:     c.Restart.CrashLoop.Then == config.ThenDisable,
		standby:     c.Restart.Standby,
	}
	if exclusive {
		r.standby = 0
	}
	return r
}

// Release lets go of what kept processes were bound by. It is called when Run
// has returned and nothing is kept any more.
func (s *Supervisor) Release() error { return s.options.Ties.left.close() }

// Run keeps an instance alive until ctx ends, then drains and stops it, within
// about the sum of its grace times. It returns when everything it started has
// ended. It is called once.
func (s *Supervisor) Run(ctx context.Context) error {
	defer close(s.ended)
	l := newLoop(s)
	defer l.close()
	l.handle(ctx, happening{event: event{kind: begin}})
	done := ctx.Done()
	for l.machine.state != Stopped {
		select {
		case h := <-s.events:
			l.handle(ctx, h)
		case <-l.next.C:
			l.handle(ctx, happening{event: event{kind: timer, generation: l.nextWait}})
		case <-l.spare.C:
			l.handle(ctx, happening{event: event{kind: respare, generation: l.spareWait}})
		case <-done:
			done = nil
			l.handle(ctx, happening{event: event{kind: stop}, reason: "the host is stopping"})
		}
	}
	return nil
}
