package pool

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/session"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

const (
	// The bounds of OpenRequest.idle_timeout.
	minSessionIdle = time.Second
	maxSessionIdle = 24 * time.Hour

	// maxName is the longest name of a session, bytes.
	maxName = 256
)

// Open begins a session, or returns the one that has the name.
func (p *Pool) Open(ctx context.Context, request *browserv1.OpenRequest) (*browserv1.OpenResponse, error) {
	j := job{url: request.GetUrl(), page: request.GetPage()}
	need, isolation, err := checkOpen(request, &j)
	if err != nil {
		return nil, err
	}
	r, err := p.use()
	if err != nil {
		return nil, err
	}
	owner := session.Owner{Client: request.GetPage().GetClient(), Name: request.GetName(), Idle: r.sessionIdle}
	if request.GetIdleTimeout() != nil {
		owner.Idle = request.GetIdleTimeout().AsDuration()
	}
	ctx, cancel := j.deadline(ctx)
	defer cancel()
	s, reopened, err := r.sessions.Open(ctx, owner, func(ctx context.Context) (session.Page, error) {
		place, err := r.sit(ctx, owner.Client)
		if err != nil {
			return session.Page{}, err
		}
		defer place.give()
		return again(ctx, p.metrics, j, func() (session.Page, error) {
			return p.begin(ctx, r, place, need, j, isolation, request.GetDialogs())
		})
	})
	if err != nil {
		return nil, err
	}
	if reopened {
		p.lookAgain(ctx, s.ID)
	}
	return &browserv1.OpenResponse{Session: s.ID, Page: s.Info(), Reopened: reopened}, nil
}

// lookAgain sees to it that the page of a session is known as it is now, unless it is
// busy: then as it was last seen.
func (p *Pool) lookAgain(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	_ = p.in(ctx, id, func(ctx context.Context, _ *running, h hand) (*browserv1.PageInfo, error) { return h.look(ctx) })
}

// checkOpen returns what a session needs its slot to be, and the isolation that
// it has then; the error is InvalidArgument.
func checkOpen(request *browserv1.OpenRequest, j *job) (slot.Need, browserv1.Isolation, error) {
	var none slot.Need
	if n := len(request.GetName()); n > maxName {
		return none, 0, invalid("name", "%d bytes, limit %d", n, maxName)
	}
	if d := request.GetIdleTimeout(); d != nil && (d.AsDuration() < minSessionIdle || d.AsDuration() > maxSessionIdle) {
		return none, 0, invalid("idle_timeout", "%v, it is %v to %v", d.AsDuration(), minSessionIdle, maxSessionIdle)
	}
	if request.GetPage().GetIsolation() == browserv1.Isolation_STICKY && request.GetName() == "" {
		return none, 0, invalid("page.isolation", "STICKY is a session by its name, and name is not set")
	}
	if j.url == "" && j.page.GetHtml() == "" {
		j.url = "about:blank"
	}
	need, err := check(j.url, j.page)
	isolation := isolationOf(need)
	if request.GetName() != "" {
		isolation = browserv1.Isolation_STICKY
	}
	return need, isolation, err
}

// begin opens a session's page in a slot, which is the session's then.
func (p *Pool) begin(ctx context.Context, r *running, place *seat, need slot.Need, j job, isolation browserv1.Isolation, dialogs *browserv1.DialogPolicy) (opened session.Page, err error) {
	s, err := r.acquire(ctx, place, need, j.page)
	if err != nil {
		return opened, err
	}
	outcome := slot.Hung // should this panic
	defer func() {
		if opened.Slot == nil {
			r.slots.Release(s, outcome)
		}
	}()
	s.Tab.SetDialogs(dialogs)
	var info *browserv1.PageInfo
	err = r.slots.Download(ctx, s, downloadDir(), func(d *browserv1.Download) {
		s.Tab.Tell(&browserv1.EventsResponse{Event: &browserv1.EventsResponse_Download{Download: d}})
	})
	if err == nil {
		err = p.open(ctx, s, j)
	}
	if err == nil {
		info, err = hand{slot: s, isolation: isolation}.look(ctx)
	}
	outcome = outcomeOf(ctx, need, err)
	if err != nil {
		return opened, err
	}
	return session.Page{Slot: s, Info: info, Isolation: isolation, Outcome: outcome, Dir: r.uploads()}, nil
}

// downloadDir is a name for a session's directory, by which the operator finds the
// old ones.
func downloadDir() string { return time.Now().UTC().Format("20060102-150405-") + rand.Text()[:8] }

// uploads is a name for a directory, which whoever has it makes and removes.
func (r *running) uploads() string { return filepath.Join(r.home.Dir(), "uploads-"+rand.Text()) }
