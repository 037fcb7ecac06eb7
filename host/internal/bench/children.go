package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// crowd starts many children, each with a log of its own.
func (b processesBench) crowd(ctx context.Context) (Table, error) {
	b.progress("processes: %d children, %d rounds", children, b.Rounds)
	rounds := make([]Figures, 0, b.Rounds)
	names := make([]string, children)
	for i := range names {
		names[i] = "child-" + strconv.Itoa(i)
	}
	idle, known := pss(b.plugin())
	for range b.Rounds {
		began := time.Now()
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(startsAtOnce)
		for _, name := range names {
			group.Go(func() error {
				_, err := b.start(groupCtx, name, "child", nil)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return Table{}, err
		}
		figures := Figures{"all_ms": milliseconds(time.Since(began))}
		if full, stillKnown := pss(b.plugin()); known && stillKnown {
			figures["pss_mb"] = float64(full) / 1e6
			figures["kb_per_child"] = float64(full-idle) / 1e3 / children
		}
		if err := b.end(ctx, names...); err != nil {
			return Table{}, err
		}
		rounds = append(rounds, figures)
	}
	rows, err := b.beside([]Row{medians("gaia", rounds)}, func(p peer, dir string) (Figures, error) { return p.crowd(ctx, dir) })
	return Table{Title: fmt.Sprintf("%d children with logs", children), Columns: []Column{
		{Name: "all_ms", Head: "ALL RUN AFTER", Unit: "ms"},
		{Name: "pss_mb", Head: "MEMORY (PSS)", Unit: "MB", Digits: 1},
		{Name: "kb_per_child", Head: "PER CHILD", Unit: "kB", Digits: 1},
	}, Rows: rows}, err
}

// pss is the memory of a process, its share of what it shares.
func pss(pid int) (bytes int64, known bool) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

// restarts kills a child that is to run always, again and again.
func (b processesBench) restarts(ctx context.Context) (Table, error) {
	b.progress("processes: %d times kill -9 of a child", restartsOfOne)
	// Stable after a millisecond, so that each restart is a first one, without backoff.
	stable := fields(nil).number(2, 1_000_000)
	policy := fields(nil).number(1, restartAlways).text(4, string(stable)).number(5, minusOne)
	process, err := b.start(ctx, "killed", "child", fields(nil).text(3, string(policy)))
	if err != nil {
		return Table{}, err
	}
	samples := make([]time.Duration, 0, restartsOfOne)
	age := time.NewTicker(10 * time.Millisecond) // older than that, it counts as stable
	defer age.Stop()
	for range restartsOfOne {
		<-age.C
		pid := varint(process, pidNumber)
		began := time.Now()
		if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil { //nolint:gosec // G115: a pid has 22 bits
			return Table{}, err
		}
		for next := pid; next == pid || next == 0; next = varint(process, pidNumber) {
			if process, err = b.call(ctx, "Get", fields(nil).text(1, "killed")); err != nil {
				return Table{}, err
			}
		}
		samples = append(samples, time.Since(began))
	}
	slices.Sort(samples)
	figures := Figures{
		"p50_ms": milliseconds(quantile(samples, 0.50)),
		"p99_ms": milliseconds(quantile(samples, 0.99)),
	}
	if err := b.end(ctx, "killed"); err != nil {
		return Table{}, err
	}
	rows, err := b.beside([]Row{{What: "gaia", Figures: figures}}, func(p peer, dir string) (Figures, error) { return p.restarts(ctx, dir) })
	return Table{Title: "kill -9 of a child until another runs", Columns: []Column{
		{Name: "p50_ms", Head: "P50", Unit: "ms", Digits: 2},
		{Name: "p99_ms", Head: "P99", Unit: "ms", Digits: 2},
	}, Rows: rows}, err
}

// minusOne is -1 as an int32 is written.
const minusOne = ^uint64(0)
