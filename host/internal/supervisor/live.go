package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// cause is why an instance that was ready has ended.
type cause struct {
	asked bool   // by us, for good
	hung  bool   // we killed it, because it did not answer
	oom   bool   // the kernel killed one of its processes for its memory
	note  string // to add to how the process ended; may be ""
}

// live is the whole life of one instance: start, serve, end. It reports to the
// loop and returns when nothing is left of it. The end of ctx asks it to end.
func (s *Supervisor) live(ctx context.Context, generation uint64, plan *Plan) {
	logger := s.options.Logger.With("subsystem", plan.Subsystem.Name, "generation", generation)
	out := newOutput(generation, s.book, logger)
	began := time.Now()
	i, err := s.start(ctx, generation, plan, out)
	if err != nil {
		s.startFailed(ctx, generation, logger, err)
		return
	}
	took := time.Since(began)
	s.options.Meter.StartTook(took)
	s.events <- happening{event: event{kind: ready, generation: generation}, instance: i, took: took}
	// A log that blocks must not keep the loop from its work: first the event.
	logger.Info("plugin ready", "pid", i.PID(), "took", took.Round(100*time.Microsecond).String())
	why := s.serveUntilEnd(ctx, i, logger)
	s.count(i, why) // before the loop starts the next one, which counts, too
	if i.process.Exit().Signal == 0 {
		i.awaitOutput(outputWait) // its last words are the reason
	}
	s.events <- happening{event: event{kind: exited, generation: generation}, reason: printable(why.words(i))}
	err = i.close() // and so all of its output has been read
	report(i, why, logger)
	if err != nil {
		logger.Error("plugin not released", "err", err)
	}
}

// serveUntilEnd returns when the process has ended.
func (s *Supervisor) serveUntilEnd(ctx context.Context, i *Instance, logger hclog.Logger) (why cause) {
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	var watch sync.WaitGroup
	lost := make(chan string, 2) // one of each
	for _, lose := range []func(context.Context, hclog.Logger) string{i.lostConnection, i.lostLink} {
		watch.Go(func() {
			if note := lose(watching, logger); note != "" {
				lost <- note
				i.process.Kill()
			}
		})
	}
	watch.Go(func() {
		if i.attached {
			return // a debugger may have stopped it for as long as it likes
		}
		if hung := s.watchHealth(watching, i); hung != nil {
			logger.Error("plugin hangs; it is killed", "pid", i.PID(), "err", hung)
			why.hung, why.note = true, hung.Error()
			i.dumpAndKill()
		}
	})
	select {
	case <-i.Exited():
	case <-ctx.Done():
		why.asked = true
		restart := s.config.Load().Restart
		// ctx has ended, which is why this one has not.
		i.stop(context.WithoutCancel(ctx), restart.DrainTimeout, restart.StopTimeout)
	}
	stopWatching()
	watch.Wait()
	if len(lost) > 0 && !why.asked && !why.hung {
		why.note = <-lost
	}
	killed := i.process.Exit().Signal == syscall.SIGKILL && !why.asked && !why.hung
	if killed && i.tied.oomKills() > 0 {
		why.oom, why.note = true, fmt.Sprintf("out of memory: the limit is limits.memory, %v", s.config.Load().Limits.Memory)
	}
	return why
}

// words say how the instance has ended and why.
func (c cause) words(i *Instance) string {
	switch {
	case c.asked: // its last words are no reason for anything
		return i.Exit()
	case c.note != "":
		return c.note + "; " + i.Exit()
	default:
		return i.end()
	}
}

// startFailed reports an instance that never became ready.
func (s *Supervisor) startFailed(ctx context.Context, generation uint64, logger hclog.Logger, err error) {
	h := happening{event: event{kind: exited, generation: generation}, reason: oneLine(err), err: err}
	if errors.Is(err, ErrUnusable) {
		h.kind = broken
	}
	asked := ctx.Err() != nil
	if asked {
		s.options.Meter.Exited(telemetry.ExitStop)
	} else {
		s.options.Meter.Exited(telemetry.ExitStart)
	}
	s.events <- h
	if !asked {
		logger.Error("plugin did not start", "err", h.reason)
	}
}

// count counts the end of an instance that was ready.
func (s *Supervisor) count(i *Instance, why cause) {
	reason := telemetry.ExitSelf
	switch {
	case why.asked, i.process.Exit().Detached:
		reason = telemetry.ExitStop
	case why.oom:
		reason = telemetry.ExitOOM
	case why.hung:
		reason = telemetry.ExitHealth
	case i.process.Exit().Signal != 0:
		reason = telemetry.ExitSignal
	}
	s.options.Meter.Exited(reason)
}

// report logs the end of an instance that was ready.
func report(i *Instance, why cause, logger hclog.Logger) {
	exit := why.words(i)
	if why.asked || i.process.Exit().Detached {
		logger.Info("plugin stopped", "pid", i.PID(), "exit", exit)
		return
	}
	args := []any{"pid", i.PID(), "exit", exit}
	if tail := i.process.Tail(); len(tail) > 0 {
		for n, line := range tail {
			tail[n] = printable(line)
		}
		args = append(args, "last_lines", strings.Join(tail, "\n"))
	}
	logger.Warn("plugin exited", args...)
}

// longestReason is the longest reason for a state, in bytes.
const longestReason = 500

// oneLine is an error for a status line: what a plugin may have put into it
// can neither break the line nor steer a terminal.
func oneLine(err error) string {
	line := printable(strings.Join(strings.Fields(err.Error()), " "))
	if len(line) > longestReason {
		line = strings.ToValidUTF8(line[:longestReason], "") + "…"
	}
	return line
}

// dumpTime is how long a plugin that hangs may take to tell what its
// goroutines are doing.
const dumpTime = 500 * time.Millisecond

// dumpAndKill asks for a goroutine dump, which goes to the log, and then kills
// the process and its group.
func (i *Instance) dumpAndKill() {
	i.process.Signal(syscall.SIGQUIT)
	timer := time.NewTimer(dumpTime)
	defer timer.Stop()
	select {
	case <-i.Exited():
	case <-timer.C:
		i.process.Kill()
	}
}
