package processes

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// List lists the processes, sorted by name.
func (m *Manager) List(context.Context, *processv1.ListRequest) (*processv1.ListResponse, error) {
	response := &processv1.ListResponse{}
	for _, p := range m.all() {
		response.Processes = append(response.Processes, p.shown())
	}
	return response, nil
}

// Get returns one process.
func (m *Manager) Get(_ context.Context, r *processv1.GetRequest) (*processv1.GetResponse, error) {
	p, err := m.find(r.GetName())
	if err != nil {
		return nil, err
	}
	return &processv1.GetResponse{Process: p.shown()}, nil
}

// Wait waits until a process is in one of the states, or has ended for good.
func (m *Manager) Wait(ctx context.Context, r *processv1.WaitRequest) (*processv1.WaitResponse, error) {
	p, err := m.find(r.GetName())
	if err != nil {
		return nil, err
	}
	ctx, stop := sdk.UntilDrain(ctx) // the next manager knows the process, too
	defer stop()
	_, err = p.await(ctx, func(now life.Machine) bool {
		return now.State.Ended() || slices.Contains(r.GetStates(), stateOf(now.State))
	})
	if err != nil {
		return nil, err
	}
	return &processv1.WaitResponse{Process: p.shown()}, nil
}

// Signal sends a signal to a process, or to its whole group.
func (m *Manager) Signal(_ context.Context, r *processv1.SignalRequest) (*processv1.SignalResponse, error) {
	p, err := m.find(r.GetName())
	if err != nil {
		return nil, err
	}
	signal, err := parseSignal(r.GetSignal())
	if err != nil {
		return nil, invalid("signal: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock() // so that nobody closes the pidfd; to signal does not wait for anybody
	err = os.ErrProcessDone
	if p.child != nil {
		err = p.child.signal(signal, r.GetGroup())
	}
	switch {
	case errors.Is(err, os.ErrProcessDone):
		return nil, status.Errorf(codes.FailedPrecondition, "process %q does not run; it is %v", p.name, p.machine.State)
	case err != nil:
		return nil, status.Errorf(codes.Internal, "signal %s to process %q: %v", signalName(signal), p.name, err)
	}
	p.sent = signalName(signal)
	return &processv1.SignalResponse{}, nil
}

// Stop ends a process with all that it has started, and returns when nothing is
// left. One that has ended already is as good.
func (m *Manager) Stop(ctx context.Context, r *processv1.StopRequest) (*processv1.StopResponse, error) {
	p, err := m.find(r.GetName())
	if err != nil {
		return nil, err
	}
	ev := life.Event{Kind: life.Stop, Grace: p.plan.grace}
	if ev.By, err = askerOf(r.GetBy()); err != nil {
		return nil, err
	}
	if stop := r.GetStop(); stop != nil {
		if _, ev.Grace, err = stopPolicy(stop); err != nil {
			return nil, err
		}
		ev.Signal = stop.GetSignal()
		if stop.GetGrace() == nil {
			ev.Grace = p.plan.grace
		}
	}
	if err := p.tell(ctx, ev); err != nil {
		return nil, err
	}
	if _, err := p.await(ctx, func(now life.Machine) bool { return now.State.Ended() }); err != nil {
		return nil, err
	}
	return &processv1.StopResponse{Process: p.shown()}, nil
}

// askerOf is who is said to have asked for an end. It is kept, where there is little
// room.
func askerOf(by string) (string, error) {
	if len(by) > maxAsker {
		return "", invalid("by: %d bytes, limit %d", len(by), maxAsker)
	}
	return cmp.Or(by, "a caller"), nil
}

const maxAsker = 200

// Restart stops a process and starts it again, at once. It returns when it runs
// again.
func (m *Manager) Restart(ctx context.Context, r *processv1.RestartRequest) (*processv1.RestartResponse, error) {
	p, err := m.find(r.GetName())
	if err != nil {
		return nil, err
	}
	ev := life.Event{Kind: life.Restart, Grace: p.plan.grace}
	if ev.By, err = askerOf(r.GetBy()); err != nil {
		return nil, err
	}
	if _, err := m.check(p.request.GetSpec()); err != nil {
		return nil, err // what runs goes on
	}
	release, err := m.reserve(p)
	if err != nil {
		return nil, err
	}
	defer release()
	before := p.snapshot().Generation
	begun := time.Now()
	if err := p.tell(ctx, ev); err != nil {
		return nil, err
	}
	machine, err := p.await(ctx, func(now life.Machine) bool {
		return (now.Generation > before || now.Since.After(begun)) && (now.Alive || now.State.Ended() || now.State == life.Backoff) ||
			now.State.Ended() && now.Exit != nil && now.Exit.At.After(begun) // somebody has stopped it meanwhile
	})
	if err != nil {
		return nil, err
	}
	if err := p.startFault(machine, false); err != nil {
		return nil, err
	}
	return &processv1.RestartResponse{Process: p.shown()}, nil
}

// reserve makes room for another process that is supervised, if this one has ended,
// until release: it counts itself then.
func (m *Manager) reserve(p *process) (release func(), err error) {
	if !p.snapshot().State.Ended() {
		return func() {}, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if running, limit := m.running(), m.settings.Load().maxProcesses; running >= limit {
		return nil, tooMany(running, limit)
	}
	m.reserved++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.reserved--
	}, nil
}

func tooMany(running, limit int) error {
	return status.Errorf(codes.ResourceExhausted, "%d processes are supervised, limit %d (max_processes)", running, limit)
}
