package processes

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/allow"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc/status"
)

// launch starts the run of the machine's generation, and says what came of it.
// What it says to have started is kept.
func (p *process) launch(ctx context.Context) life.Event {
	c, err := p.start(ctx)
	if err != nil {
		return p.notStarted(err)
	}
	started := life.Event{Kind: life.Started, Generation: c.generation, At: time.Now()}
	next, _ := p.machine.Next(p.plan.rules, started)
	if err := p.keepChild(next, c); err != nil {
		return p.notStarted(errors.Join(err, c.discard(ctx)))
	}
	p.take(ctx, c)
	p.manager.metrics.starts.Inc()
	return started
}

func (p *process) notStarted(err error) life.Event {
	text := status.Convert(err).Message()
	if len(text) > maxFault {
		text = strings.ToValidUTF8(text[:maxFault], "") + "…"
	}
	return life.Event{Kind: life.NotStarted, Generation: p.machine.Generation, Exit: life.Exit{
		Cause: life.CauseNotStarted, Code: -1, Message: "not started: " + text,
	}}
}

// maxFault bounds, in bytes, what is kept of an error.
const maxFault = 2000

// start starts the process. Nobody captures its output yet.
func (p *process) start(ctx context.Context) (*child, error) {
	// What was allowed when it was first started may not be any more.
	command, err := p.manager.check(p.request.GetSpec())
	if err != nil {
		return nil, err
	}
	if err := p.openLog(); err != nil {
		return nil, err
	}
	if err := p.manager.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer p.manager.giveTurn()
	streams, err := openStreams(p.plan.tty, p.plan.stdin)
	if err != nil {
		return nil, err
	}
	defer streams.closeTheirs()
	group, err := p.manager.forest.New(p.name, tree.Limits(command.Limits))
	if err != nil {
		return nil, errors.Join(err, streams.closeOurs())
	}
	spawned, err := spawn.Start(spawnConfig(command, group, streams))
	if err != nil {
		return nil, errors.Join(err, streams.closeOurs(), group.Remove())
	}
	_, end, _ := p.log.Bounds()
	c := &child{generation: p.machine.Generation, group: group, logStart: end}
	c.pid, c.pidfd, c.wait = spawned.Pid, spawned.Pidfd, spawned.Wait
	c.terminal, c.output = spawned.Terminal, streams.output
	if input := cmp.Or(spawned.Terminal, streams.input); input != nil {
		c.input = newInput(input)
	}
	if err := c.openOutput(p.plan); err != nil {
		return nil, errors.Join(err, c.discard(ctx))
	}
	return c, nil
}

// openLog opens the log, unless an earlier run has left it open.
func (p *process) openLog() error {
	if p.logging {
		return nil
	}
	log, err := p.logStore().Open(p.name, p.plan.logs)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log, p.logging = log, true
	return nil
}

func spawnConfig(c allow.Command, group *tree.Group, s *streams) spawn.Config {
	return spawn.Config{
		Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, User: c.User,
		Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr, TTY: s.tty,
		Group: group, OpenFiles: c.Limits.OpenFiles,
		NewPrivileges: c.NewPrivileges, Read: c.Read, Write: c.Write,
	}
}

// take makes a child the process's, lets its output go to the log and waits for
// its end.
func (p *process) take(ctx context.Context, c *child) {
	p.mu.Lock()
	p.child = c
	log := p.log
	p.mu.Unlock()
	var capturing context.Context
	capturing, c.detach = context.WithCancel(ctx)
	p.manager.settled.Reset(settleTime)
	c.captured = make(chan struct{})
	p.children.Go(func() {
		defer close(c.captured)
		defer c.detach()
		err := c.capture(capturing, log)
		if err != nil && capturing.Err() == nil && !errors.Is(err, logs.ErrClosed) {
			sdk.Logger().Error("output is lost from here on", "process", p.name, "err", err)
		}
	})
	p.children.Go(func() { p.watch(ctx, c) })
}

// takeTurn waits until there is room for one more start.
func (m *Manager) takeTurn(ctx context.Context) error {
	select {
	case m.starting <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Manager) giveTurn() { <-m.starting }
