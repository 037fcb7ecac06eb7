package conformance

import (
	"context"
	"fmt"
	"time"
)

// usage is what a process uses.
type usage struct {
	files   int   // open descriptors
	threads int   // of the kernel's
	memory  int64 // resident, in bytes
}

// What a plugin may use beyond what it did before a few hundred cancelled calls.
// The bounds are far from what pools and collectors of garbage need, and as far
// from what is left of so many calls that each leave something.
const (
	moreFiles   = 16
	moreThreads = 48
)

// leaksNothing abandons calls and compares what the process uses before and
// after.
func leaksNothing(ctx context.Context, s *suite) error {
	i, err := s.live(ctx)
	if err != nil {
		return err
	}
	if _, known := usageOf(i.PID()); !known {
		return skipf("what a process uses is known on Linux only")
	}
	if err := s.abandon(ctx, i, 40, byCancelling); err != nil { // whatever grows once
		return err
	}
	before, _ := usageOf(i.PID())
	if err := s.abandon(ctx, i, 200, byCancelling); err != nil {
		return err
	}
	timeout := time.NewTimer(endTime)
	defer timeout.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		after, _ := usageOf(i.PID())
		err := before.compare(after)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C: // what ends a call may take its time
		case <-timeout.C:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// compare tells what there is too much of.
func (u usage) compare(after usage) error {
	const fix = "release in the method what the method took, also when its context has ended"
	switch {
	case after.files > u.files+moreFiles:
		return fail(fmt.Sprintf("about %d open descriptors, as before 200 cancelled calls of each method", u.files), fmt.Sprint(after.files), fix)
	case after.threads > u.threads+moreThreads:
		return fail(fmt.Sprintf("about %d threads, as before 200 cancelled calls of each method", u.threads), fmt.Sprint(after.threads), fix)
	case after.memory > 2*u.memory+moreMemory:
		return fail(fmt.Sprintf("about %d MiB of memory, as before 200 cancelled calls of each method", u.memory>>20), fmt.Sprintf("%d MiB", after.memory>>20), fix)
	}
	return nil
}
