package bench

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// callPatience is how much longer than asked for a round may take, until the
// calls that do not end are given up.
const callPatience = 30 * time.Second

// meter measures a path and counts the calls that it made.
type meter struct {
	path  *path
	calls uint64
}

// round lets the callers call by the path for a while.
func (m *meter) round(ctx context.Context, callers []*caller, length time.Duration) (Figures, error) {
	hostAllocs, err := m.path.hostAllocs(ctx)
	if err != nil {
		return nil, err
	}
	// No deadline of a call's own: it would cost each of them.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(length+callPatience, func() { cancel(errors.New("a call does not end")) })
	defer watchdog.Stop()

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpuBefore, known := cpuTime(m.path.pids)
	began := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	for _, c := range callers {
		group.Go(func() error { return c.run(groupCtx, began, length) })
	}
	if err := group.Wait(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	took := time.Since(began)
	cpuAfter, stillKnown := cpuTime(m.path.pids)
	runtime.ReadMemStats(&after)

	var all []time.Duration
	for _, c := range callers {
		all = append(all, c.took...)
	}
	slices.Sort(all)
	m.calls += uint64(len(all))
	calls := float64(len(all))
	figures := Figures{
		"callers":          float64(len(callers)),
		"calls_per_second": calls / took.Seconds(),
		"p50_us":           microseconds(quantile(all, 0.50)),
		"p95_us":           microseconds(quantile(all, 0.95)),
		"p99_us":           microseconds(quantile(all, 0.99)),
		"caller_allocs":    float64(after.Mallocs-before.Mallocs) / calls,
	}
	if known && stillKnown {
		figures["cpu_us"] = microseconds(cpuAfter-cpuBefore) / calls
	}
	if m.path.house != nil {
		allocs, err := hostAllocs()
		if err != nil {
			return nil, err
		}
		figures["host_allocs"] = allocs / calls
	}
	return figures, nil
}

// hostAllocs returns a function that tells how often the host has allocated
// since, without what telling it costs. Without a host there is nothing to call.
func (p *path) hostAllocs(ctx context.Context) (since func() (float64, error), err error) {
	if p.house == nil {
		return nil, nil
	}
	read := func() (float64, error) {
		metrics, err := p.house.scrape(ctx)
		// The plugins' own metrics of this name have the label.
		return metrics.sum("go_memstats_mallocs_total", map[string]string{"subsystem": ""}), err
	}
	first, err := read()
	if err != nil {
		return nil, err
	}
	second, err := read()
	if err != nil {
		return nil, err
	}
	return func() (float64, error) {
		third, err := read()
		return max(0, third-second-(second-first)), err
	}, nil
}

// caller makes one call after the other.
type caller struct {
	call func(context.Context) error // makes one, and looks at the answer
	took []time.Duration             // by the calls of the last round
}

// run calls until the time is over, and once at least. It reads the clock once a call, because the
// end of one is the beginning of the next, and that by the monotonic clock
// alone: some 30 ns, of calls that take microseconds. What it writes down goes
// to a slice that the warm-up has made long enough.
func (c *caller) run(ctx context.Context, began time.Time, length time.Duration) error {
	c.took = c.took[:0]
	for last := time.Since(began); ; {
		if err := c.call(ctx); err != nil {
			return err
		}
		now := time.Since(began)
		c.took = append(c.took, now-last)
		if now >= length {
			return nil
		}
		last = now
	}
}
