package egress

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Target is a connection that somebody asks for.
type Target struct {
	Client string // in whose name; what that is, the plugin says
	Host   Host
	Port   uint16
}

// address returns host and port, as in "example.com:443" or "[::1]:443".
func (t Target) address() string {
	return net.JoinHostPort(t.Host.String(), strconv.Itoa(int(t.Port)))
}

// Decision is what a policy says of one address.
type Decision struct {
	Allowed bool
	Rule    string // that decided: "rule[2]", "default", or "own" where the Dialer's Own did
	Place   string // of the rule, such as "config.hcl:42"; "" where it is not known
	Reason  string // in words; where it is denied, with what to write to allow it
}

// String returns all of it in words.
func (d Decision) String() string {
	verb := "denied"
	if d.Allowed {
		verb = "allowed"
	}
	place := ""
	if d.Place != "" {
		place = " (" + d.Place + ")"
	}
	return verb + " by " + d.Rule + place + ": " + d.Reason
}

// Denied is the error for a connection that rules do not allow. It has no
// secrets: it is meant for the client.
type Denied struct {
	Target
	Decision

	Addr   netip.Addr // that was looked at; invalid where the name was enough
	Passed bool       // whether it was let through, because of report_only
}

func (d *Denied) Error() string {
	addr, is := "", "is "
	if d.Addr.IsValid() && d.Addr != d.Host.Addr {
		addr = " (" + d.Addr.String() + ")"
	}
	if d.Passed {
		is = "would be "
	}
	return "egress to " + d.address() + addr + " " + is + d.String()
}

// Policy is an egress{} block, compiled. It does not change and is safe for
// concurrent use. The zero Policy allows public addresses.
type Policy struct {
	rules      []rule
	names      map[string][]int     // rules that name a host, with those of all patterns that it lies below
	below      map[string][]int     // the same by what stands after "*."
	addrs      map[netip.Addr][]int // rules that name an address as host
	everywhere []int                // rules without hosts
	deny       bool                 // what no rule covers; else only what is not public
	reportOnly bool
}

// ReportOnly reports whether denied connections are to be let through. A Dialer
// does so; Check and Decide say what holds without it.
func (p *Policy) ReportOnly() bool { return p.reportOnly }

// Name returns a *Denied if no address whatever of the target could be allowed,
// so that DNS need not be asked for it, and must not: a question is a way out,
// too. Port 0 stands for any port. Where the host is an address, Name is Check.
func (p *Policy) Name(t Target) error {
	if t.Host.Addr.IsValid() {
		return p.Check(t, t.Host.Addr)
	}
	var denied class
	by := -1
	for it := p.of(&t.Host); it.next(); {
		r := &p.rules[it.rule]
		switch {
		case !r.clients.has(t.Client), !r.ports.covers(t.Port) && t.Port != 0:
		case r.allow && r.reach&^denied != 0:
			return nil
		case !r.allow && r.ports.covers(t.Port):
			if r.classes&^denied&public != 0 {
				by = it.rule // without it, the default would have a say
			}
			denied |= r.classes
		}
	}
	switch {
	case !p.deny && denied&public == 0:
		return nil
	case p.deny && denied != everything:
		by = -1
	}
	return &Denied{Target: t, Decision: p.denial(t, subject{}, by)}
}

// Check returns nil if the target may be reached at addr, else a *Denied. Port 0
// stands for any port.
func (p *Policy) Check(t Target, addr netip.Addr) error {
	s := look(addr)
	by, allowed := p.decide(&t, &s)
	if allowed {
		return nil
	}
	return &Denied{Target: t, Addr: s.addr, Decision: p.denial(t, s, by)}
}

// Decide says whether the target may be reached at addr, and why.
func (p *Policy) Decide(t Target, addr netip.Addr) Decision {
	s := look(addr)
	by, allowed := p.decide(&t, &s)
	switch {
	case !allowed:
		return p.denial(t, s, by)
	case by < 0:
		return Decision{Allowed: true, Rule: defaultRule, Reason: s.addr.String() + " " + s.words}
	}
	r := &p.rules[by]
	return Decision{Allowed: true, Rule: r.name, Place: r.place, Reason: "the rule allows it"}
}

// decide returns the rule that covers a connection, -1 for the default, and
// what follows from it.
func (p *Policy) decide(t *Target, s *subject) (by int, allowed bool) {
	for it := p.of(&t.Host); it.next(); {
		if r := &p.rules[it.rule]; (r.ports.covers(t.Port) || r.allow && t.Port == 0) && r.clients.has(t.Client) && r.covers(s) {
			return it.rule, r.allow
		}
	}
	return -1, !p.deny && s.class == public
}

// of returns the rules that cover a host, in their order.
func (p *Policy) of(h *Host) iterator {
	if h.Addr.IsValid() {
		return iterator{p.addrs[h.Addr], p.everywhere, 0}
	}
	named, ok := p.names[h.Name]
	for rest := h.Name; !ok && len(p.below) > 0; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			break
		}
		rest = rest[dot+1:]
		named, ok = p.below[rest]
	}
	return iterator{named, p.everywhere, 0}
}

// iterator goes through two lists of rules in order, as if they were one.
type iterator struct {
	named, everywhere []int
	rule              int // the current one
}

func (it *iterator) next() bool {
	list := &it.named
	switch {
	case len(it.named) == 0 && len(it.everywhere) == 0:
		return false
	case len(it.named) == 0 || len(it.everywhere) > 0 && it.everywhere[0] < it.named[0]:
		list = &it.everywhere
	}
	it.rule, *list = (*list)[0], (*list)[1:]
	return true
}
