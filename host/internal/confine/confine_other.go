//go:build !linux

package confine

import (
	"errors"
	"fmt"
	"os/exec"
	"sync"
)

// Confiner makes groups. It is safe for concurrent use.
type Confiner struct{}

// New returns a confiner. This system has no control groups: only open files
// can be limited, and nothing is left behind by an earlier host.
func New(string) *Confiner { return &Confiner{} }

// Mechanism says in one line what would keep which limit.
func (*Confiner) Mechanism() string { return mechanism(everything(), keeperOf) }

// Warnings are sentences about limits that this machine cannot keep, with the
// reason.
func (*Confiner) Warnings() []string { return shortcomings(everything(), keeperOf) }

func keeperOf(r resource) keeper {
	if r == openFiles {
		return keeper{name: rlimit}
	}
	return keeper{why: errNoControlGroup}
}

// Group returns a new group for one process tree. What it cannot limit it
// tells, and does not limit; it is never nil.
func (*Confiner) Group(_ string, l Limits) *Group { return &Group{limits: l} }

// Group bounds one process tree. Its methods are safe for concurrent use.
type Group struct {
	mu      sync.Mutex
	limits  Limits
	started bool
}

// Mechanism says in one line what keeps the limits, such as
// "memory: not available; open_files: rlimit". It is "" if nothing is limited.
func (g *Group) Mechanism() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return mechanism(g.limits, keeperOf)
}

// Warnings are sentences about limits that are not kept, with the reason.
func (g *Group) Warnings() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return shortcomings(g.limits, keeperOf)
}

// Launch starts cmd with its limit on open files. It is called once.
func (g *Group) Launch(cmd *exec.Cmd) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.limits.OpenFiles; n > 0 {
		throughShell(cmd, n)
	}
	g.started = true
	return cmd.Start()
}

// Update changes the limits. The error says what only another process can have.
func (g *Group) Update(l Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.started && l.OpenFiles != g.limits.OpenFiles {
		l.OpenFiles = g.limits.OpenFiles
		g.limits = l
		return fmt.Errorf("confine: %s: %w: this system sets it when a process starts", openFiles, errors.ErrUnsupported)
	}
	g.limits = l
	return nil
}

// OOMKills is 0: this system does not count them.
func (*Group) OOMKills() uint64 { return 0 }

// Kill does nothing: who has left the process group cannot be found.
func (*Group) Kill() {}

// Close does nothing.
func (*Group) Close() error { return nil }
