package processes

import (
	"context"
	"errors"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Start starts a command under a name and supervises it. When it could not be
// started, or has ended for good before it was ready, the error says why, and so
// does the process, which stays on the list. Who gives up waiting has started it
// nevertheless.
func (m *Manager) Start(ctx context.Context, r *processv1.StartRequest) (*processv1.StartResponse, error) {
	plan, err := planOf(r)
	if err != nil {
		return nil, err
	}
	if _, err := m.check(r.GetSpec()); err != nil {
		return nil, err
	}
	if err := m.checkProbes(plan); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	p := m.newProcess(r, plan)
	old, err := m.enter(p)
	if err != nil {
		return nil, err
	}
	if old != nil {
		if err := old.discard(); err != nil {
			m.forget(p)
			close(p.done)
			return nil, err
		}
	}
	p.begin(life.Event{Kind: life.Begin})
	machine, err := p.await(ctx, func(now life.Machine) bool {
		return now.State.Ended() || now.State == life.Running ||
			!r.GetWaitReady() && (now.Alive || now.Restarts > 0)
	})
	if err != nil {
		return nil, err
	}
	if err := p.startFault(machine, r.GetWaitReady()); err != nil {
		return nil, err
	}
	return &processv1.StartResponse{Process: p.shown()}, nil
}

// startFault is the error about a process that does not run, or was never ready.
func (p *process) startFault(m life.Machine, waitReady bool) error {
	switch {
	case m.Exit == nil || !m.State.Ended():
		return nil
	case m.Exit.Cause == life.CauseNotStarted:
		return status.Errorf(codes.FailedPrecondition, "process %q, command %q: %s", p.name, p.request.GetSpec().GetCommand(), m.Exit.Message)
	case waitReady && p.plan.ready != nil:
		return status.Errorf(codes.FailedPrecondition, "process %q was not ready before its end: %s", p.name, p.reason(m))
	}
	return nil
}

// discard ends the supervision of a process that has ended. What the keeper has
// of it stays, for whoever comes in its place.
func (p *process) discard() error {
	p.end()
	<-p.done
	return p.release()
}

// Remove forgets a process that has ended, with its logs. One that is not there
// is removed already.
func (m *Manager) Remove(_ context.Context, r *processv1.RemoveRequest) (*processv1.RemoveResponse, error) {
	p, err := m.find(r.GetName())
	if status.Code(err) == codes.NotFound {
		return &processv1.RemoveResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := m.leave(p); err != nil {
		return nil, err
	}
	err = errors.Join(p.discard(), m.forgetKept(p.name), p.logStore().Remove(p.name))
	m.forget(p)
	m.hub.publish(p, true)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "remove process %q: %v", p.name, err)
	}
	return &processv1.RemoveResponse{}, nil
}
