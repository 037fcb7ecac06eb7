// Package resolver finds the addresses of names. It asks upstream servers, keeps
// what they say for as long as they allow, and answers other programs, too, if
// it is given an address to listen on.
//
// It validates no signatures (DNSSEC): its upstreams are trusted, or are reached
// by TLS or HTTPS.
package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
	"golang.org/x/net/dns/dnsmessage"
)

// Family says which addresses of a name are wanted.
type Family uint8

// The families. The zero value is both.
const (
	Both Family = iota
	IPv4
	IPv6
)

// Options are what a resolver needs beside its config.
type Options struct {
	// Allow reports whether the listener answers for name, which is in lower
	// case, without a dot at the end and not always a host's. nil allows all.
	// When its answers change, call Flush.
	Allow func(name string) bool

	// AllowAddr reports whether the listener may give away that addr is an
	// address of name. nil allows all. When its answers change, call Flush.
	AllowAddr func(name string, addr netip.Addr) bool

	// Sockets opens those of the listener, which the resolver closes. nil opens
	// new ones.
	Sockets func(ctx context.Context, at netip.AddrPort) (*net.TCPListener, *net.UDPConn, error)

	HostsFile  string // default /etc/hosts
	ResolvConf string // default /etc/resolv.conf
}

// Answer is what is known of a name.
type Answer struct {
	Addrs         []netip.Addr // at least one, IPv6 first; the caller's own
	CanonicalName string       // where CNAME records led to; "" without any
	TTL           time.Duration
	FromCache     bool // no upstream was waited for
	Stale         bool // past its TTL, which is 0 then; upstream is asked, or did not answer
}

// Resolver resolves names. It is safe for concurrent use, and an
// egress.Resolver.
type Resolver struct {
	reader  reader
	cache   *cache
	flights flights
	hosts   *hosts    // nil: names of the hosts file are not known
	conf    *upstream // who is asked
	counts  counts
	door    *listener // nil: none
	now     func() time.Duration
	life    context.Context //nolint:containedctx // ends with Close; flights outlive who started them
	end     context.CancelFunc
}

// New returns a resolver; its listener, if it has one, answers already. Faults
// of config are made with sdk.Invalid, at paths below "resolver". The caller
// closes it.
func New(config *networkv1.Resolver, o Options) (*Resolver, error) {
	start := time.Now()
	return newResolver(config, o, func() time.Duration { return time.Since(start) })
}

// newResolver is New with a clock, which never goes back.
func newResolver(config *networkv1.Resolver, o Options, now func() time.Duration) (*Resolver, error) {
	s, err := settingsFrom(config)
	if err != nil {
		return nil, err
	}
	r := &Resolver{
		reader: reader{minTTL: s.minTTL, maxTTL: s.maxTTL, stale: s.stale, options: o, wires: s.listen.IsValid()},
		cache:  newCache(s.cache),
		now:    now,
	}
	r.flights.open = map[string]*flight{}
	r.life, r.end = context.WithCancel(context.Background())
	if s.hosts {
		r.hosts = newHosts(orElse(o.HostsFile, "/etc/hosts"), &r.reader)
	}
	r.conf = newUpstream(s, orElse(o.ResolvConf, "/etc/resolv.conf"))
	if s.listen.IsValid() {
		if r.door, err = listen(r.life, r, s.listen); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

func orElse(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

// Close ends the listener, all questions under way and all connections, and
// returns when they have ended. Who waits for an answer gets ErrClosed.
func (r *Resolver) Close() error {
	r.flights.mu.Lock()
	r.flights.closed = true
	r.flights.mu.Unlock()
	r.end()
	if r.door != nil {
		r.door.close()
	}
	r.flights.wg.Wait()
	r.conf.close()
	return nil
}

// Flush forgets all answers.
func (r *Resolver) Flush() {
	r.cache.clear()
	if r.hosts != nil {
		r.hosts.forget()
	}
}

// Lookup returns the addresses of host, a name or an address in any spelling.
// The error is a *LookupError.
func (r *Resolver) Lookup(ctx context.Context, host string, family Family) (Answer, error) {
	return r.lookup(ctx, host, family, false)
}

// Refresh is Lookup that asks upstream even if an answer is in the cache, which
// is returned only if upstream does not answer.
func (r *Resolver) Refresh(ctx context.Context, host string, family Family) (Answer, error) {
	return r.lookup(ctx, host, family, true)
}

// LookupNetIP is Lookup as *net.Resolver has it. network is "ip", "ip4" or "ip6".
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	family := Both
	switch network {
	case "ip4":
		family = IPv4
	case "ip6":
		family = IPv6
	}
	return r.AppendLookup(ctx, nil, host, family)
}

// AppendLookup is Lookup that appends the addresses to dst. It allocates nothing
// for what is in the cache and fits in dst.
func (r *Resolver) AppendLookup(ctx context.Context, dst []netip.Addr, host string, family Family) ([]netip.Addr, error) {
	a, literal, err := r.resolve(ctx, host, family, false)
	switch {
	case err != nil:
		return dst, err
	case literal.IsValid():
		return append(dst, literal), nil
	}
	dst = append(dst, a[0].addrs()...)
	return append(dst, a[1].addrs()...), nil
}

func (r *Resolver) lookup(ctx context.Context, host string, family Family, anew bool) (Answer, error) {
	parts, literal, err := r.resolve(ctx, host, family, anew)
	if err != nil {
		return Answer{}, err
	}
	if literal.IsValid() {
		return Answer{Addrs: []netip.Addr{literal}, FromCache: true, TTL: r.reader.maxTTL}, nil
	}
	a := Answer{FromCache: true, TTL: r.reader.maxTTL}
	now := r.now()
	for _, p := range parts {
		if len(p.addrs()) == 0 {
			a.FromCache = a.FromCache && !p.waited
			continue
		}
		a.Addrs = append(a.Addrs, p.entry.addrs...)
		a.CanonicalName = orElse(a.CanonicalName, p.entry.canonical)
		a.TTL = min(a.TTL, max(0, p.entry.expires-now))
		a.FromCache = a.FromCache && !p.waited
		a.Stale = a.Stale || p.entry.ttl > 0 && now >= p.entry.expires
	}
	return a, nil
}

// reply is what became of one question: an entry, or a flight to wait for.
type reply struct {
	entry  *entry
	flight *flight
	waited bool
}

func (p *reply) addrs() []netip.Addr {
	if p.entry == nil {
		return nil
	}
	return p.entry.addrs
}

// resolve returns the answers to the questions for host, IPv6 first, with one
// address at least. Or host is an address itself: literal.
func (r *Resolver) resolve(ctx context.Context, host string, family Family, anew bool) (parts [2]reply, literal netip.Addr, err error) {
	var buf [maxKey]byte
	name, plain := appendName(buf[:0], host)
	if !plain {
		h, problem := egress.ParseHost(host)
		if problem != nil {
			return parts, literal, &LookupError{Host: host, Err: errors.Join(ErrName, problem)}
		}
		if h.Addr.IsValid() {
			return parts, h.Addr, fits(h.Addr, host, family)
		}
		if name, plain = appendName(buf[:0], h.Name); !plain {
			return parts, literal, &LookupError{Host: host, Err: ErrName}
		}
	}
	if family != IPv4 {
		parts[0], err = r.begin(ctx, appendType(name, dnsmessage.TypeAAAA), anew)
	}
	if family != IPv6 && err == nil {
		parts[1], err = r.begin(ctx, appendType(name, dnsmessage.TypeA), anew)
	}
	if err == nil {
		err = r.finish(ctx, &parts)
	}
	if err != nil {
		return parts, literal, &LookupError{Host: host, Err: err}
	}
	return parts, literal, nil
}

// fits is nil if addr is of the family.
func fits(addr netip.Addr, host string, family Family) error {
	if family == IPv4 && !addr.Is4() || family == IPv6 && addr.Is4() {
		return &LookupError{Host: host, Err: ErrNotFound}
	}
	return nil
}

// begin answers key from what is here, or sees to it that upstream is asked.
func (r *Resolver) begin(ctx context.Context, key []byte, anew bool) (reply, error) {
	now := r.now()
	if e := r.local(key, now); e != nil {
		return reply{entry: e}, nil
	}
	if !anew {
		f := r.cache.get(key, now)
		if f.refresh {
			r.refresh(ctx, key)
		}
		if f.entry != nil {
			return reply{entry: f.entry}, nil
		}
	}
	r.counts.misses.Add(1)
	flight, e, err := r.start(ctx, key, anew)
	return reply{entry: e, flight: flight}, err
}

// local answers what no upstream is asked: localhost, and names of the hosts
// file.
func (r *Resolver) local(key []byte, now time.Duration) *entry {
	if isLocal(key) {
		return localhost(key, &r.reader)
	}
	if r.hosts == nil {
		return nil
	}
	return r.hosts.find(key, now)
}

// finish waits for what is under way. It returns an error if there is no
// address in the end.
func (r *Resolver) finish(ctx context.Context, parts *[2]reply) error {
	var failure error
	addrs := 0
	for i := range parts {
		p := &parts[i]
		if p.flight != nil {
			select {
			case <-p.flight.done:
				p.entry, p.waited = p.flight.entry, true
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if p.entry == nil {
			continue
		}
		addrs += len(p.entry.addrs)
		// That there may be an address weighs more than that there is none.
		if e := p.entry.err; e != nil && (failure == nil || errors.Is(failure, ErrNotFound)) {
			failure = e
		}
	}
	if addrs > 0 {
		return nil
	}
	return failure
}
