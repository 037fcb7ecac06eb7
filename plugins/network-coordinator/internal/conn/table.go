package conn

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/admit"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/relay"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/shape"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
)

// Way is where connections may lead, and for how long. A config has one; nobody
// writes to it.
type Way struct {
	Dialer   *egress.Dialer // with its Policy
	Idle     time.Duration
	Lifetime time.Duration // 0 is no bound
}

// Observer is told what becomes of connections. Its methods do not block.
type Observer interface {
	// Connected took that long, from the rules to the open connection.
	Connected(door networkv1.Door, took time.Duration)
	// Ended is called once for each that was Connected.
	Ended(door networkv1.Door, why Reason)
	// Refused is called for each that was one too many.
	Refused(*admit.Refusal)
}

// Table has the open connections. It is safe for concurrent use.
type Table struct {
	admission *admit.Admission
	shaper    *shape.Shaper
	observer  Observer
	relay     relay.Relay
	way       atomic.Pointer[Way]

	mu     sync.Mutex
	open   map[uint64]*Conn
	last   uint64                          // id
	empty  chan struct{}                   // closed when none is open; nil if nobody waits
	before struct{ sent, received uint64 } // by connections that have ended
	closed bool
}

// NewTable returns an empty table, through which nothing can be opened before
// Use. The caller closes it.
func NewTable(admission *admit.Admission, shaper *shape.Shaper, observer Observer) *Table {
	return &Table{admission: admission, shaper: shaper, observer: observer, open: map[uint64]*Conn{}}
}

// Open opens a connection to the target. The error is an *egress.Denied, an
// *egress.DialError, an *admit.Refusal, or net.ErrClosed.
func (t *Table) Open(ctx context.Context, door networkv1.Door, target egress.Target) (*Conn, error) {
	way := t.way.Load()
	if way == nil {
		return nil, net.ErrClosed
	}
	begun := time.Now()
	host := target.Host.String()
	leave := func() {}
	// What no rule allows takes nothing of the limits; the dialer says so.
	if policy := way.Dialer.Policy; policy.ReportOnly() || policy.Name(target) == nil {
		var err error
		if leave, err = t.admission.Enter(target.Client, host); err != nil {
			if refusal, ok := errors.AsType[*admit.Refusal](err); ok {
				t.observer.Refused(refusal)
			}
			return nil, err
		}
	}
	dialled, err := way.Dialer.Dial(ctx, target)
	if err != nil {
		leave()
		return nil, err
	}
	c := &Conn{Target: target, Door: door, Opened: time.Now(), table: t}
	c.host, _ = dialled.(*net.TCPConn) // what the dialer promises
	c.Addr = addressOf(c.host)
	c.Rule = way.Dialer.Policy.Decide(target, c.Addr).Rule
	c.life, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.flow, c.leave = t.shaper.Join(target.Client, host), leave
	c.since = c.Opened
	if !t.add(c) {
		c.Close(Shutdown)
		return nil, net.ErrClosed
	}
	t.observer.Connected(door, time.Since(begun))
	if now := t.way.Load(); now != way && !now.allows(c) {
		c.Close(Revoked)
		return nil, now.Dialer.Policy.Check(target, c.Addr)
	}
	return c, nil
}

func addressOf(c net.Conn) netip.Addr {
	at, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return at.Addr().Unmap()
}

func (w *Way) allows(c *Conn) bool {
	policy := w.Dialer.Policy
	return policy.ReportOnly() || policy.Check(c.Target, c.Addr) == nil
}

func (t *Table) add(c *Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	c.id = t.last
	if t.closed {
		return false
	}
	t.open[c.id] = c
	return true
}

// remove is called once for each connection.
func (t *Table) remove(c *Conn, why Reason) {
	t.mu.Lock()
	_, was := t.open[c.id]
	delete(t.open, c.id)
	t.before.sent += c.sent.Load()
	t.before.received += c.received.Load()
	if len(t.open) == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
	t.mu.Unlock()
	if was {
		t.observer.Ended(c.Door, why)
	}
}

// Use puts a way into force: for all that will be opened, and for all that is
// open. It returns how many connections it ended because the way denies them.
func (t *Table) Use(way *Way) int {
	t.way.Store(way)
	revoked := 0
	for _, c := range t.all() {
		if !way.allows(c) && c.End(Revoked) {
			revoked++
		}
	}
	return revoked
}

// Filter says which connections are meant; an empty field all.
type Filter struct{ ID, Client, Host string }

func (f Filter) fits(c *Conn) bool {
	return (f.ID == "" || f.ID == c.ID()) &&
		(f.Client == "" || f.Client == c.Target.Client) &&
		(f.Host == "" || f.Host == c.Target.Host.String())
}

// List returns the oldest connections that fit, at most limit, and how many
// there are in all.
func (t *Table) List(f Filter, limit int) (oldest []*networkv1.Connection, total int) {
	now := time.Now()
	fitting := t.fitting(f)
	slices.SortFunc(fitting, func(a, b *Conn) int { return cmp.Compare(a.id, b.id) })
	total = len(fitting)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range fitting[:min(limit, total)] {
		c.look(now)
		oldest = append(oldest, c.describe(now, c.since))
	}
	return oldest, total
}

// CloseAll ends the connections that fit and returns how many.
func (t *Table) CloseAll(f Filter, why Reason) int {
	ended := 0
	for _, c := range t.fitting(f) {
		if c.End(why) {
			ended++
		}
	}
	return ended
}

// Carried returns the bytes that all connections have carried, ended ones
// included.
func (t *Table) Carried() (sent, received uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sent, received = t.before.sent, t.before.received
	for _, c := range t.open {
		sent += c.sent.Load()
		received += c.received.Load()
	}
	return sent, received
}

func (t *Table) all() []*Conn { return t.fitting(Filter{}) }

func (t *Table) fitting(f Filter) []*Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.ID != "" {
		id, _ := strconv.ParseUint(f.ID, 10, 64)
		if c := t.open[id]; c != nil && f.fits(c) {
			return []*Conn{c}
		}
		return nil
	}
	fitting := make([]*Conn, 0, len(t.open))
	for _, c := range t.open {
		if f.fits(c) {
			fitting = append(fitting, c)
		}
	}
	return fitting
}

// Drained returns when no connection is open, or ctx ends.
func (t *Table) Drained(ctx context.Context) error {
	t.mu.Lock()
	if len(t.open) == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	empty := t.empty
	t.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all connections; none can be opened any more. Release frees what
// they shared, once those who carried bytes have returned.
func (t *Table) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.CloseAll(Filter{}, Shutdown)
}

// Release closes what tunnels shared. No tunnel is under way any more.
func (t *Table) Release() { t.relay.Close() }
