package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	browserSubsystem = "browser_pool"
	screenshotMethod = "/gaia.browser.v1.BrowserPool/Screenshot"

	browserRounds = 3
	browserRound  = 5 * time.Second

	// Of gaia.browser.v1.Isolation.
	isolationStrict = 1
	isolationReset  = 2
)

// browserConfig is a house whose browsers may reach this machine.
const browserConfig = `
subsystem "` + browserSubsystem + `" {
  plugin = "gaia-browser-pool"
  limits {
    concurrency = 200
    queue       = 200
    timeout     = "60s"
  }
  config {
    max_browsers = 100
    max_tabs     = 10000
    egress {
      rule {
        action    = "allow"
        addresses = ["loopback"]
      }
    }
  }
}
`

// browserPages measures pages that are opened and taken pictures of.
func browserPages(ctx context.Context, o Options) (result *Result, err error) {
	if o.Rounds <= 0 {
		o.Rounds = browserRounds
	}
	if o.Round <= 0 {
		o.Round = browserRound
	}
	site := newSite()
	defer site.Close()
	ours, err := housePath(ctx, o, "gaia", browserSubsystem, browserConfig, byLink)
	if err != nil {
		return nil, fmt.Errorf("browser: %w", err)
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	b := &browserBench{Options: o, site: site, ours: ours}
	if err := b.prepare(ctx); err != nil {
		return nil, fmt.Errorf("browser: %w", err)
	}
	result = &Result{Name: "browser", Machine: machine()}
	for _, measure := range []func(context.Context) (Table, error){
		func(ctx context.Context) (Table, error) { return b.pages(ctx, 4) },
		func(ctx context.Context) (Table, error) { return b.pages(ctx, 8) },
		b.kills, b.tabs, b.cold,
	} {
		table, err := measure(ctx)
		if err != nil {
			return nil, fmt.Errorf("browser: %w", err)
		}
		result.Tables = append(result.Tables, table)
	}
	return result, nil
}

type browserBench struct {
	Options

	site      *httptest.Server
	ours      *path
	puppeteer string // where Node finds it; "" for nowhere
	program   string // the browser, of both

	job atomic.Int64 // the newest
}

// prepare opens a first page, and finds out what is to be compared with.
func (b *browserBench) prepare(ctx context.Context) error {
	if err := b.shoot(b.ours.conn, isolationReset)(ctx); err != nil {
		return err
	}
	directory, err := puppeteerDirectory(ctx)
	if found := browsers(b.host()); err == nil && len(found) > 0 {
		b.puppeteer = directory
		b.program, err = os.Readlink(fmt.Sprintf("/proc/%d/exe", found[0]))
		return err
	}
	b.progress("browser: %s", puppeteerAbsent)
	return nil
}

// host is the process whose tree has the plugin and its browsers.
func (b *browserBench) host() int { return b.ours.house.cmd.Process.Pid }

// shoot returns what opens a page and takes a picture of it, and looks at both.
func (b *browserBench) shoot(conn grpc.ClientConnInterface, isolation uint64) func(context.Context) error {
	page := shotPage(isolation)
	return func(ctx context.Context) error {
		job := b.job.Add(1)
		request := fields(nil).text(1, fmt.Sprintf("%s/?job=%d", b.site.URL, job)).text(2, string(page))
		answer := new(emptypb.Empty)
		if err := conn.Invoke(ctx, screenshotMethod, request.message(), answer, grpc.StaticMethod()); err != nil {
			return err
		}
		return rightShot(job, bytesIn(field(answer, 2), 2), field(answer, 1))
	}
}

// shotPage is how pages are opened, a gaia.browser.v1.Page.
func shotPage(isolation uint64) fields {
	viewport := fields(nil).number(1, shotWidth).number(2, shotHeight)
	page := fields(nil).number(3, isolation).text(5, string(viewport))
	if isolation == isolationReset {
		page = page.text(2, "bench") // wiped tabs are kept for their client
	}
	return page
}

// browserLoad is what callers did for a while.
type browserLoad struct {
	took    time.Duration
	samples []time.Duration // of jobs that ended well
	failed  int
	reason  error // of the first that failed
}

// doJobs lets callers do jobs for a while, and each of them one at least.
func doJobs(ctx context.Context, callers int, length time.Duration, job func(context.Context) error) *browserLoad {
	l := &browserLoad{}
	var mu sync.Mutex
	note := func(took time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			l.samples = append(l.samples, took)
			return
		}
		l.failed++
		if l.reason == nil {
			l.reason = err
		}
	}
	began := time.Now()
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for {
				start := time.Now()
				err := job(ctx)
				note(time.Since(start), err)
				if ctx.Err() != nil || time.Since(began) >= length {
					return
				}
			}
		})
	}
	group.Wait()
	l.took = time.Since(began)
	return l
}

// way is one way to open pages.
type way struct {
	what string
	root int // process whose tree does it, this one aside
	load func(ctx context.Context, length time.Duration) (*browserLoad, error)
}

// ways are those of so many callers, puppeteer-cluster first, if it is there. The
// caller calls end.
func (b *browserBench) ways(ctx context.Context, callers int) (all []way, end func(), err error) {
	end = func() {}
	if b.puppeteer != "" {
		c, err := launchCluster(ctx, b.puppeteer, b.program, b.site.URL, callers)
		if err != nil {
			return nil, nil, err
		}
		all, end = append(all, way{puppeteer + ", a context for each", c.cmd.Process.Pid, c.load}), c.close
	}
	for _, w := range []struct {
		what      string
		isolation uint64
	}{{"gaia, strict", isolationStrict}, {"gaia, reset", isolationReset}} {
		job := b.shoot(b.ours.conn, w.isolation)
		all = append(all, way{w.what, b.host(), func(ctx context.Context, length time.Duration) (*browserLoad, error) {
			return doJobs(ctx, callers, length, job), ctx.Err()
		}})
	}
	return all, end, nil
}

// round measures a way once. No job may fail.
func (w way) round(ctx context.Context, length time.Duration) (Figures, error) {
	used := func() (time.Duration, bool) {
		own, ownKnown := cpuTime([]int{os.Getpid()}) // the site, and callers of ours
		theirs, known := treeCPU(w.root)
		return own + theirs, known && ownKnown
	}
	before, known := used()
	l, err := w.load(ctx, length)
	if err == nil && l.failed > 0 {
		err = fmt.Errorf("%d of %d jobs failed: %w", l.failed, l.failed+len(l.samples), l.reason)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.what, err)
	}
	after, still := used()
	slices.Sort(l.samples)
	jobs := float64(len(l.samples))
	figures := Figures{
		"jobs_per_second": jobs / l.took.Seconds(),
		"p50_ms":          milliseconds(quantile(l.samples, 0.50)),
		"p95_ms":          milliseconds(quantile(l.samples, 0.95)),
	}
	if known && still {
		figures["cpu_ms"] = milliseconds(after-before) / jobs
	}
	return figures, nil
}

// pages measures the ways by turns. The first round of all warms up, and has no
// figures.
func (b *browserBench) pages(ctx context.Context, callers int) (Table, error) {
	b.progress("browser: %d callers open pages, %d rounds of %v", callers, b.Rounds, b.Round)
	t := Table{Title: fmt.Sprintf("%d callers open a page, check its title and take a picture", callers), Columns: []Column{
		{Name: "jobs_per_second", Head: "JOBS/S", Digits: 1},
		{Name: "jobs_min", Head: "MIN", Digits: 1},
		{Name: "jobs_max", Head: "MAX", Digits: 1},
		{Name: "ratio", Head: "RATIO", Digits: 2},
		{Name: "p50_ms", Head: "P50", Unit: "ms"},
		{Name: "p95_ms", Head: "P95", Unit: "ms"},
		{Name: "cpu_ms", Head: "CPU/JOB", Unit: "ms"},
	}}
	ways, end, err := b.ways(ctx, callers)
	if err != nil {
		return t, err
	}
	defer end()
	rounds := make([][]Figures, len(ways))
	for round := range b.Rounds + 1 {
		for i, w := range ways {
			figures, err := w.round(ctx, b.Round)
			if err != nil {
				return t, err
			}
			if round > 0 {
				rounds[i] = append(rounds[i], figures)
			}
		}
	}
	for i, w := range ways {
		if b.puppeteer != "" {
			ratios(rounds[i], rounds[0], "jobs_per_second")
		}
		t.Rows = append(t.Rows, withRange(medians(w.what, rounds[i])))
	}
	if b.puppeteer == "" {
		t.Rows = append(t.Rows, Row{What: puppeteerAbsent})
	}
	return t, nil
}

// withRange adds the slowest and the fastest round.
func withRange(row Row) Row {
	least, most := row.Rounds[0]["jobs_per_second"], row.Rounds[0]["jobs_per_second"]
	for _, r := range row.Rounds {
		least, most = min(least, r["jobs_per_second"]), max(most, r["jobs_per_second"])
	}
	row.Figures["jobs_min"], row.Figures["jobs_max"] = least, most
	return row
}
