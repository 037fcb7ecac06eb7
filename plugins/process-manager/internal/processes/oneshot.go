package processes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/allow"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
	"github.com/gaia-go/gaia/sdk"
	"golang.org/x/sys/unix"
)

// oneshot is a command that runs once, while its caller waits. Nobody keeps its
// process: it ends with the plugin, if not before.
type oneshot struct {
	command   allow.Command
	input     []byte
	maxOutput int  // bytes of each stream
	merge     bool // stderr goes to stdout
}

// outcome is how it went.
type outcome struct {
	exit           life.Exit
	stdout, stderr capture
	took           time.Duration
	cpu            time.Duration
	maxMemory      uint64
}

// errNotStarted is matched by errors about commands that did not start.
var errNotStarted = errors.New("not started")

// run runs the command to its end, or kills its whole tree when ctx ends, and
// takes asked for the reason then. The error is errNotStarted.
func (m *Manager) run(ctx context.Context, o oneshot, asked life.Reason) (*outcome, error) {
	limits := tree.Limits(o.command.Limits)
	group, err := m.groups.take(m.forest, limits)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotStarted, err)
	}
	r := &running{oneshot: o, group: group, ooms: group.OOMKills(), outcome: &outcome{}}
	defer func() {
		giveBack := m.groups.give
		if r.cleared {
			giveBack = func(g *tree.Group, _ tree.Limits) error { return g.Remove() }
		}
		if err := giveBack(group, limits); err != nil {
			sdk.Logger().Warn("not all is given back", "command", o.command.Name, "err", err)
		}
	}()
	if err := r.start(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotStarted, err)
	}
	r.finish(ctx, asked)
	return r.outcome, nil
}

// running is a oneshot that has been started.
type running struct {
	oneshot
	*outcome

	group   *tree.Group
	ooms    uint64 // of the group before
	peak    *tree.Peak
	cleared bool // the group was killed
	process *spawn.Process
	begun   time.Time
	ours    []*os.File     // our ends of its pipes
	pumps   sync.WaitGroup // that read and write them
}

func (r *running) start() (err error) {
	var theirs []*os.File
	defer func() {
		closeAll(theirs)
		if err != nil {
			closeAll(r.ours)
		}
	}()
	pipe := func() (reader, writer *os.File) {
		if err == nil {
			reader, writer, err = os.Pipe()
		}
		return reader, writer
	}
	config := spawnConfig(r.command, r.group, &streams{})
	var stdin, stdout, stderr *os.File
	if len(r.input) > 0 {
		config.Stdin, stdin = pipe()
	}
	stdout, config.Stdout = pipe()
	config.Stderr = config.Stdout
	if !r.merge {
		stderr, config.Stderr = pipe()
	}
	theirs = []*os.File{config.Stdin, config.Stdout, config.Stderr}
	r.ours = []*os.File{stdin, stdout, stderr}
	if err != nil {
		return err
	}
	r.peak = r.group.Peak()
	defer func() {
		if err != nil {
			r.peak.Close()
		}
	}()
	r.begun = time.Now()
	if r.process, err = spawn.Start(config); err != nil {
		return err
	}
	if stdin != nil {
		r.pumps.Go(func() { feed(stdin, r.input) })
	}
	r.pumps.Go(func() { r.stdout.read(stdout, r.maxOutput) })
	if stderr != nil {
		r.pumps.Go(func() { r.stderr.read(stderr, r.maxOutput) })
	}
	return nil
}

// feed writes what the process is to read, as far as it wants to.
func feed(stdin *os.File, input []byte) {
	_, _ = stdin.Write(input) // EPIPE: it does not read all of it
	_ = stdin.Close()         // a pipe loses nothing
}

// finish waits for the end of the process, clears away what it has left behind,
// and reads its output to the end.
func (r *running) finish(ctx context.Context, asked life.Reason) {
	exit, err := r.process.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		r.clear(ctx)
		exit, err = r.process.Wait(context.WithoutCancel(ctx))
	} else {
		asked = life.Reason{}
	}
	r.exit = exitOf(exit, err)
	if pids, err := r.group.Pids(); err != nil || len(pids) > 0 {
		r.exit.Left = len(pids)
		r.clear(ctx)
	}
	r.drain()
	r.took = time.Since(r.begun)
	r.exit.OOM = r.group.OOMKills() > r.ooms
	r.exit.At = time.Now()
	r.exit.Explain(asked, asked.Cause != life.CauseUnknown, r.took)
	r.cpu = time.Duration(exit.Rusage.Utime.Nano() + exit.Rusage.Stime.Nano())
	r.maxMemory = leastOf(maxResident(exit.Rusage), r.peak.Close())
	closeAll([]*os.File{r.process.Terminal})
	_ = r.process.Close() // a pidfd loses nothing
}

// clear kills all that is left of the tree.
func (r *running) clear(ctx context.Context) {
	r.cleared = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	err := spawn.SignalGroup(r.process.Pid, r.process.Pidfd, syscall.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	if err = errors.Join(err, r.group.Kill(ctx)); err != nil {
		sdk.Logger().Error("process tree not killed", "command", r.command.Name, "err", err)
	}
}

// drain waits until the output is read to its end. Somebody beyond our reach may
// hold it open.
func (r *running) drain() {
	expired := time.Now().Add(drainGrace)
	for _, f := range r.ours {
		if f != nil {
			_ = f.SetDeadline(expired) // it may be closed
		}
	}
	r.pumps.Wait()
	closeAll(r.ours)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // of pipes: nothing is lost
		}
	}
}

// capture is the beginning of a stream, and how long the stream was.
type capture struct {
	content []byte
	size    uint64
}

// read reads a stream to its end and keeps up to limit bytes.
func (c *capture) read(from *os.File, limit int) {
	buffer := make([]byte, 4<<10)
	for {
		n, err := from.Read(buffer)
		c.size += uint64(n) //nolint:gosec // G115: not negative
		c.content = append(c.content, buffer[:min(n, limit-len(c.content))]...)
		if err != nil || n == 0 { // its end, or the end of our patience
			return
		}
		if n == len(buffer) && n < maxRead {
			buffer = make([]byte, 4*n)
		}
	}
}

// maxRead is the size of a pipe: no read returns more.
const maxRead = 64 << 10

// leastOf returns the lower one of two upper bounds, of which the second may not be
// known: the kernel counts as resident what a process had before it became another
// program, which is as much as this plugin has; and for a group it counts files,
// too.
func leastOf(resident, group uint64) uint64 {
	if group == 0 {
		return resident
	}
	return min(resident, group)
}

// maxResident is in bytes.
func maxResident(u unix.Rusage) uint64 {
	return uint64(u.Maxrss) << 10 //nolint:gosec // G115: not negative
}
