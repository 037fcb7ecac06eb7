package egress

import (
	"fmt"
	"net/netip"
	"testing"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
)

// BenchmarkCheck asks of a name four labels deep, which an allowed connection
// does. Where rules are many, the one that covers it is the last.
func BenchmarkCheck(b *testing.B) {
	many := make([]string, 10_000)
	ranges := make([]string, 10_000)
	single := make([]*egressv1.Rule, 0, 10_001)
	for i := range many {
		many[i] = fmt.Sprintf("*.host-%d.example.com", i)
		ranges[i] = fmt.Sprintf("11.%d.%d.0/25", i/256, i%256)
		single = append(single, &egressv1.Rule{Action: deny, Hosts: many[i : i+1]})
	}
	target := Target{Client: "ci", Host: Host{Name: "api.eu.host-9999.example.com"}, Port: 443}
	plain := netip.MustParseAddr("8.8.8.8")
	for _, bench := range []struct {
		name  string
		rules []*egressv1.Rule
		addr  netip.Addr
	}{
		{"rules=0", nil, plain},
		{"rules=0/ipv6", nil, netip.MustParseAddr("2a00:1450:4001:81b::200e")},
		{"rules=0/nat64", nil, netip.MustParseAddr("64:ff9b::808:808")},
		{"rules=5", []*egressv1.Rule{
			{Action: deny, Hosts: []string{"*.ads.example", "tracker.example"}},
			{Action: deny, Hosts: []string{"*.example.com"}, Ports: []string{"25"}},
			{Action: allow, Addresses: []string{"10.1.0.0/16"}, Clients: []string{"ci"}},
			{Action: deny, Clients: []string{"agent"}},
			{Action: allow, Hosts: []string{"*.example.com"}, Ports: []string{"443", "8000-8999"}},
		}, plain},
		{"rules=1/hosts=10000", []*egressv1.Rule{{Action: allow, Hosts: many}}, plain},
		{"rules=10000/hosts=1", append(single[:9_999:9_999], &egressv1.Rule{Action: allow, Hosts: many[9_999:]}), plain},
		{"rules=1/addresses=10000", []*egressv1.Rule{{Action: allow, Addresses: ranges}}, netip.MustParseAddr("11.39.15.7")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := rules(b, bench.rules...)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Check(target, bench.addr); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseHost(b *testing.B) {
	for _, text := range []string{"api.eu.example.com", "API.Example.com.", "127.0.0.1", "0x7f.1", "2a00:1450::1", "bücher.example"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseHost(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAnAllowedConnectionAllocatesNothing(t *testing.T) {
	p := rules(t,
		&egressv1.Rule{Action: deny, Hosts: []string{"*.ads.example"}},
		&egressv1.Rule{Action: allow, Hosts: []string{"*.example.com"}, Addresses: []string{"public", "10.0.0.0/8"}, Ports: []string{"443"}, Clients: []string{"ci"}},
	)
	target := Target{Client: "ci", Host: Host{Name: "api.example.com"}, Port: 443}
	for _, a := range []string{"8.8.8.8", "10.0.0.7", "2a00::1", "64:ff9b::808:808"} {
		addr := netip.MustParseAddr(a)
		if n := testing.AllocsPerRun(100, func() {
			if p.Name(target) != nil || p.Check(target, addr) != nil {
				t.Error("denied")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", a, n)
		}
	}
}
