// Package shape holds traffic to so many bytes a second: in total, of each
// client, and with each host, for each direction on its own, and shares fairly
// what there is.
//
// Nothing is delayed here. Who moves bytes asks first (Meter.Take) and is told
// how many may pass now; what it did not need it gives back (Meter.Return).
//
// Every limit is a line: a bucket that fills at the limit's rate, and a queue of
// those who want some of it. A flow stands in the line of its host, then in that
// of its client, then in the total's, and what it is granted is the least that
// these agree on. Narrow lines come first, so that the wide ones are asked
// only for what can be used.
//
// A line is fair by virtual time (start-time fair queueing: Goyal, Vin, Cheng,
// 1996), twice: between the clients that wait in it, and between the flows of
// each of them. Each has a tag, the bytes it was granted so far; the lowest is
// served next, and who comes back after it wanted nothing starts from the tag
// that is being served, so that nobody saves up (enter says it exactly). So a flow that wants less than
// its share is always next, and gets what it wants; the rest is divided equally
// among the others, which is max-min fairness; and forty connections of one
// client have together what the one connection of another has.
//
// A grant is what a flow may expect of its line in 100 ms, but never more than
// the whole line carries in 20 ms (quantum says why). Nobody waits on a clock of
// their own: a line has one timer, set to when the next grant will be full, and
// only while somebody waits. A flow without any limit takes no lock.
package shape

import (
	"sync"
	"time"
)

// Limits are bytes a second in each direction; 0 is no limit.
type Limits struct {
	Up   uint64 // to the host
	Down uint64 // from the host
}

// Rules are all limits. The zero value limits nothing.
type Rules struct {
	Total     Limits            // of everything together
	PerClient Limits            // of each client's flows together
	PerHost   Limits            // of the flows to each host together
	Clients   map[string]Limits // of single clients, each in place of PerClient as a whole
}

// Shaper knows the flows and shares the limits between them. It is safe for
// concurrent use and has no goroutines: nothing is to be closed.
type Shaper struct {
	up, down direction
}

// New returns a Shaper without limits.
func New() *Shaper {
	s := &Shaper{}
	for _, d := range []*direction{&s.up, &s.down} {
		d.total = newLine(d, 0, time.Now())
		d.clients, d.hosts = map[string]*line{}, map[string]*line{}
	}
	return s
}

// Set puts rules in place of those before, at once, for the flows that there are
// and for those who wait, too.
func (s *Shaper) Set(rules Rules) {
	s.up.set(rates{total: rules.Total.Up, client: rules.PerClient.Up, host: rules.PerHost.Up, clients: each(rules.Clients, Limits.up)})
	s.down.set(rates{total: rules.Total.Down, client: rules.PerClient.Down, host: rules.PerHost.Down, clients: each(rules.Clients, Limits.down)})
}

func (l Limits) up() uint64   { return l.Up }
func (l Limits) down() uint64 { return l.Down }

func each(limits map[string]Limits, rate func(Limits) uint64) map[string]uint64 {
	of := make(map[string]uint64, len(limits))
	for name, l := range limits {
		of[name] = rate(l)
	}
	return of
}

// Join makes a flow of a client (which may be "", that is a client, too) to a
// host. The caller ends it with Leave.
func (s *Shaper) Join(client, host string) *Flow {
	f := &flow{}
	s.up.join(&f.up, client, host)
	s.down.join(&f.down, client, host)
	f.Flow = Flow{Up: &f.up, Down: &f.down, leave: func() {
		s.up.leave(&f.up, client, host)
		s.down.leave(&f.down, client, host)
	}}
	return &f.Flow
}

// Flow is one connection's share of the limits.
type Flow struct {
	Up   *Meter // of what goes to the host
	Down *Meter // of what comes from the host

	once  sync.Once
	leave func()
}

// flow is a Flow and its meters in one allocation.
type flow struct {
	Flow
	up, down Meter
}

// Leave ends the flow. It is called when no Take is under way any more; called
// again, it does nothing.
func (f *Flow) Leave() { f.once.Do(f.leave) }

// direction is all lines of one direction, below one lock: a grant passes
// several of them.
type direction struct {
	total *line

	mu      sync.Mutex
	rates   rates
	clients map[string]*line // of clients with a flow
	hosts   map[string]*line // of hosts with a flow
}

// rates are the Rules of one direction.
type rates struct {
	total, client, host uint64
	clients             map[string]uint64
}

func (r rates) of(client string) uint64 {
	if rate, ok := r.clients[client]; ok {
		return rate
	}
	return r.client
}

func (d *direction) set(r rates) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rates = r
	now := time.Now()
	for _, l := range d.hosts {
		l.set(r.host, now)
	}
	for name, l := range d.clients {
		l.set(r.of(name), now)
	}
	d.total.set(r.total, now)
}

func (d *direction) join(m *Meter, client, host string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.hosts[host] == nil {
		d.hosts[host] = newLine(d, d.rates.host, now)
	}
	if d.clients[client] == nil {
		d.clients[client] = newLine(d, d.rates.of(client), now)
	}
	m.direction = d
	m.places = [...]place{
		{meter: m, line: d.hosts[host]},
		{meter: m, line: d.clients[client]},
		{meter: m, line: d.total},
	}
	for i := range m.places {
		p := &m.places[i]
		p.share = p.line.join(client)
		p.tag = p.share.clock
	}
}

// leave forgets a line with the last of its flows, so that there are never more
// than flows.
func (d *direction) leave(m *Meter, client, host string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range m.places {
		m.places[i].line.leave(client)
	}
	if l := d.hosts[host]; l.flows == 0 {
		l.stop()
		delete(d.hosts, host)
	}
	if l := d.clients[client]; l.flows == 0 {
		l.stop()
		delete(d.clients, client)
	}
}
