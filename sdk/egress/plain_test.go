package egress

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
)

// plainly decides as egress.proto says it, rule by rule and pattern by pattern.
func plainly(config *egressv1.Egress, t Target, addr netip.Addr) (rule string, allowed bool) {
	s := look(addr)
	for i, r := range config.GetRule() {
		matches := func(list []string, match func(text string) bool) bool {
			return len(list) == 0 || slices.ContainsFunc(list, match)
		}
		addresses := r.GetAddresses()
		if len(addresses) == 0 {
			addresses = []string{"any"}
			if r.GetAction() == allow {
				addresses = []string{"public"}
			}
		}
		if matches(r.GetClients(), func(c string) bool { return c == t.Client }) &&
			matches(r.GetHosts(), func(h string) bool {
				if strings.HasPrefix(h, "*.") {
					return strings.HasSuffix(t.Host.Name, h[1:])
				}
				return h == t.Host.String()
			}) &&
			matches(r.GetPorts(), func(p string) bool {
				first, last, isRange := strings.Cut(p, "-")
				from, _ := strconv.Atoi(first)
				to, _ := strconv.Atoi(last)
				return from == int(t.Port) || isRange && from <= int(t.Port) && int(t.Port) <= to
			}) &&
			matches(addresses, func(a string) bool {
				covered := func(addr netip.Addr) bool {
					s := look(addr)
					if p, err := parsePrefix(a); err == nil {
						return p.Contains(s.addr)
					}
					return s.class&parseWord(a) != 0
				}
				return covered(s.addr) || r.GetAction() == deny && slices.ContainsFunc(s.inner[:], func(inner netip.Addr) bool { return inner.IsValid() && covered(inner) })
			}) {
			return "rule[" + strconv.Itoa(i) + "]", r.GetAction() == allow
		}
	}
	return "default", config.GetDefault() != egressv1.Egress_DENY && s.class == public
}

// some returns up to n of the elements.
func some(random *rand.Rand, n int, of []string) []string {
	var picked []string
	for range random.IntN(n + 1) {
		picked = append(picked, of[random.IntN(len(of))])
	}
	return picked
}

// TestEachDecisionIsThatOfRulesReadOneByOne compares decisions with those of
// code that looks nothing up, for a thousand sets of rules.
func TestEachDecisionIsThatOfRulesReadOneByOne(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	hosts := []string{"a", "b.a", "c.b.a", "x.c.b.a", "aa", "ba", "1.2.3.4", "10.0.0.1", "::1"}
	patterns := append([]string{"*.a", "*.b.a", "*.c.b.a", "*.aa"}, hosts...)
	addresses := []string{"8.8.8.8", "1.2.3.4", "10.0.0.1", "10.9.0.1", "127.0.0.1", "169.254.1.1", "::1", "2a00::1", "fd00::1", "64:ff9b::a00:1", "64:ff9b::808:808", "2002:a09:1::", "::ffff:10.0.0.1"}
	ranges := []string{"public", "private", "loopback", "any", "10.0.0.0/8", "10.0.0.0/16", "8.0.0.0/7", "1.2.3.4", "::/0", "64:ff9b::/96", "2a00::/16", "0.0.0.0/0", "127.0.0.0/8", "::ffff:10.9.0.0/112"}
	ports, clients := []string{"80", "443", "1-100", "90-500"}, []string{"", "ci", "agent"}
	for range 1000 {
		config := &egressv1.Egress{Default: egressv1.Egress_Default(random.IntN(3))}
		for range random.IntN(8) {
			config.Rule = append(config.Rule, &egressv1.Rule{
				Action:    egressv1.Rule_Action(1 + random.IntN(2)),
				Hosts:     some(random, 3, patterns),
				Addresses: some(random, 3, ranges),
				Ports:     some(random, 2, ports),
				Clients:   some(random, 1, clients),
			})
		}
		p, err := Compile(config, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range hosts {
			h, err := ParseHost(host)
			if err != nil {
				t.Fatal(err)
			}
			target := Target{Client: clients[random.IntN(3)], Host: h, Port: []uint16{80, 443, 90}[random.IntN(3)]}
			compare(t, p, config, target, addresses)
		}
	}
}

// compare compares decisions about a target at each of the addresses.
func compare(t *testing.T, p *Policy, config *egressv1.Egress, target Target, addresses []string) {
	t.Helper()
	unasked := target.Host.Name != "" && p.Name(target) != nil
	anyPort := target
	anyPort.Port = 0
	never := target.Host.Name != "" && p.Name(anyPort) != nil
	for _, a := range addresses {
		addr := netip.MustParseAddr(a)
		rule, allowed := plainly(config, target, addr)
		d := p.Decide(target, addr)
		if d.Rule != rule || d.Allowed != allowed || (p.Check(target, addr) == nil) != allowed {
			t.Fatalf("%+v at %s: %v, %v; want %v by %s\n%v", target, a, d, p.Check(target, addr), allowed, rule, config)
		}
		if allowed && (unasked || never) {
			t.Fatalf("%+v at %s is allowed, but the name is not to be asked for: %v, at any port %v\n%v", target, a, unasked, never, config)
		}
	}
}
