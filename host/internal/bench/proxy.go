package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	tunnelBytes   = 2 << 30 // of a round, by all streams together
	tunnelStreams = 16
	tunnelCallers = 32
	idleTunnels   = 2000
)

// proxy measures CONNECT tunnels: how fast, how many a second, how large.
func proxy(ctx context.Context, o Options) (result *Result, err error) {
	if o.Rounds <= 0 {
		o.Rounds = 3
	}
	if o.Round <= 0 {
		o.Round = dispatchRound
	}
	origin, err := newSource(ctx)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	defer func() { err = errors.Join(err, origin.close()) }()
	ways, err := proxies(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	defer func() {
		for _, p := range ways {
			err = errors.Join(err, p.close())
		}
	}()
	b := proxyBench{Options: o, source: origin, ways: ways}
	result = &Result{Name: "proxy", Machine: machine()}
	for _, measure := range []func(context.Context) (Table, error){
		func(ctx context.Context) (Table, error) { return b.throughput(ctx, 1) },
		func(ctx context.Context) (Table, error) { return b.throughput(ctx, tunnelStreams) },
		b.tunnels, b.idle,
	} {
		table, err := measure(ctx)
		if err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		result.Tables = append(result.Tables, table)
	}
	return result, nil
}

type proxyBench struct {
	Options

	source *source
	ways   []*throughProxy
}

// compete measures the ways by turns; the first is the baseline of figure.
func (b proxyBench) compete(ctx context.Context, figure string, measure func(context.Context, *throughProxy) (Figures, error)) ([]Row, error) {
	rounds := make([][]Figures, len(b.ways))
	for range b.Rounds {
		for i, p := range b.ways {
			figures, err := measure(ctx, p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.what, err)
			}
			rounds[i] = append(rounds[i], figures)
		}
	}
	rows := make([]Row, len(b.ways))
	for i, p := range b.ways {
		ratios(rounds[i], rounds[0], figure)
		rows[i] = medians(p.what, rounds[i])
	}
	return rows, nil
}

// throughput downloads by so many tunnels at once.
func (b proxyBench) throughput(ctx context.Context, streams int) (Table, error) {
	b.progress("proxy: %d streams, %d MiB in all, %d rounds", streams, tunnelBytes>>20, b.Rounds)
	rows, err := b.compete(ctx, "mb_per_second", func(ctx context.Context, p *throughProxy) (Figures, error) {
		before, known := cpuTime(p.pids)
		began := time.Now()
		group, ctx := errgroup.WithContext(ctx)
		for range streams {
			group.Go(func() error { return p.download(ctx, b.source.address, tunnelBytes/int64(streams)) })
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		figures := Figures{"mb_per_second": tunnelBytes / 1e6 / time.Since(began).Seconds()}
		if after, still := cpuTime(p.pids); known && still && len(p.pids) > 0 {
			figures["cpu_seconds_per_gb"] = (after - before).Seconds() * 1e9 / tunnelBytes
		}
		return figures, nil
	})
	return Table{Title: fmt.Sprintf("%d tunnels download %d MiB", streams, tunnelBytes>>20), Columns: []Column{
		{Name: "mb_per_second", Head: "MB/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "cpu_seconds_per_gb", Head: "PROXY'S CPU S/GB", Digits: 2},
	}, Rows: rows}, err
}

// tunnels opens one after the other, sends a byte, has one back, and closes.
func (b proxyBench) tunnels(ctx context.Context) (Table, error) {
	b.progress("proxy: %d callers open tunnels, %d rounds of %v", tunnelCallers, b.Rounds, b.Round)
	rows, err := b.compete(ctx, "tunnels_per_second", func(ctx context.Context, p *throughProxy) (Figures, error) {
		before, known := cpuTime(p.pids)
		began := time.Now()
		callers := make([]*caller, tunnelCallers)
		group, ctx := errgroup.WithContext(ctx)
		for i := range callers {
			callers[i] = &caller{call: func(ctx context.Context) error { return p.download(ctx, b.source.address, 1) }}
			group.Go(func() error { return callers[i].run(ctx, began, b.Round) })
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		took := time.Since(began)
		var all []time.Duration
		for _, c := range callers {
			all = append(all, c.took...)
		}
		slices.Sort(all)
		figures := Figures{
			"tunnels_per_second": float64(len(all)) / took.Seconds(),
			"p50_ms":             milliseconds(quantile(all, 0.5)),
			"p99_ms":             milliseconds(quantile(all, 0.99)),
		}
		if after, still := cpuTime(p.pids); known && still && len(p.pids) > 0 {
			figures["cpu_us"] = microseconds(after-before) / float64(len(all))
		}
		return figures, nil
	})
	return Table{Title: fmt.Sprintf("%d callers open tunnels", tunnelCallers), Columns: []Column{
		{Name: "tunnels_per_second", Head: "TUNNELS/S"},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "p50_ms", Head: "P50", Unit: "ms", Digits: 1},
		{Name: "p99_ms", Head: "P99", Unit: "ms", Digits: 1},
		{Name: "cpu_us", Head: "PROXY'S CPU/TUNNEL", Unit: "µs"},
	}, Rows: rows}, err
}

// idle opens tunnels and looks at the memory of the proxy.
func (b proxyBench) idle(ctx context.Context) (Table, error) {
	b.progress("proxy: %d idle tunnels", idleTunnels)
	t := Table{Title: fmt.Sprintf("%d idle tunnels", idleTunnels), Columns: []Column{
		{Name: "pss_mb", Head: "PROXY'S PSS", Unit: "MB", Digits: 1},
		{Name: "kb_per_tunnel", Head: "A TUNNEL", Unit: "KB", Digits: 1},
	}}
	for _, p := range b.ways[1:] {
		figures, err := p.hold(ctx, b.source.address, idleTunnels)
		if err != nil {
			return t, fmt.Errorf("%s: %w", p.what, err)
		}
		t.Rows = append(t.Rows, Row{What: p.what, Figures: figures})
	}
	return t, nil
}

// hold opens n tunnels, measures, and closes them.
func (p *throughProxy) hold(ctx context.Context, target string, n int) (Figures, error) {
	before, known := pss(p.pids[0])
	tunnels := make([]*tunnel, 0, n)
	defer func() {
		for _, t := range tunnels {
			_ = t.conn.Close()
		}
	}()
	for range n {
		t, err := p.open(ctx, target)
		if err != nil {
			return nil, fmt.Errorf("tunnel %d: %w", len(tunnels)+1, err)
		}
		tunnels = append(tunnels, t)
	}
	after, still := pss(p.pids[0])
	if !known || !still {
		return Figures{}, nil
	}
	return Figures{
		"pss_mb":        math.Round(float64(after)/1e4) / 100,
		"kb_per_tunnel": float64(after-before) / 1e3 / float64(n),
	}, nil
}
