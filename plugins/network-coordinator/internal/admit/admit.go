// Package admit bounds how many connections are open at once, in total, with
// each host and of each client, and how many are opened per time, in total and
// by each client. Nobody waits: a connection is admitted or refused at once, and
// one that is refused counts nowhere.
package admit

import (
	"cmp"
	"sync"
	"time"
)

// Limits are all bounds; 0 is none. The zero value refuses nothing.
type Limits struct {
	Connections          int // at once; the field max_connections
	ConnectionsPerHost   int
	ConnectionsPerClient int // of those that have none of their own in Clients
	NewConnections       Rate
	Clients              map[string]Client
}

// Client is the bounds of a single client.
type Client struct {
	Connections    int // 0 for ConnectionsPerClient
	NewConnections Rate
}

// Admission counts the connections. It is safe for concurrent use.
type Admission struct {
	mu      sync.Mutex
	limits  Limits
	open    int
	hosts   map[string]int   // with at least one open
	clients map[string]int   // with at least one open
	rate    pace             // of all
	rates   map[string]*pace // of the clients that have one in limits
}

// New returns an Admission with no connection open.
func New(limits Limits) *Admission {
	a := &Admission{hosts: map[string]int{}, clients: map[string]int{}}
	a.Set(limits)
	return a
}

// Set puts limits in place of those before. It closes nothing: where more are
// open than may be, there are no new ones until enough have left. What a rate
// has admitted so far still counts.
func (a *Admission) Set(limits Limits) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.limits = limits
	a.rate.set(limits.NewConnections, now)
	rates := map[string]*pace{}
	for name, c := range limits.Clients {
		if !c.NewConnections.bounds() {
			continue
		}
		p := a.rates[name]
		if p == nil {
			p = &pace{}
		}
		p.set(c.NewConnections, now)
		rates[name] = p
	}
	a.rates = rates
}

// Enter admits a connection of a client (which may be "", that is a client, too)
// to a host, until leave is called; called again, leave does nothing. The error
// is a *Refusal.
func (a *Admission) Enter(client, host string) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if refusal := a.check(client, host); refusal != nil {
		refusal.Client, refusal.Host = client, host
		return nil, refusal
	}
	a.open++
	a.hosts[host]++
	a.clients[client]++
	return sync.OnceFunc(func() { a.leave(client, host) }), nil
}

// check looks at all limits before it takes from the rates, so that a refusal
// takes nothing.
func (a *Admission) check(client, host string) *Refusal {
	if r := a.crowded(client, host); r != nil {
		return r
	}
	own := a.rates[client]
	if !a.rate.bounds() && own == nil {
		return nil
	}
	now := time.Now()
	if wait := a.rate.wait(now); wait > 0 {
		return &Refusal{Limit: NewConnections, Rate: a.rate.Rate, RetryAfter: wait}
	}
	if own != nil {
		if wait := own.wait(now); wait > 0 {
			return &Refusal{Limit: ClientNewConnections, Rate: own.Rate, RetryAfter: wait}
		}
		own.take(now)
	}
	a.rate.take(now)
	return nil
}

// crowded refuses what would be one connection too many.
func (a *Admission) crowded(client, host string) *Refusal {
	refuse := func(limit Limit, open, most int) *Refusal {
		if most == 0 || open < most {
			return nil
		}
		return &Refusal{Limit: limit, Open: open, Most: most}
	}
	ofClient, most := ClientConnections, a.limits.Clients[client].Connections
	if most == 0 {
		ofClient, most = ConnectionsPerClient, a.limits.ConnectionsPerClient
	}
	return cmp.Or(
		refuse(MaxConnections, a.open, a.limits.Connections),
		refuse(ConnectionsPerHost, a.hosts[host], a.limits.ConnectionsPerHost),
		refuse(ofClient, a.clients[client], most),
	)
}

func (a *Admission) leave(client, host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	fewer(a.hosts, host)
	fewer(a.clients, client)
}

// fewer counts one less, and forgets a name with its last, so that a map is
// never larger than what is open.
func fewer(counts map[string]int, name string) {
	if counts[name]--; counts[name] == 0 {
		delete(counts, name)
	}
}
