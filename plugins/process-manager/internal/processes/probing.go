package processes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
)

// probing is the probe that is under way: one for each generation and kind.
type probing struct {
	probe      *probe
	generation uint64
	cancel     context.CancelFunc
	done       chan struct{}
}

// probe lets the probe run that the state asks for, and no other.
func (p *process) probe(ctx context.Context) {
	var wanted *probe
	switch {
	case p.machine.State == life.Starting && p.machine.Alive:
		wanted = p.plan.ready
	case p.machine.State == life.Running:
		wanted = p.plan.live
	}
	if p.probing.probe == wanted && p.probing.generation == p.machine.Generation {
		return
	}
	p.stopProbe()
	p.probing = probing{probe: wanted, generation: p.machine.Generation}
	if wanted == nil {
		return
	}
	ctx, p.probing.cancel = context.WithCancel(ctx)
	p.probing.done = make(chan struct{})
	go p.keepProbing(ctx, p.probing, p.log, p.child.logStart)
}

// stopProbe ends the probe and waits for it. What it still has to tell is not
// heard.
func (p *process) stopProbe() {
	if p.probing.probe == nil {
		return
	}
	p.probing.cancel()
	<-p.probing.done
	p.setDoubt("")
	p.probing = probing{}
}

func (p *process) setDoubt(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubt = text
}

// keepProbing tries until there is something to tell, or ctx ends.
func (p *process) keepProbing(ctx context.Context, now probing, log *logs.Log, from int64) {
	defer close(now.done)
	ev := life.Event{Kind: life.Ready, Generation: now.generation}
	var err error
	if now.probe.line != nil {
		err = awaitLine(ctx, log, from, now.probe.line)
	} else if err = p.tryOften(ctx, now.probe); err != nil {
		ev = life.Event{
			Kind: life.Unhealthy, Generation: now.generation, By: map[string]string{"ready": "readiness", "live": "liveness"}[now.probe.name],
			Detail: words(err.Error()), Grace: p.plan.grace,
		}
		err = nil
	}
	if err != nil || ctx.Err() != nil {
		return
	}
	_ = p.tell(ctx, ev) // an error: nobody wants to know any more
}

// tryOften returns nil when a process is ready, or why it has to end: too many
// tries in a row have failed. For a live one that is its only way to return, but
// for the end of ctx.
func (p *process) tryOften(ctx context.Context, probe *probe) error {
	tick := time.NewTicker(probe.every)
	defer tick.Stop()
	for failures := uint32(0); ; {
		err := p.try(ctx, probe)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			failures = 0
			p.setDoubt("")
			if probe.name == "ready" {
				return nil
			}
		default:
			failures++
			p.setDoubt(words(err.Error()))
			if failures == probe.failures {
				return fmt.Errorf("%d tries in a row have failed, the last: %w", failures, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxLine bounds how much of a line is looked at.
const maxLine = 64 << 10

var errFound = errors.New("found")

// awaitLine waits until a line from an offset of the log on matches.
func awaitLine(ctx context.Context, log *logs.Log, from int64, pattern *regexp.Regexp) error {
	var rest []byte // the beginning of a line
	err := log.Read(ctx, logs.From{Offset: from}, true, func(c logs.Chunk) error {
		text := append(rest, c.Content...) //nolint:gocritic // rest is made anew below
		for {
			line, after, complete := bytes.Cut(text, []byte("\n"))
			if !complete {
				break
			}
			if pattern.Match(bytes.TrimSuffix(line, []byte("\r"))) {
				return errFound
			}
			text = after
		}
		rest = bytes.Clone(text[:min(len(text), maxLine)])
		return nil
	})
	if errors.Is(err, errFound) {
		return nil
	}
	if err == nil {
		err = errors.New("the log has ended")
	}
	return err
}
