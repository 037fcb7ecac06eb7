package sdk

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/sdk/wire"
)

const (
	// stopGrace is how long calls in flight may still take after SIGTERM. With
	// the other two it is less than the 5 s after which the host kills.
	stopGrace = 3 * time.Second
	// cutGrace is stopGrace when calls have had the time of a drain before.
	cutGrace = 50 * time.Millisecond
	// orphanGrace is how long calls in flight may still take when the host is
	// gone: nobody waits for their answers.
	orphanGrace = time.Second
	// cancelGrace is how long calls may take to return once they were
	// cancelled. Services are not shut down under calls that do not.
	cancelGrace = time.Second
	// shutdownGrace is what is left at least for services to shut down.
	shutdownGrace = 500 * time.Millisecond
)

// endWithHost stops the server, calls in flight finished, when the host asks
// for it or dies. The returned function ends the watch.
func (p *plugin) endWithHost() (stop func()) {
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	orphaned := make(chan struct{})
	if os.Getenv(wire.EnvWatchStdin) == "1" {
		// This goroutine ends with the process: a read of a pipe that never
		// ends cannot be called back.
		go func() {
			defer close(orphaned)
			_, _ = io.Copy(io.Discard, os.Stdin)
		}()
	}
	done := make(chan struct{})
	go func() {
		grace := stopGrace
		select {
		case <-terminate:
		case <-orphaned:
			grace = orphanGrace
		case <-done:
			return
		}
		p.stop(grace)
	}()
	return func() {
		signal.Stop(terminate)
		close(done)
	}
}

// stop drains and ends the server, which makes Serve return.
func (p *plugin) stop(grace time.Duration) {
	p.killed = time.Now().Add(grace + cancelGrace + shutdownGrace)
	if p.isCut.Load() {
		grace = cutGrace
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	select {
	case <-p.serverSet:
	case <-ctx.Done():
		os.Exit(1) // no server to stop
	}
	if unfinished, err := p.drain(ctx); unfinished > 0 || err != nil {
		Logger().Warn("stopped before all work was done", "unfinished", unfinished, "err", err)
	}
	close(p.stopping)
	// The calls have returned, but their answers may still be on their way:
	// only a drain of the link, and gRPC's graceful stop, send them off before the
	// connections are closed.
	if p.link != nil {
		p.link.Drain(ctx)
		p.endLink()
	}
	stopHurry := context.AfterFunc(ctx, p.server.Stop)
	defer stopHurry()
	p.server.GracefulStop()
}

// killedAt is about when the host kills the process, should it not have ended.
func (p *plugin) killedAt() time.Time {
	select {
	case <-p.stopping:
		return p.killed
	default: // the server has ended by itself: nobody has begun to count
		return time.Now().Add(stopGrace)
	}
}

// nameProcess gives the process its own name in lists of processes: started
// from an open file, it would be called by a number.
func nameProcess() {
	name := []byte(processName(os.Args[0]))
	_ = os.WriteFile("/proc/self/comm", name, 0) //nolint:gosec // G703: a constant path. Linux only, and only cosmetic
}
