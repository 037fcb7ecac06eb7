package pool

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// maxAttempts of a job whose page or browser crashed: each may have been the
	// fault of another page, three in a row are not.
	maxAttempts = 3

	// defaultTimeout is of opening a page where neither the request nor the call
	// has one, and of what is done with it then.
	defaultTimeout = 30 * time.Second
)

// job is one page that is opened, worked on and thrown away.
type job struct {
	url  string
	page *browserv1.Page
	// limit of the work where the call has no deadline; 0 means defaultTimeout.
	limit time.Duration
	// isDone reports whether something has been done that is not to be done again;
	// nil if nothing ever is.
	isDone func() bool
	// work takes what is wanted of the page.
	work func(ctx context.Context, h hand) error
}

// deadline makes sure that a job ends.
func (j job) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, cmp.Or(j.page.GetTimeout().AsDuration(), defaultTimeout)+cmp.Or(j.limit, defaultTimeout))
}

// do does a job in a slot, and again in another one if that crashes.
func (p *Pool) do(ctx context.Context, j job) (*browserv1.PageInfo, *browserv1.Cost, error) {
	begin := time.Now()
	if j.page.GetIsolation() == browserv1.Isolation_STICKY {
		return nil, nil, invalid("page.isolation", "STICKY is for sessions: Open one with a name")
	}
	need, err := check(j.url, j.page)
	if err != nil {
		return nil, nil, err
	}
	r, err := p.use()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := j.deadline(ctx)
	defer cancel()
	place, err := r.sit(ctx, need.Client)
	if err != nil {
		return nil, nil, err
	}
	defer place.give()
	cost := &browserv1.Cost{}
	info, err := again(ctx, p.metrics, j, func() (*browserv1.PageInfo, error) {
		cost.Attempts++
		return p.attempt(ctx, r, place, need, j, begin, cost)
	})
	cost.Total = durationpb.New(time.Since(begin))
	if err == nil {
		p.metrics.done(cost)
	}
	return info, cost, err
}

// again calls attempt until it succeeds or fails for good, or pages and browsers
// have crashed in it too often.
func again[R any](ctx context.Context, m *metrics, j job, attempt func() (R, error)) (R, error) {
	for n := 1; ; n++ {
		result, err := attempt()
		if err == nil || !page.IsCrash(err) || n == maxAttempts || ctx.Err() != nil || j.isDone != nil && j.isDone() {
			return result, err
		}
		m.retries.Inc()
	}
}

// attempt does a job in one slot.
func (p *Pool) attempt(ctx context.Context, r *running, place *seat, need slot.Need, j job, begin time.Time, cost *browserv1.Cost) (*browserv1.PageInfo, error) {
	s, err := r.acquire(ctx, place, need, j.page)
	if err != nil {
		return nil, err
	}
	outcome := slot.Hung // should this panic
	defer func() { r.slots.Release(s, outcome) }()
	if cost.Queued == nil {
		cost.Queued = durationpb.New(time.Since(begin))
	}
	info, err := p.work(ctx, hand{slot: s, isolation: isolationOf(need), meter: p.metrics}, j, cost)
	outcome = outcomeOf(ctx, need, err)
	return info, err
}

// work opens a job's page and has its work done.
func (p *Pool) work(ctx context.Context, h hand, j job, cost *browserv1.Cost) (*browserv1.PageInfo, error) {
	tab := h.slot.Tab
	before, err := tab.Used(ctx)
	if err != nil {
		return nil, tab.Fault(ctx, err, "the tab")
	}
	if err := p.open(ctx, h.slot, j); err != nil {
		return nil, err
	}
	if err := j.work(ctx, h); err != nil {
		used := tab.Counted() // nothing more can be asked for now
		cost.Requests += used.Requests
		cost.Received += used.Received
		return nil, err
	}
	info, err := h.look(ctx)
	if err == nil {
		err = tab.Fault(ctx, spent(ctx, tab, before, cost), "the tab")
	}
	return info, err
}

// acquire returns a slot, which the caller releases, for who has a place.
func (r *running) acquire(ctx context.Context, place *seat, need slot.Need, p *browserv1.Page) (*slot.Slot, error) {
	if need.Engine == browserv1.Engine_ENGINE_UNSPECIFIED {
		need.Engine = r.slots.Default
	}
	need.Waits = place.give
	s, err := r.slots.Acquire(ctx, need)
	if err != nil {
		return nil, err
	}
	if err := place.take(ctx); err != nil {
		r.slots.Release(s, outcomeOf(ctx, need, nil))
		return nil, err
	}
	if len(p.GetCredentials()) > 0 || p.GetIgnoreCertificates() {
		s.Retire() // browsers do not forget passwords on command
	}
	return s, nil
}

func isolationOf(need slot.Need) browserv1.Isolation {
	if need.Reset {
		return browserv1.Isolation_RESET
	}
	return browserv1.Isolation_STRICT
}

// outcomeOf is how a slot is left by work that ended with an error, or with none.
func outcomeOf(ctx context.Context, need slot.Need, err error) slot.Outcome {
	switch {
	case err != nil && (ctx.Err() != nil || page.MayBeBusy(err)):
		return slot.Hung
	case need.Reset:
		return slot.Reset
	}
	return slot.Strict
}

// open opens the job's page.
func (p *Pool) open(ctx context.Context, s *slot.Slot, j job) error {
	if limit := j.page.GetTimeout().AsDuration(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	begin := time.Now()
	if err := s.Tab.Set(ctx, j.page); err != nil {
		return err
	}
	var err error
	if html := j.page.GetHtml(); html != "" {
		err = s.Tab.Write(ctx, html, j.page.GetWait())
	} else {
		err = s.Tab.Open(ctx, j.url, j.page.GetWait(), s.Outlet.Why)
	}
	if err == nil {
		p.metrics.load.Observe(time.Since(begin).Seconds())
	}
	return err
}

// spent adds what a page has used to the cost of its job. The CPU time is that of
// its renderer, which may be another one than before.
func spent(ctx context.Context, tab *page.Tab, before page.Usage, cost *browserv1.Cost) error {
	after, err := tab.Used(ctx)
	if err != nil {
		return err
	}
	seconds := after.CPU - before.CPU
	if seconds < 0 {
		seconds = after.CPU
	}
	cost.Cpu = durationpb.New(time.Duration(seconds * float64(time.Second)))
	cost.Requests += after.Requests
	cost.Received += after.Received
	return nil
}

// check returns what a page needs a slot to be; the error is InvalidArgument.
func check(address string, p *browserv1.Page) (slot.Need, error) {
	need := slot.Need{Engine: p.GetEngine(), Client: p.GetClient()}
	if err := page.Check(p, "page"); err != nil {
		return need, err
	}
	switch p.GetIsolation() {
	case browserv1.Isolation_STRICT:
	case browserv1.Isolation_RESET:
		need.Reset = true
	case browserv1.Isolation_ISOLATION_UNSPECIFIED, browserv1.Isolation_STICKY:
		need.Reset = p.GetClient() != ""
	}
	if p.GetProxy() != "" {
		var err error
		if need.Proxy, err = parseProxy(p.GetProxy()); err != nil {
			return need, invalid("page.proxy", "%v", err)
		}
	}
	if p.GetHtml() != "" {
		if address != "" {
			return need, invalid("url", "page.html is shown in its place; set one of them")
		}
		return need, nil
	}
	u, err := page.ParseURL(address)
	if err != nil {
		return need, invalid("url", "%v", err)
	}
	need.Site = page.Site(u.Scheme, u.Hostname())
	return need, nil
}

// invalid is the fault of a field of a request.
func invalid(field, format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, "%s: %s", field, fmt.Sprintf(format, args...))
}
