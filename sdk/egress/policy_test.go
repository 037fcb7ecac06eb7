package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk"
)

const (
	allow = egressv1.Rule_ALLOW
	deny  = egressv1.Rule_DENY
)

// compiled compiles rules, the first of which is in line 10.
func compiled(t testing.TB, config *egressv1.Egress) *Policy {
	t.Helper()
	p, err := Compile(config, func(path string) string {
		var i int
		if _, err := fmt.Sscanf(path, "rule[%d]", &i); err != nil {
			t.Error(err)
		}
		return fmt.Sprintf("config.hcl:%d", 10+i)
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rules(t testing.TB, rules ...*egressv1.Rule) *Policy {
	t.Helper()
	return compiled(t, &egressv1.Egress{Rule: rules})
}

// to reads "host:port" or "host", of port 443, and an address after a space.
func to(t testing.TB, text string) (Target, netip.Addr) {
	t.Helper()
	text, at, _ := strings.Cut(text, " ")
	if !strings.Contains(text, "]:") && strings.Count(text, ":") != 1 {
		text = "[" + text + "]:443"
	}
	target, err := parseAddress("tcp", text)
	if err != nil {
		t.Fatal(err)
	}
	if at == "" {
		return target, target.Host.Addr
	}
	return target, netip.MustParseAddr(at)
}

func TestTheFirstRuleThatCoversAConnectionDecides(t *testing.T) {
	p := rules(t,
		&egressv1.Rule{Action: deny, Hosts: []string{"secret.example.com", "10.1.2.3"}},
		&egressv1.Rule{Action: allow, Hosts: []string{"*.Example.com", "EXAMPLE.org.", "*.bücher.example"}},
		&egressv1.Rule{Action: allow, Addresses: []string{"10.1.0.0/16", "10.9.9.9", "2a00:1:2:3::/64"}, Ports: []string{"80", "8000-8999"}},
		&egressv1.Rule{Action: deny, Hosts: []string{"example.net"}, Ports: []string{"25"}},
		&egressv1.Rule{Action: deny, Addresses: []string{"9.9.9.0/24", "loopback"}},
		&egressv1.Rule{Action: allow, Hosts: []string{"*.deep.example.com", "local.test"}, Addresses: []string{"any"}},
		&egressv1.Rule{Action: allow, Addresses: []string{"private"}, Clients: []string{"ci", ""}, Ports: []string{"22"}},
	)
	for text, want := range map[string]string{
		"secret.example.com 8.8.8.8":      "rule[0] deny",
		"a.secret.example.com 8.8.8.8":    "rule[1] allow",
		"example.com 8.8.8.8":             "default allow", // not below itself
		"a.b.example.com 8.8.8.8":         "rule[1] allow",
		"a.example.com 10.2.0.1":          "default deny", // a rule that allows covers public addresses
		"a.example.com 127.0.0.1":         "rule[4] deny",
		"notexample.com 8.8.8.8":          "default allow",
		"example.org 8.8.8.8":             "rule[1] allow",
		"www.bücher.example 8.8.8.8":      "rule[1] allow",
		"x:80 10.1.2.3":                   "rule[2] allow", // hosts are what is asked for
		"10.1.2.3:80":                     "rule[0] deny",
		"0x0a.66051:80":                   "rule[0] deny",
		"x:8000 10.1.255.255":             "rule[2] allow",
		"x:8999 10.9.9.9":                 "rule[2] allow",
		"x:9000 10.9.9.9":                 "default deny",
		"x:80 10.2.0.0":                   "default deny",
		"x:80 ::ffff:10.1.0.1":            "rule[2] allow",
		"x:80 64:ff9b::10.1.0.1":          "default deny", // what allows an address does not allow ways to it
		"x:80 2a00:1:2:3:4::":             "rule[2] allow",
		"example.net:25 8.8.8.8":          "rule[3] deny",
		"example.net:26 8.8.8.8":          "default allow",
		"x 9.9.9.9":                       "rule[4] deny",
		"x ::ffff:9.9.9.9":                "rule[4] deny",
		"x 64:ff9b::9.9.9.9":              "rule[4] deny", // what denies an address denies ways to it
		"x 2002:909:909::":                "rule[4] deny",
		"x 2001:0:808:808::f6f6:f6f6":     "rule[4] deny",
		"local.test 127.0.0.1":            "rule[4] deny",
		"local.test 64:ff9b:1::127.0.0.1": "rule[4] deny",
		"local.test 169.254.169.254":      "rule[5] allow",
		"a.deep.example.com 10.2.2.2":     "rule[5] allow",
		"a.deep.example.com 8.8.8.8":      "rule[1] allow",
		"x:22 192.168.1.1":                "rule[6] allow",
		"x:22 fd00:ec2::254":              "default deny", // no private network, but a cloud's
		"x:22 169.254.169.254":            "default deny",
		"x:22 64:ff9b::10.0.0.1":          "default deny",
	} {
		target, addr := to(t, text)
		d := p.Decide(target, addr)
		verb := map[bool]string{true: "allow", false: "deny"}[d.Allowed]
		if got := d.Rule + " " + verb; got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		var denied *Denied
		switch err := p.Check(target, addr); {
		case errors.As(err, &denied) == d.Allowed:
			t.Errorf("%s: Check says %v, Decide %v", text, err, d)
		case denied != nil && cmp.Diff(d, denied.Decision) != "":
			t.Errorf("%s: Check and Decide differ: %s", text, cmp.Diff(d, denied.Decision))
		}
		if p.Name(target) != nil && d.Allowed {
			t.Errorf("%s: allowed, but not to be asked for: %v", text, p.Name(target))
		}
	}
}

func TestClientsAreTheirs(t *testing.T) {
	p := compiled(t, &egressv1.Egress{Default: egressv1.Egress_DENY, Rule: []*egressv1.Rule{
		{Action: allow, Clients: []string{"ci"}, Hosts: []string{"example.com"}},
		{Action: allow, Clients: []string{""}, Hosts: []string{"example.org"}},
	}})
	for _, test := range []struct {
		client, host string
		want         bool
	}{
		{"ci", "example.com", true},
		{"CI", "example.com", false},
		{"", "example.com", false},
		{"", "example.org", true},
		{"ci", "example.org", false},
	} {
		target, addr := to(t, test.host+" 8.8.8.8")
		target.Client = test.client
		if err := p.Check(target, addr); (err == nil) != test.want {
			t.Errorf("%q to %s: %v, want allowed %v", test.client, test.host, err, test.want)
		}
		if err := p.Name(target); (err == nil) != test.want {
			t.Errorf("%q asks for %s: %v, want allowed %v", test.client, test.host, err, test.want)
		}
	}
}

func TestNamesThatNobodyMayReachAreNotAskedFor(t *testing.T) {
	rule := func(a egressv1.Rule_Action, addresses ...string) *egressv1.Rule {
		return &egressv1.Rule{Action: a, Addresses: addresses}
	}
	for name, test := range map[string]struct {
		rules  []*egressv1.Rule
		strict bool
		port   uint16
		want   string // the rule that denies, none if it may be asked for
	}{
		"public by default":            {},
		"nothing by default":           {strict: true, want: "default"},
		"denied":                       {rules: []*egressv1.Rule{rule(deny)}, want: "rule[0]"},
		"denied, and all else":         {rules: []*egressv1.Rule{rule(deny)}, strict: true, want: "rule[0]"},
		"denied in part":               {rules: []*egressv1.Rule{rule(deny, "loopback", "9.9.9.9")}},
		"denied where it may lead":     {rules: []*egressv1.Rule{rule(deny, "public")}, want: "rule[0]"},
		"an exception before":          {rules: []*egressv1.Rule{rule(allow, "10.0.0.7"), rule(deny)}},
		"an exception after":           {rules: []*egressv1.Rule{rule(deny), rule(allow)}, want: "rule[0]"},
		"denied word by word":          {rules: []*egressv1.Rule{rule(deny, "public"), rule(deny, "private"), rule(allow, "public", "private")}, want: "rule[0]"},
		"private is left":              {rules: []*egressv1.Rule{rule(deny, "public"), rule(allow, "any")}},
		"a range of what is denied":    {rules: []*egressv1.Rule{rule(deny, "private"), rule(allow, "10.0.0.0/8", "192.168.1.1")}, strict: true, want: "default"},
		"a range beyond what is":       {rules: []*egressv1.Rule{rule(deny, "private"), rule(allow, "10.0.0.0/7")}, strict: true},
		"a metadata service":           {rules: []*egressv1.Rule{rule(deny, "private"), rule(allow, "fd00:ec2::254")}, strict: true},
		"another port":                 {rules: []*egressv1.Rule{{Action: allow, Ports: []string{"80"}}}, strict: true, port: 443, want: "default"},
		"any port, of one allowed":     {rules: []*egressv1.Rule{{Action: allow, Ports: []string{"80"}}}, strict: true},
		"any port, of one not allowed": {rules: []*egressv1.Rule{{Action: deny, Ports: []string{"80"}}}},
	} {
		config := &egressv1.Egress{Rule: test.rules}
		if test.strict {
			config.Default = egressv1.Egress_DENY
		}
		err := compiled(t, config).Name(Target{Host: Host{Name: "x"}, Port: test.port})
		got := ""
		if denied, ok := errors.AsType[*Denied](err); ok {
			got = denied.Rule
		}
		if got != test.want {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestADenialNamesItsRuleAndWhatToWrite(t *testing.T) {
	p := rules(t,
		&egressv1.Rule{Action: allow, Hosts: []string{"internal.example"}},
		&egressv1.Rule{Action: deny, Hosts: []string{"*.ads.example"}},
		&egressv1.Rule{Action: deny, Addresses: []string{"private", "9.9.9.9"}},
	)
	strict := compiled(t, &egressv1.Egress{Default: egressv1.Egress_DENY})
	unplaced, err := Compile(&egressv1.Egress{Rule: []*egressv1.Rule{{Action: deny}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		policy   *Policy
		to, want string
	}{
		{p, "x.ads.example:80 8.8.8.8", `egress to x.ads.example:80 (8.8.8.8) is denied by rule[1] (config.hcl:11): the rule denies it; to allow it, write a rule before with action = "allow" and hosts = ["x.ads.example"]`},
		{p, "x.ads.example:80", `egress to x.ads.example:80 is denied by rule[1] (config.hcl:11): the rule denies it; to allow it, write a rule before with action = "allow" and hosts = ["x.ads.example"]`},
		{p, "x:80 10.0.0.7", `egress to x:80 (10.0.0.7) is denied by rule[2] (config.hcl:12): the rule denies it; 10.0.0.7 is a private address (10.0.0.0/8); to allow it, write a rule before with action = "allow" and hosts = ["x"] and addresses = ["10.0.0.7"]`},
		{p, "internal.example:80 127.0.0.1", `egress to internal.example:80 (127.0.0.1) is denied by default: no rule allows it; 127.0.0.1 is a loopback address; rule[0] (config.hcl:10) allows the host, but not at this address; if it should, add "127.0.0.1" to its addresses, which are ["public"] if it has none`},
		{p, "0x7f.1:22", `egress to 127.0.0.1:22 is denied by default: no rule allows it; 127.0.0.1 is a loopback address; to allow it, write a rule with action = "allow" and hosts = ["127.0.0.1"] and addresses = ["127.0.0.1"]`},
		{p, "[64:ff9b::a9fe:a9fe]:80", `egress to [64:ff9b::a9fe:a9fe]:80 is denied by default: no rule allows it; 64:ff9b::a9fe:a9fe leads to 169.254.169.254 by NAT64 (64:ff9b::/96), which is a link-local address, where clouds serve metadata (169.254.0.0/16); to allow it, write a rule with action = "allow" and hosts = ["64:ff9b::a9fe:a9fe"] and addresses = ["64:ff9b::a9fe:a9fe"]`},
		{strict, "x", `egress to x:443 is denied by default: no rule allows it; to allow it, write a rule with action = "allow" and hosts = ["x"]`},
		{unplaced, "x", `egress to x:443 is denied by rule[0]: the rule denies it; to allow it, write a rule before with action = "allow" and hosts = ["x"]`},
	} {
		target, addr := to(t, test.to)
		err := test.policy.Name(target)
		if addr.IsValid() {
			err = test.policy.Check(target, addr)
		}
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", test.to, err, test.want)
		}
	}
}

func TestAnAllowedConnectionSaysWhy(t *testing.T) {
	p := rules(t, &egressv1.Rule{Action: allow, Hosts: []string{"a"}, Addresses: []string{"any"}})
	for text, want := range map[string]string{
		"a 10.0.0.1": "allowed by rule[0] (config.hcl:10): the rule allows it",
		"b 8.8.8.8":  "allowed by default: 8.8.8.8 is a public address",
	} {
		target, addr := to(t, text)
		if got := p.Decide(target, addr).String(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestNoAddressAtAllIsDenied(t *testing.T) {
	target, _ := to(t, "x")
	for _, p := range []*Policy{{}, rules(t, &egressv1.Rule{Action: allow, Addresses: []string{"0.0.0.0/0", "::/0"}})} {
		if err := p.Check(target, netip.Addr{}); err == nil {
			t.Error("the zero Addr is allowed")
		}
	}
	// A zone changes nothing: the address is what it is.
	if err := new(Policy).Check(target, netip.MustParseAddr("::1%lo")); err == nil {
		t.Error("::1%lo is allowed")
	}
}

func TestFaultsNameTheirFieldAndWhatToWrite(t *testing.T) {
	config := &egressv1.Egress{Default: 7, Rule: []*egressv1.Rule{
		{},
		{
			Action:    allow,
			Hosts:     []string{"ok", "*", "a.*.b", "*.", "*.10.0.0.1", "10.0.0.0/8", "x:443", "https://x", "[::1]:80", "a b"},
			Addresses: []string{"any", "10.0.0.1/8", "Public", "::ffff:0:0/90", "fe80::1%eth0", "10.0.0.256", ""},
			Ports:     []string{"443", "0", "65536", "9-8", "http", "1-", "-1", "1-2-3", ""},
		},
		{Action: 9},
	}}
	_, err := Compile(config, nil)
	var got []string
	for _, fault := range err.(interface{ Unwrap() []error }).Unwrap() {
		var field *sdk.FieldError
		if !errors.As(fault, &field) {
			t.Fatalf("%v is no FieldError", fault)
		}
		got = append(got, field.Error())
	}
	want := []string{
		`default: 7 is not known; write "public" or "deny"`,
		`rule[0].action: say what becomes of what the rule covers: write "allow" or "deny"`,
		`rule[1].ports[1]: "0": write a port from 1 to 65535, or a range such as "8000-8999"`,
		`rule[1].ports[2]: "65536": write a port from 1 to 65535, or a range such as "8000-8999"`,
		`rule[1].ports[3]: "9-8": write a port from 1 to 65535, or a range such as "8000-8999"`,
		`rule[1].ports[4]: "http": write a port from 1 to 65535, or a range such as "8000-8999"`,
		`rule[1].ports[5]: "1-": write a port from 1 to 65535, or a range such as "8000-8999"`,
		`rule[1].ports[6]: "-1": write a port from 1 to 65535, or a range such as "8000-8999"`,
		`rule[1].ports[7]: "1-2-3": write a port from 1 to 65535, or a range such as "8000-8999"`,
		`rule[1].ports[8]: "": write a port from 1 to 65535, or a range such as "8000-8999"`,
		`rule[1].addresses[1]: "10.0.0.1/8": the address has bits that are not in the range; write "10.0.0.0/8"`,
		`rule[1].addresses[2]: "Public": write an address such as "192.0.2.7", a range such as "10.1.0.0/16", "public", "private", "loopback" or "any"`,
		`rule[1].addresses[3]: "::ffff:0:0/90": the address has bits that are not in the range; write "::ffc0:0:0/90"`,
		`rule[1].addresses[4]: "fe80::1%eth0": write an address such as "192.0.2.7", a range such as "10.1.0.0/16", "public", "private", "loopback" or "any"`,
		`rule[1].addresses[5]: "10.0.0.256": write an address such as "192.0.2.7", a range such as "10.1.0.0/16", "public", "private", "loopback" or "any"`,
		`rule[1].addresses[6]: "": write an address such as "192.0.2.7", a range such as "10.1.0.0/16", "public", "private", "loopback" or "any"`,
		`rule[1].hosts[1]: "*": leave hosts out for all hosts`,
		`rule[1].hosts[2]: "a.*.b": "*" stands only at the start, as in "*.example.com"`,
		`rule[1].hosts[3]: "*.": it is empty; write a name or an address`,
		`rule[1].hosts[4]: "*.10.0.0.1": nothing lies below an address`,
		`rule[1].hosts[5]: "10.0.0.0/8": a range of addresses stands in addresses, not in hosts`,
		`rule[1].hosts[6]: "x:443": write the host alone, without a port or a scheme; ports stand in ports`,
		`rule[1].hosts[7]: "https://x": write the host alone, without a port or a scheme; ports stand in ports`,
		`rule[1].hosts[8]: "[::1]:80": it is no IPv6 address; write one like 2001:db8::1 or [2001:db8::1]`,
		`rule[1].hosts[9]: "a b": ' ' is in no name; letters, digits, '-', '_' and '.' are`,
		`rule[2].action: say what becomes of what the rule covers: write "allow" or "deny"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults differ (-want +got):\n%s", diff)
	}
}

func TestFaultsOfAPluginsConfigHaveItsPaths(t *testing.T) {
	_, err := Configure(t.Context(), "egress", &egressv1.Egress{Rule: []*egressv1.Rule{{Action: allow, Ports: []string{"x"}}}})
	var field *sdk.FieldError
	if !errors.As(err, &field) || field.Path != "egress.rule[0].ports[0]" {
		t.Errorf("%v, want one of egress.rule[0].ports[0]", err)
	}
}

// Many ranges of one rule are joined; none of their ends are lost.
func TestRangesThatOverlapAreOne(t *testing.T) {
	p := compiled(t, &egressv1.Egress{Default: egressv1.Egress_DENY, Rule: []*egressv1.Rule{{
		Action:    allow,
		Addresses: []string{"10.0.0.0/8", "10.2.0.0/16", "11.0.0.0/24", "11.0.0.128/25", "9.0.0.1", "::/0", "255.255.255.255", "0.0.0.0"},
		Ports:     []string{"10-20", "15-30", "12", "40", "65535", "1"},
	}}})
	for text, want := range map[string]bool{
		"x:10 10.0.0.0": true, "x:10 10.255.255.255": true, "x:10 11.0.0.255": true, "x:10 11.0.1.0": false, "x:10 9.0.0.1": true,
		"x:10 9.0.0.0": false, "x:10 9.0.0.2": false, "x:10 255.255.255.255": true, "x:10 255.255.255.254": false, "x:10 0.0.0.0": true,
		"x:10 ::1": true, "x:10 ffff::": true, "x:9 10.0.0.0": false, "x:20 10.0.0.0": true, "x:30 10.0.0.0": true, "x:31 10.0.0.0": false,
		"x:40 10.0.0.0": true, "x:41 10.0.0.0": false, "x:65535 10.0.0.0": true, "x:1 10.0.0.0": true, "x:2 10.0.0.0": false,
	} {
		target, addr := to(t, text)
		if err := p.Check(target, addr); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", text, err, want)
		}
	}
}
