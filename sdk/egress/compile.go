package egress

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk"
)

// Configure makes a Policy of the egress{} block at path in the config with
// which a plugin's Configure or Reconfigure was called, such as "egress"; ctx is
// theirs. The policy names its rules by file and line, faults are sdk.Invalid's
// with path before them. No block, nil, allows public addresses and no others.
func Configure(ctx context.Context, path string, config *egressv1.Egress) (*Policy, error) {
	return compile(config, path+".", func(block string) string { return sdk.Place(ctx, block) })
}

// Compile is Configure for a block that is not a plugin's config: faults have
// paths within the block, such as "rule[2].addresses[0]"; place says where
// "rule[2]" is written, and may be nil.
func Compile(config *egressv1.Egress, place func(path string) string) (*Policy, error) {
	if place == nil {
		place = func(string) string { return "" }
	}
	return compile(config, "", place)
}

// compile is Compile for a block whose fields are called with a prefix.
func compile(config *egressv1.Egress, prefix string, place func(path string) string) (*Policy, error) {
	c := compiler{
		names:  make(map[string][]int),
		below:  make(map[string][]int),
		policy: &Policy{addrs: make(map[netip.Addr][]int), reportOnly: config.GetReportOnly()},
	}
	switch config.GetDefault() {
	case egressv1.Egress_DEFAULT_UNSPECIFIED, egressv1.Egress_PUBLIC:
	case egressv1.Egress_DENY:
		c.policy.deny = true
	default:
		c.fault(prefix+"default", `%d is not known; write "public" or "deny"`, config.GetDefault())
	}
	for i, r := range config.GetRule() {
		name := fmt.Sprintf("rule[%d]", i)
		compiled := c.rule(r, prefix+name)
		compiled.name, compiled.place = name, place(prefix+name)
		c.policy.rules = append(c.policy.rules, compiled)
		c.hosts(r.GetHosts(), i, prefix+name)
	}
	if c.faults != nil {
		return nil, errors.Join(c.faults...)
	}
	c.index()
	return c.policy, nil
}

// compiler is a Policy on its way.
type compiler struct {
	policy       *Policy
	names, below map[string][]int // rules by host and by pattern, as they are written
	faults       []error
}

func (c *compiler) fault(path, format string, args ...any) {
	c.faults = append(c.faults, sdk.Invalid(path, format, args...))
}

// each calls parse with the elements of a list, and notes what it says against
// them.
func (c *compiler) each(list []string, path string, parse func(text string) error) {
	for i, text := range list {
		if err := parse(text); err != nil {
			c.fault(fmt.Sprintf("%s[%d]", path, i), "%.80q: %v", text, err)
		}
	}
}

// rule compiles all of a rule but its hosts.
func (c *compiler) rule(r *egressv1.Rule, path string) rule {
	compiled := rule{allow: r.GetAction() == egressv1.Rule_ALLOW}
	if r.GetAction() != egressv1.Rule_ALLOW && r.GetAction() != egressv1.Rule_DENY {
		c.fault(path+".action", `say what becomes of what the rule covers: write "allow" or "deny"`)
	}
	var numbers []span[port]
	c.each(r.GetPorts(), path+".ports", func(text string) error {
		s, err := parsePorts(text)
		numbers = append(numbers, s)
		return err
	})
	compiled.ports = ports(newSet(numbers))
	compiled.clients = slices.Sorted(slices.Values(r.GetClients()))
	c.addresses(r.GetAddresses(), path+".addresses", &compiled)
	return compiled
}

// addresses compiles those of a rule.
func (c *compiler) addresses(list []string, path string, r *rule) {
	if len(list) == 0 {
		r.classes = everything
		if r.allow {
			r.classes = public
		}
	}
	var spans []span[netip.Addr]
	c.each(list, path, func(text string) error {
		if word := parseWord(text); word != 0 {
			r.classes |= word
			return nil
		}
		prefix, err := parsePrefix(text)
		if err == nil {
			spans = append(spans, span[netip.Addr]{prefix.Addr(), last(prefix)})
			r.reach |= classesOf(prefix)
		}
		return err
	})
	r.addrs = newSet(spans)
	r.reach |= r.classes
}

// hosts notes which hosts the rule with number i names.
func (c *compiler) hosts(list []string, i int, path string) {
	if len(list) == 0 {
		c.policy.everywhere = append(c.policy.everywhere, i)
	}
	c.each(list, path+".hosts", func(text string) error {
		suffix, isPattern := strings.CutPrefix(text, "*.")
		host, err := parsePattern(suffix, isPattern)
		switch {
		case err != nil:
			return err
		case isPattern:
			c.below[host.Name] = append(c.below[host.Name], i)
		case host.Addr.IsValid():
			c.policy.addrs[host.Addr] = append(c.policy.addrs[host.Addr], i)
		default:
			c.names[host.Name] = append(c.names[host.Name], i)
		}
		return nil
	})
}

// index gives each name and pattern the rules of all patterns that it lies
// below, so that one look-up finds all rules of a host.
func (c *compiler) index() {
	inherit := func(name string, own []int) []int {
		all := slices.Clone(own)
		for {
			_, parent, ok := strings.Cut(name, ".")
			if !ok {
				slices.Sort(all)
				return slices.Compact(all)
			}
			all = append(all, c.below[parent]...)
			name = parent
		}
	}
	c.policy.names = make(map[string][]int, len(c.names))
	for name, own := range c.names {
		c.policy.names[name] = inherit(name, own)
	}
	c.policy.below = make(map[string][]int, len(c.below))
	for suffix, own := range c.below {
		c.policy.below[suffix] = inherit(suffix, own)
	}
	for addr, own := range c.policy.addrs {
		c.policy.addrs[addr] = slices.Compact(own)
	}
}
