package egress

import (
	"net/netip"
	"testing"

	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
)

func TestPortZeroAsksWhetherAnyPortIsAllowed(t *testing.T) {
	p, err := Compile(&egressv1.Egress{Rule: []*egressv1.Rule{
		{Action: egressv1.Rule_DENY, Addresses: []string{"10.0.0.1"}, Ports: []string{"80"}},
		{Action: egressv1.Rule_DENY, Addresses: []string{"10.0.0.2"}},
		{Action: egressv1.Rule_ALLOW, Addresses: []string{"10.0.0.0/24"}, Ports: []string{"5432"}},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{"10.0.0.1": true, "10.0.0.2": false, "10.0.1.1": false, "8.8.8.8": true} {
		if got := p.Check(Target{Host: Host{Name: "a.example"}}, netip.MustParseAddr(addr)) == nil; got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
}
