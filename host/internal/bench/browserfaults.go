package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	killCallers = 2
	killEvery   = time.Second

	manyTabs   = 100
	openMethod = "/gaia.browser.v1.BrowserPool/Open"
)

// kills kills a browser every second while pages are opened.
func (b *browserBench) kills(ctx context.Context) (Table, error) {
	length := max(b.Round, 2*killEvery) // a kill in each round
	b.progress("browser: a browser is killed every %v, %d rounds of %v", killEvery, b.Rounds, length)
	t := Table{Title: fmt.Sprintf("%d callers, and kill -9 of a browser every %v", killCallers, killEvery), Columns: []Column{
		{Name: "jobs", Head: "JOBS"},
		{Name: "kills", Head: "KILLS"},
		{Name: "failed", Head: "FAILED"},
		{Name: "p50_ms", Head: "P50", Unit: "ms"},
		{Name: "slowest_ms", Head: "SLOWEST", Unit: "ms"},
	}}
	ways, end, err := b.ways(ctx, killCallers)
	if err != nil {
		return t, err
	}
	defer end()
	for _, w := range ways {
		row, err := b.survive(ctx, w, length)
		if ctx.Err() != nil {
			return t, ctx.Err()
		}
		if err != nil { // puppeteer-cluster may not outlive its browser: that is a result, too
			row = Row{What: fmt.Sprintf("%s: %v", w.what, err)}
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// survive measures a way whose browsers are killed.
func (b *browserBench) survive(ctx context.Context, w way, length time.Duration) (Row, error) {
	all, killed := &browserLoad{}, 0
	for range b.Rounds {
		l, kills, err := w.underFire(ctx, length)
		if err != nil {
			return Row{}, err
		}
		killed += kills
		all.failed += l.failed
		all.samples = append(all.samples, l.samples...)
	}
	figures := Figures{
		"jobs":   float64(len(all.samples) + all.failed),
		"kills":  float64(killed),
		"failed": float64(all.failed),
	}
	if slices.Sort(all.samples); len(all.samples) > 0 {
		figures["p50_ms"] = milliseconds(quantile(all.samples, 0.5))
		figures["slowest_ms"] = milliseconds(quantile(all.samples, 1))
	}
	return Row{What: w.what, Figures: figures}, nil
}

// underFire measures a way once, whose browsers are killed, the one after the
// other.
func (w way) underFire(ctx context.Context, length time.Duration) (l *browserLoad, killed int, err error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l, err = w.load(ctx, length)
	}()
	next := time.NewTicker(killEvery)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			if found := browsers(w.root); len(found) > 0 {
				// ESRCH: it has just ended by itself.
				if syscall.Kill(found[killed%len(found)], syscall.SIGKILL) == nil {
					killed++
				}
			}
		case <-ended:
			return l, killed, err
		}
	}
}

// cold starts everything, down to the first picture.
func (b *browserBench) cold(ctx context.Context) (Table, error) {
	b.progress("browser: %d cold starts", b.Rounds)
	t := Table{Title: "from nothing to the first picture", Columns: []Column{
		{Name: "first_ms", Head: "TIME", Unit: "ms"},
	}}
	starts := []coldStart{{"gaia: host, plugin, browser", b.coldHouse}}
	if b.puppeteer != "" {
		starts = append(starts, coldStart{puppeteer + ": node, browser", b.coldCluster})
	}
	rounds := make([][]Figures, len(starts))
	for range b.Rounds {
		for i, s := range starts {
			began := time.Now()
			end, err := s.start(ctx)
			if err != nil {
				return t, fmt.Errorf("%s: %w", s.what, err)
			}
			rounds[i] = append(rounds[i], Figures{"first_ms": milliseconds(time.Since(began))})
			if err := end(); err != nil {
				return t, fmt.Errorf("%s: %w", s.what, err)
			}
		}
	}
	for i, s := range starts {
		t.Rows = append(t.Rows, medians(s.what, rounds[i]))
	}
	return t, nil
}

// tabs opens sessions, each a tab in a context of its own, and looks at what they
// take.
func (b *browserBench) tabs(ctx context.Context) (t Table, err error) {
	b.progress("browser: %d isolated tabs", manyTabs)
	t = Table{Title: fmt.Sprintf("%d isolated tabs with a page each, memory of host, plugin and browsers", manyTabs), Columns: []Column{
		{Name: "open_ms", Head: "ALL OPEN AFTER", Unit: "ms"},
		{Name: "pss_mb", Head: "MEMORY (PSS)", Unit: "MB"},
		{Name: "mb_per_tab", Head: "PER TAB", Unit: "MB", Digits: 1},
		{Name: "browsers", Head: "BROWSERS"},
	}}
	p, err := housePath(ctx, b.Options, "gaia", browserSubsystem, browserConfig, byLink)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := b.shoot(p.conn, isolationStrict)(ctx); err != nil { // a browser is there
		return t, err
	}
	host := p.house.cmd.Process.Pid
	idle, known := treePSS(host)
	began := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for range manyTabs {
		group.Go(func() error {
			url := fmt.Sprintf("%s/?job=%d", b.site.URL, b.job.Add(1))
			request := fields(nil).text(1, url).text(2, string(shotPage(isolationStrict)))
			return p.conn.Invoke(groupCtx, openMethod, request.message(), new(emptypb.Empty))
		})
	}
	if err := group.Wait(); err != nil {
		return t, err
	}
	figures := Figures{"open_ms": milliseconds(time.Since(began))}
	if full, still := treePSS(host); known && still {
		figures["pss_mb"] = float64(full) / 1e6
		figures["mb_per_tab"] = float64(full-idle) / 1e6 / manyTabs
		figures["browsers"] = float64(len(browsers(host)))
	}
	t.Rows = []Row{{What: "gaia", Figures: figures}}
	return t, nil
}

// coldStart starts something and takes a first picture with it.
type coldStart struct {
	what  string
	start func(context.Context) (end func() error, err error)
}

func (b *browserBench) coldHouse(ctx context.Context) (end func() error, err error) {
	p, err := housePath(ctx, b.Options, "gaia", browserSubsystem, browserConfig, byLink)
	if err != nil {
		return nil, err
	}
	if err := b.shoot(p.conn, isolationStrict)(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p.close, nil
}

func (b *browserBench) coldCluster(ctx context.Context) (end func() error, err error) {
	c, err := launchCluster(ctx, b.puppeteer, b.program, b.site.URL, 1)
	if err != nil {
		return nil, err
	}
	end = func() error { c.close(); return nil }
	l, err := c.load(ctx, 0)
	if err == nil {
		err = l.reason
	}
	if err != nil {
		return nil, errors.Join(err, end())
	}
	return end, nil
}
