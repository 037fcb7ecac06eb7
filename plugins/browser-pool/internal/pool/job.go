package pool

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"golang.org/x/net/publicsuffix"
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
	url    string
	page   *browserv1.Page
	repeat bool // it may be done again
	// work takes what is wanted of the page.
	work func(ctx context.Context, tab *page.Tab) error
}

// do does a job in a slot, and again in another one if that crashes.
func (p *Pool) do(ctx context.Context, j job) (*browserv1.PageInfo, *browserv1.Cost, error) {
	begin := time.Now()
	need, err := check(j.url, j.page)
	if err != nil {
		return nil, nil, err
	}
	r, err := p.use()
	if err != nil {
		return nil, nil, err
	}
	select {
	case r.jobs <- struct{}{}:
		defer func() { <-r.jobs }()
	case <-ctx.Done():
		return nil, nil, status.Errorf(codes.ResourceExhausted, "no place was free in time: %d pages load at once (max_jobs)", cap(r.jobs))
	}
	if need.Engine == browserv1.Engine_ENGINE_UNSPECIFIED {
		need.Engine = r.slots.Default
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cmp.Or(j.page.GetTimeout().AsDuration(), defaultTimeout)+defaultTimeout)
		defer cancel()
	}
	cost := &browserv1.Cost{}
	for {
		cost.Attempts++
		info, err := p.attempt(ctx, r, need, j, begin, cost)
		if err == nil {
			cost.Total = durationpb.New(time.Since(begin))
			p.metrics.done(cost)
			return info, cost, nil
		}
		if !j.repeat || !page.IsCrash(err) || cost.GetAttempts() == maxAttempts || ctx.Err() != nil {
			return nil, nil, err
		}
		p.metrics.retries.Inc()
	}
}

// attempt does a job in one slot.
func (p *Pool) attempt(ctx context.Context, r *running, need slot.Need, j job, begin time.Time, cost *browserv1.Cost) (*browserv1.PageInfo, error) {
	s, err := r.slots.Acquire(ctx, need)
	if err != nil {
		return nil, err
	}
	outcome := slot.Hung
	defer func() { r.slots.Release(ctx, s, outcome) }()
	if cost.Queued == nil {
		cost.Queued = durationpb.New(time.Since(begin))
	}
	if len(j.page.GetCredentials()) > 0 || j.page.GetIgnoreCertificates() {
		s.Retire() // browsers do not forget passwords on command
	}
	before, err := s.Tab.Used(ctx)
	if err != nil {
		return nil, s.Tab.Fault(ctx, err, "the tab")
	}
	if err = p.open(ctx, s, j); err == nil {
		err = j.work(ctx, s.Tab)
	}
	var info *browserv1.PageInfo
	if err == nil {
		info, err = s.Tab.Info(ctx)
	}
	if err == nil {
		err = s.Tab.Fault(ctx, spent(ctx, s.Tab, before, cost), "the tab")
	}
	if err == nil || !isHang(ctx, err) {
		outcome = slot.Strict
		if need.Reset {
			outcome = slot.Reset
		}
	}
	if err != nil {
		return nil, err
	}
	info.Engine = s.Product()
	info.Isolation = browserv1.Isolation_STRICT
	if need.Reset {
		info.Isolation = browserv1.Isolation_RESET
	}
	return info, nil
}

// isHang reports whether a page may still be busy with what the job asked of it.
func isHang(ctx context.Context, err error) bool {
	code := status.Code(err)
	return ctx.Err() != nil || code == codes.DeadlineExceeded || code == codes.Canceled || code == codes.Internal
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
	case browserv1.Isolation_STICKY:
		return need, status.Error(codes.InvalidArgument, "page.isolation: STICKY is for sessions: Open one with a name")
	default:
		need.Reset = p.GetClient() != ""
	}
	if p.GetProxy() != "" {
		var err error
		if need.Proxy, err = parseProxy(p.GetProxy()); err != nil {
			return need, status.Errorf(codes.InvalidArgument, "page.proxy: %v", err)
		}
	}
	if p.GetHtml() != "" {
		if address != "" {
			return need, status.Error(codes.InvalidArgument, "url: page.html is shown in its place; set one of them")
		}
		return need, nil
	}
	u, err := parseURL(address)
	if err != nil {
		return need, status.Errorf(codes.InvalidArgument, "url: %v", err)
	}
	need.Site = siteOf(u)
	return need, nil
}

// parseURL takes the URLs that pages may be opened at. The error does not show
// it: it may have secrets.
func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return nil, errors.New("required, unless page.html is set")
	case err != nil:
		return nil, errors.New("not a URL")
	case address == "about:blank":
		return u, nil
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("pages are opened at http and https, and about:blank")
	case u.Hostname() == "":
		return nil, errors.New("it has no host")
	case u.User != nil:
		return nil, errors.New("a user and password belong in page.credentials")
	}
	return u, nil
}

// siteOf is what a renderer is kept for: scheme and registrable domain.
func siteOf(u *url.URL) string {
	domain, err := publicsuffix.EffectiveTLDPlusOne(u.Hostname())
	if err != nil {
		domain = u.Host // an address, or a single name
	}
	return u.Scheme + "://" + domain
}
