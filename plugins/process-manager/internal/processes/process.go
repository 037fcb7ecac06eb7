package processes

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// process is one that is supervised. Its goroutine, that of live, is the only one
// that starts and ends what runs and that writes what is below mu; it ends with
// the process's removal or with the manager.
type process struct {
	manager  *Manager
	name     string
	request  *processv1.StartRequest // never written to
	plan     plan                    // what the request says, with defaults
	logDir   string                  // where its log is, whatever the configuration says by now
	events   chan life.Event
	quit     chan struct{} // closed to end live; see end
	done     chan struct{} // closed when live has returned
	removing bool          // guarded by the manager's mu

	probing  probing // of live
	kept     kept    // what the keeper has; of live
	children sync.WaitGroup
	ending   sync.Once

	mu      sync.Mutex
	retired bool // it has ended, and is removed or replaced: nothing becomes of it any more
	machine life.Machine
	version uint64    // of machine
	child   *child    // what runs, or ran last and is not cleared away; or nil
	log     *logs.Log // closed when it has ended for good; nil before the first run
	logging bool      // log is open
	doubt   string    // what the probe says against it
	sent    string    // the last signal that a caller has sent
	changed chan struct{}
}

func (m *Manager) newProcess(request *processv1.StartRequest, plan plan) *process {
	return &process{
		manager: m,
		name:    request.GetName(),
		request: request,
		plan:    plan,
		logDir:  m.settings.Load().logDir,
		events:  make(chan life.Event),
		quit:    make(chan struct{}),
		done:    make(chan struct{}),
	}
}

// logStore is where its log is.
func (p *process) logStore() *logs.Store { return p.manager.settings.Load().logsIn(p.logDir) }

// begin lets the process live, from the first event on.
func (p *process) begin(first life.Event) {
	p.manager.work.Go(func() { p.live(first) })
}

// end lets live return. What runs goes on.
func (p *process) end() { p.ending.Do(func() { close(p.quit) }) }

// live is the loop that owns the process.
func (p *process) live(first life.Event) {
	defer close(p.done)
	defer p.children.Wait()
	ctx, cancel := context.WithCancel(context.Background()) // it lives longer than any call
	defer cancel()
	defer p.stopProbe()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	if p.child != nil { // adopted
		p.take(ctx, p.child)
	}
	p.step(ctx, first)
	for {
		timer.Stop()
		if at := p.machine.Deadline(p.plan.rules); !at.IsZero() {
			timer.Reset(time.Until(at))
		}
		select {
		case ev := <-p.events:
			p.step(ctx, ev)
		case <-timer.C:
			p.step(ctx, life.Event{Kind: life.Tick})
		case <-p.quit:
			return
		}
	}
}

// step does all that an event brings about. It does so on a stack of its own: a
// start needs 8 KiB or more, and a process that just runs need not go on to hold
// them.
func (p *process) step(ctx context.Context, ev life.Event) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.doStep(ctx, ev)
	}()
	<-done
}

func (p *process) doStep(ctx context.Context, ev life.Event) {
	for queue := []life.Event{ev}; len(queue) > 0; queue = queue[1:] {
		ev := queue[0]
		ev.At, ev.Jitter = cmp.Or(ev.At, time.Now()), rand.Float64() //nolint:gosec // G404: no secret
		if ev.Kind == life.Ended && ev.Generation == p.machine.Generation {
			p.clearAway()
			if p.sent != "" && ev.Exit.Signal == p.sent {
				ev.Exit.By = bySignal
			}
		}
		machine, actions := p.machine.Next(p.plan.rules, ev)
		if machine.State.Ended() { // who is told so may rely on it
			p.persist(ctx, machine)
		}
		if !p.become(machine) {
			return
		}
		for _, action := range actions {
			switch action {
			case life.Start:
				queue = append(queue, p.launch(ctx))
			case life.Ask:
				p.ask()
			case life.Kill:
				p.kill(ctx)
			}
		}
	}
	if p.machine.State.Ended() {
		p.rest()
	}
	p.persist(ctx, p.machine)
	p.probe(ctx)
}

// bySignal is who is said to have sent a signal that a call of Signal has sent.
const bySignal = "Signal"

// retire reports whether the process has ended, and lets nothing become of it then:
// the caller is about to remove or replace it, and nobody else.
func (p *process) retire() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired || !p.machine.State.Ended() {
		return false
	}
	p.retired = true
	return true
}

// become makes a machine the state that everybody sees, or reports false if the
// process is retired.
func (p *process) become(machine life.Machine) bool {
	before := p.machine
	p.mu.Lock()
	if p.retired {
		p.mu.Unlock()
		return false
	}
	p.machine = machine
	p.version++
	if machine.Generation != before.Generation {
		p.doubt, p.sent = "", ""
	}
	p.mu.Unlock()
	p.wake()
	p.manager.metrics.moved(before, machine)
	if machine.State != before.State || machine.Generation != before.Generation || machine.Alive != before.Alive {
		p.manager.hub.publish(p, false)
	}
	return true
}

// wake wakes those who wait for a change.
func (p *process) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// snapshot is the state of the moment.
func (p *process) snapshot() life.Machine {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.machine
}

// await waits until the state is as wanted. A state that was left again before
// anybody looked is not seen.
func (p *process) await(ctx context.Context, wanted func(life.Machine) bool) (life.Machine, error) {
	for {
		p.mu.Lock()
		machine := p.machine
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		if wanted(machine) {
			return machine, nil
		}
		select {
		case <-changed:
		case <-p.done:
			return machine, p.gone()
		case <-ctx.Done():
			return machine, over(ctx)
		}
	}
}

// tell hands an event to the process.
func (p *process) tell(ctx context.Context, ev life.Event) error {
	select {
	case p.events <- ev:
		return nil
	case <-p.done:
		return p.gone()
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// gone is the error about a process that is not supervised here any more.
func (p *process) gone() error {
	if p.manager.isClosed() {
		return errClosed()
	}
	return status.Errorf(codes.NotFound, "process %q was removed or replaced", p.name)
}

// rest gives back what only a process that may run needs.
func (p *process) rest() {
	p.mu.Lock()
	log, logging := p.log, p.logging
	p.logging = false
	p.mu.Unlock()
	if !logging {
		return
	}
	if err := log.Close(); err != nil {
		sdk.Logger().Warn("not all is given back", "process", p.name, "err", err)
	}
}

// release gives back all that this instance holds; the process runs on, if the
// keeper has it. live has returned.
func (p *process) release() error {
	var faults []error
	if p.child != nil {
		faults = append(faults, p.child.close())
	}
	if p.logging {
		p.logging = false
		faults = append(faults, p.log.Close())
	}
	return errors.Join(faults...)
}

// ask sends the signal that asks for the end, to the whole process group. A
// process that stands still must go on to receive it.
func (p *process) ask() {
	if p.child == nil {
		return
	}
	for _, s := range []syscall.Signal{p.stopSignal(p.machine), syscall.SIGCONT} {
		if err := p.child.signal(s, true); err != nil && !errors.Is(err, os.ErrProcessDone) {
			sdk.Logger().Warn("signal not sent", "process", p.name, "signal", signalName(s), "err", err)
		}
	}
}

// stopSignal is what asks for the end.
func (p *process) stopSignal(m life.Machine) syscall.Signal {
	if s, err := parseSignal(m.Stop.Signal); err == nil {
		return s
	}
	return p.plan.signal
}

// kill kills the whole tree, and lets await see the end.
func (p *process) kill(ctx context.Context) {
	c := p.child
	if c == nil {
		return
	}
	p.children.Go(func() {
		if err := c.kill(ctx); err != nil {
			sdk.Logger().Error("process tree not killed", "process", p.name, "err", err)
		}
	})
}
