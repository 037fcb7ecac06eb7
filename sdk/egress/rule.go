package egress

import (
	"net/netip"
	"slices"
	"strconv"
)

// defaultRule is the name of what holds where no rule does.
const defaultRule = "default"

// rule is one rule{} block without its hosts: by these it is found.
type rule struct {
	name    string // "rule[2]"
	place   string // "config.hcl:42", or ""
	allow   bool
	ports   ports
	clients clients
	classes class           // of addresses that are covered as a whole
	addrs   set[netip.Addr] // that are covered, too
	reach   class           // of all addresses that are covered
}

// covers reports whether the rule is about an address. One that denies an IPv4
// address denies the IPv6 addresses that lead there, too; one that allows it
// says nothing about them.
func (r *rule) covers(s *subject) bool {
	if r.classes&s.class != 0 || len(r.addrs) > 0 && r.addrs.has(s.addr) {
		return true
	}
	if r.allow || s.classes == 0 {
		return false
	}
	return r.classes&s.classes != 0 || r.addrs.has(s.inner[0]) || s.inner[1].IsValid() && r.addrs.has(s.inner[1])
}

// ports are those of a rule; none are all.
type ports set[port]

func (p ports) covers(number uint16) bool {
	return len(p) == 0 || set[port](p).has(port(number))
}

// clients are those of a rule, sorted; none are all.
type clients []string

func (c clients) has(name string) bool {
	if len(c) == 0 {
		return true
	}
	_, found := slices.BinarySearch(c, name)
	return found
}

// denial is the decision against a connection by a rule, -1 for the default. It
// says what to write to allow it. The address is the zero subject where the name
// was enough.
func (p *Policy) denial(t Target, s subject, by int) Decision {
	d := Decision{Rule: defaultRule, Reason: "no rule allows it"}
	before := ""
	if by >= 0 {
		r := &p.rules[by]
		d = Decision{Rule: r.name, Place: r.place, Reason: "the rule denies it"}
		before = " before"
	}
	addr := strconv.Quote(s.addr.String())
	if s.addr.IsValid() && s.class != public {
		d.Reason += "; " + s.addr.String() + " " + s.words
	}
	if near := p.near(t, &s); near != nil && s.addr.IsValid() {
		d.Reason += "; " + near.name
		if near.place != "" {
			d.Reason += " (" + near.place + ")"
		}
		d.Reason += " allows the host, but not at this address; if it should, add " + addr + ` to its addresses, which are ["public"] if it has none`
		return d
	}
	d.Reason += "; to allow it, write a rule" + before + ` with action = "allow" and hosts = [` + strconv.Quote(t.Host.String()) + "]"
	if s.addr.IsValid() && s.class != public {
		d.Reason += " and addresses = [" + addr + "]"
	}
	return d
}

// near returns the rule that allows the target before any denies it, were it
// not for the address; nil if there is none.
func (p *Policy) near(t Target, s *subject) *rule {
	for it := p.of(&t.Host); it.next(); {
		r := &p.rules[it.rule]
		switch {
		case !r.ports.covers(t.Port) || !r.clients.has(t.Client):
		case r.allow:
			return r
		case r.covers(s):
			return nil
		}
	}
	return nil
}
