//go:build !linux

package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Forest makes groups. It is safe for concurrent use.
type Forest struct{}

// Open returns a forest. Nothing is left by an earlier instance on this system.
func Open(string, ...string) (*Forest, error) { return &Forest{}, nil }

// String says what holds and bounds processes, and what that cannot do.
func (*Forest) String() string {
	return "process groups: nothing is limited, and what leaves its process group is not found"
}

// New makes a group.
func (*Forest) New(name string, _ Limits) (*Group, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return &Group{name: name}, nil
}

// Adopt fails: no process outlives the plugin on this system.
func (*Forest) Adopt(name string) (*Group, error) {
	return nil, fmt.Errorf("tree: adopt %q: %w", name, errors.ErrUnsupported)
}

// Group holds one process with those of its process group. It is safe for
// concurrent use.
type Group struct {
	name string

	mu      sync.Mutex
	leaders []int
}

// Name is what the group was made by.
func (g *Group) Name() string { return g.name }

// Launch calls start, and takes the process that it starts for the leader of a
// process group.
func (g *Group) Launch(start func(cgroup int) (pid int, err error)) (int, error) {
	pid, err := start(-1)
	if err == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.leaders = append(g.leaders, pid)
	}
	return pid, err
}

// Pids are the leaders of process groups that have members.
func (g *Group) Pids() ([]int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaders = slices.DeleteFunc(g.leaders, func(pid int) bool { return unix.Kill(-pid, 0) != nil })
	return slices.Clone(g.leaders), nil
}

// Kill kills the process groups, and returns when they have no members, or when
// ctx ends.
func (g *Group) Kill(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		pids, err := g.Pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			_ = unix.Kill(-pid, unix.SIGKILL) // they may have ended
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("tree: kill: process group %d has not ended: %w", pids[0], ctx.Err())
		}
	}
}

// OOMKills is 0: this system does not tell.
func (*Group) OOMKills() uint64 { return 0 }

// Usage is how many process groups there are.
func (g *Group) Usage() Usage {
	pids, _ := g.Pids() // which never fails
	return Usage{Processes: len(pids)}
}

// Update does nothing.
func (*Group) Update(Limits) error { return nil }

// Remove does nothing.
func (*Group) Remove() error { return nil }

// Peak knows nothing on this system.
type Peak struct{}

// Peak returns nil.
func (*Group) Peak() *Peak { return nil }

// Close returns 0.
func (*Peak) Close() uint64 { return 0 }

// SignalBeyond does nothing: what leaves the process group is not found.
func (*Group) SignalBeyond(int, unix.Signal) error { return nil }
