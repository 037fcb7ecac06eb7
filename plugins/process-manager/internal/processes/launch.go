package processes

import (
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
	started := life.Event{Kind: life.Started, Generation: p.machine.Generation, At: time.Now()}
	c, err := p.start(ctx, started)
	if err != nil {
		return p.notStarted(err)
	}
	p.take(ctx, c)
	p.manager.metrics.starts.Inc()
	return started
}

func (p *process) notStarted(err error) life.Event {
	return life.Event{Kind: life.NotStarted, Generation: p.machine.Generation, Exit: life.Exit{
		Cause: life.CauseNotStarted, Code: -1, Message: "not started: " + words(status.Convert(err).Message()),
	}}
}

// words are as much of an error as is kept and shown, without what is no text: a
// message of the API has to be some, and some of it is a stranger's, such as the
// answer to a probe.
func words(text string) string {
	if len(text) > maxFault {
		text = text[:maxFault] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// maxFault is in bytes.
const maxFault = 1000

// start starts the process, which has started. Nobody captures its output yet.
func (p *process) start(ctx context.Context, started life.Event) (*child, error) {
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
	_, end, _ := p.log.Bounds()
	c := &child{generation: p.machine.Generation, group: group, output: streams.output, logStart: end}
	if streams.input != nil {
		c.input = newInput(streams.input)
	}
	config := spawnConfig(command, group, streams)
	config.Held = func(s *spawn.Process) error { return p.hold(c, s, started) }
	spawned, err := spawn.Start(config)
	if err != nil {
		c.abandon()
		return nil, errors.Join(err, group.Remove())
	}
	c.wait = func(ctx context.Context) (spawn.Exit, time.Time, error) {
		exit, err := spawned.Wait(ctx)
		return exit, time.Now(), err
	}
	return c, nil
}

// hold gives a child to the keeper before it can start anybody: who was started
// earlier, and has left the process group by then, would not outlive this plugin.
func (p *process) hold(c *child, s *spawn.Process, started life.Event) (err error) {
	c.pid, c.pidfd = s.Pid, s.Pidfd
	if s.Terminal != nil {
		c.terminal, c.input = s.Terminal, newInput(s.Terminal)
		if c.output, err = duplicate(s.Terminal); err != nil {
			return err
		}
	}
	if c.terminal != nil || p.plan.logs.WhenSlow != logs.Block {
		if c.buffer, err = logs.NewBuffer(); err != nil {
			return err
		}
	}
	next, _ := p.machine.Next(p.plan.rules, started)
	return p.keepChild(next, c)
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
