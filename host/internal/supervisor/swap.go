package supervisor

import (
	"context"
	"errors"
	"fmt"
)

// Candidate is a generation that is ready to take over from the present one.
// Either Commit or Withdraw is called, once.
type Candidate struct {
	supervisor *Supervisor
	plan       *Plan
	generation uint64 // 0: it can be started only when the present one has ended
	reason     string
}

// Prepare starts another generation from plan beside the present one, which
// serves on undisturbed, and returns when it is ready to take over. An error
// says why it is not; then nothing is left of it. Of an exclusive plugin
// nothing is started before Commit. reason is told as the cause of what
// follows.
func (s *Supervisor) Prepare(ctx context.Context, plan *Plan, reason string) (*Candidate, error) {
	c := &Candidate{supervisor: s, plan: plan, reason: reason}
	if s.alone.Load() {
		return c, nil
	}
	settled, accepted := make(chan error, 1), make(chan uint64, 1)
	if err := s.send(happening{
		event: event{kind: propose}, plan: plan, settled: settled, accepted: accepted, reason: reason,
	}); err != nil {
		return nil, err
	}
	if c.generation = <-accepted; c.generation == 0 {
		return nil, ErrStopped
	}
	select {
	case err := <-settled:
		if err != nil {
			return nil, fmt.Errorf("generation %d did not start: %w", c.generation, err)
		}
		return c, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), c.Withdraw())
	}
}

// Commit lets the candidate take over. The old generation then finishes the
// calls that it has. An error means that the old one serves on, or is back.
func (c *Candidate) Commit(ctx context.Context) error {
	if c.generation == 0 {
		return c.renew(ctx)
	}
	done := make(chan error, 1)
	if err := c.supervisor.send(happening{
		event: event{kind: commit, generation: c.generation}, done: done, reason: c.reason,
	}); err != nil {
		return err
	}
	return <-done
}

// renew ends the present generation and starts the next one; calls are held
// meanwhile. If that does not become ready, the plan before is started again.
func (c *Candidate) renew(ctx context.Context) error {
	settled := make(chan error, 1)
	if err := c.supervisor.send(happening{
		event: event{kind: renew}, plan: c.plan, settled: settled, reason: c.reason,
	}); err != nil {
		return err
	}
	select {
	case err := <-settled:
		if err != nil {
			return fmt.Errorf("the next generation did not start, the one before comes back: %w", err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err() // it goes on without us
	case <-c.supervisor.ended:
		return ErrStopped
	}
}

// Withdraw ends the candidate.
func (c *Candidate) Withdraw() error {
	if c.generation == 0 {
		return nil
	}
	return c.supervisor.send(happening{event: event{kind: withdraw, generation: c.generation}, reason: "not wanted any more"})
}

// Swap prepares another generation from plan and lets it take over.
func (s *Supervisor) Swap(ctx context.Context, plan *Plan, reason string) error {
	c, err := s.Prepare(ctx, plan, reason)
	if err != nil {
		return err
	}
	return c.Commit(ctx)
}
