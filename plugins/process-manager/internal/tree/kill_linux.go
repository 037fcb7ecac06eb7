package tree

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// settleTime is how long a parent, for orphans the host, may take to reap
	// those who were killed. A host does it in milliseconds; the init of some containers never does.
	settleTime = 2 * time.Second

	// How often those who are left are looked for.
	firstPoll = 200 * time.Microsecond
	maxPoll   = 10 * time.Millisecond
)

// Kill kills all processes of the group, whatever they start meanwhile, and
// returns when there is none, or when ctx ends: the error tells who is left. The
// group can be used again.
func (g *Group) Kill(ctx context.Context) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	dirs, limits := g.snapshot()
	if len(dirs) == 0 {
		return killAll(ctx, g.Pids) // known by a mark, or none
	}
	if err := dirs[0].kill(ctx, orMax(uint64(limits.Processes))); err != nil {
		return err
	}
	if d, ok := with(dirs, "pids"); ok && limits.Processes > 0 {
		d.settle(ctx, uint64(limits.Processes)/2)
	}
	return nil
}

// settle waits until few of those who were killed count as processes: they do
// until they are reaped, each by its parent, and take the room of others.
func (d directory) settle(ctx context.Context, few uint64) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	poll(ctx, func() bool {
		n, err := readNumber(filepath.Join(d.path, "pids.current"))
		return n <= few || err != nil
	})
}

// kill makes a directory empty. While it does, the group is frozen or lets
// nobody be born: so one that forks for ever cannot run ahead. It does not use
// cgroup.kill: whoever is cloned into a group that was once killed so is killed,
// too (seen on Linux 6.18), and the group would be of no use any more.
func (d directory) kill(ctx context.Context, processes string) error {
	if pids, err := pidsBelow(d.path); err == nil && len(pids) == 0 {
		return nil // as after most short runs
	}
	file, still, before := "cgroup.freeze", "1", "0"
	if d.version == 1 {
		file, still, before = "pids.max", "0", processes
	}
	_ = d.write(file, still)                     // not there before Linux 5.2, or without that controller
	defer func() { _ = d.write(file, before) }() // as above
	return killAll(ctx, func() ([]int, error) { return pidsBelow(d.path) })
}

// killAll kills those who are listed until nobody is.
func killAll(ctx context.Context, list func() ([]int, error)) error {
	var pids []int
	var err error
	ended := poll(ctx, func() bool {
		pids, err = list()
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		return len(pids) == 0
	})
	if err != nil {
		return fmt.Errorf("tree: kill: %w", err)
	}
	if !ended {
		return fmt.Errorf("tree: kill: %d processes have not ended, such as %d: %w", len(pids), pids[0], ctx.Err())
	}
	return nil
}

// poll asks, less and less often, until the answer is yes, and reports whether
// that was before the end of ctx.
func poll(ctx context.Context, done func() bool) bool {
	for wait := firstPoll; !done(); wait = min(2*wait, maxPoll) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
	return true
}
