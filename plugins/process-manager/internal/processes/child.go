package processes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
	"github.com/gaia-go/gaia/sdk"
)

// child is one process that runs: this instance of the plugin has started it, or
// an earlier one.
type child struct {
	generation uint64
	pid        int
	pidfd      *os.File // nil where the system has none
	group      *tree.Group
	terminal   *os.File    // the master's side; nil for pipes
	output     *os.File    // what it writes comes out here
	buffer     logs.Buffer // between the output and the log, where one is not to hold up the other; or empty
	input      *input      // what it reads; nil for nothing
	logStart   int64       // where the log was at its start
	adopted    bool
	wait       func(context.Context) (exit spawn.Exit, at time.Time, err error)
	captured   chan struct{}      // closed when all that it wrote is in the log
	detach     context.CancelFunc // ends the capture
}

// killTime bounds how long a tree may take to end once it was killed. Only what
// hangs in the kernel takes longer.
const killTime = 5 * time.Second

// kill kills the whole tree and returns when nothing is left of it.
func (c *child) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	err := c.signal(syscall.SIGKILL, true)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return errors.Join(err, c.group.Kill(ctx))
}

// signal signals the process, or all of its process group. It returns
// os.ErrProcessDone when there is nobody any more.
func (c *child) signal(s syscall.Signal, group bool) error {
	if group {
		return spawn.SignalGroup(c.pid, c.pidfd, s)
	}
	return spawn.Signal(c.pidfd, s)
}

// abandon closes what a child has that never came to run.
func (c *child) abandon() {
	closeAll([]*os.File{c.output, c.buffer.Reader, c.buffer.Writer})
	_ = c.close() // nothing was written, and some of it is closed already
}

// capture moves what a child writes into the log, until nobody can write any more
// or ctx ends. It closes the output.
func (c *child) capture(ctx context.Context, log *logs.Log) error {
	if c.buffer.Reader != nil {
		return log.CaptureThrough(ctx, c.output, c.buffer)
	}
	return log.Capture(ctx, c.output)
}

// close closes what this instance holds of it, but for the output.
func (c *child) close() error {
	var faults []error
	for _, f := range []*os.File{c.pidfd, c.terminal} {
		if f != nil {
			faults = append(faults, f.Close())
		}
	}
	if c.input != nil && c.terminal == nil {
		faults = append(faults, c.input.close())
	}
	return errors.Join(faults...)
}

// drainGrace is how long what is left in a pipe may take when nobody of the tree
// is there any more: somebody beyond our reach holds the other end.
const drainGrace = time.Second

// watch waits for the end of a child and of all that it has started, and tells
// the process. It returns without that when ctx ends.
func (p *process) watch(ctx context.Context, c *child) {
	exit, at, err := c.wait(ctx)
	if ctx.Err() != nil {
		return
	}
	end := life.Event{Kind: life.Ended, Generation: c.generation, At: at, Exit: exitOf(exit, err)}
	end.Exit.Left = p.clearTree(ctx, c)
	drained := time.NewTimer(drainGrace)
	defer drained.Stop()
	select {
	case <-c.captured:
	case <-drained.C:
		c.detach()
		<-c.captured
	case <-ctx.Done():
		return
	}
	end.Exit.OOM = c.group.OOMKills() > 0
	_ = p.tell(ctx, end) // an error: this instance has let go of it
}

// exitOf is how a process ended, for the machine.
func exitOf(e spawn.Exit, err error) life.Exit {
	if err != nil {
		return life.Exit{Code: -1, Message: fmt.Sprintf("ended, how is not known (%v)", err)}
	}
	exit := life.Exit{Code: e.Code, CoreDump: e.CoreDump}
	if e.Signal != 0 {
		exit.Code, exit.Signal = -1, signalName(e.Signal)
	}
	return exit
}

// How often it is looked whether a tree has ended.
const (
	firstLook = 2 * time.Millisecond
	lastLook  = 100 * time.Millisecond
)

// clearTree returns when nothing is left of the tree of a child that has ended.
// Who was asked to end has the grace for the whole tree, of which the daemons are
// asked now; else what is left behind is killed at once, and counted.
func (p *process) clearTree(ctx context.Context, c *child) (killed int) {
	if m := p.snapshot(); m.State == life.Stopping {
		if err := c.group.SignalBeyond(c.pid, p.stopSignal(m)); err != nil {
			sdk.Logger().Warn("daemons not asked to end", "process", p.name, "err", err)
		}
	}
	look := firstLook
	for {
		pids, err := c.group.Pids()
		if err == nil && len(pids) == 0 {
			return killed
		}
		if m := p.snapshot(); m.State != life.Stopping || m.Killed {
			killed = max(killed, len(pids))
			if err := c.kill(ctx); err != nil {
				return killed
			}
		}
		timer := time.NewTimer(look)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return killed
		}
		look = min(2*look, lastLook)
	}
}

// clearAway gives back what the child that has ended had. Its group goes, too:
// since Linux 6.14 a process that is cloned into a group that was ever killed is
// killed itself.
func (p *process) clearAway() {
	c := p.child
	if c == nil {
		return
	}
	p.mu.Lock()
	p.child = nil
	p.mu.Unlock()
	if err := errors.Join(c.close(), c.group.Remove()); err != nil {
		sdk.Logger().Warn("not all is given back", "process", p.name, "err", err)
	}
}

// killAll kills the trees of all processes, and removes their groups.
func killAll(all []*process) []error {
	faults := make([]error, len(all))
	var killing sync.WaitGroup
	for i, p := range all {
		p.mu.Lock()
		c := p.child
		p.mu.Unlock()
		if c != nil {
			killing.Go(func() { faults[i] = errors.Join(c.kill(context.Background()), c.group.Remove()) })
		}
	}
	killing.Wait()
	return faults
}
