package resolver

import (
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
	"github.com/google/go-cmp/cmp"
)

var _ egress.Resolver = (*Resolver)(nil)

func TestANameIsAskedForOnceAndKeptForItsTTL(t *testing.T) {
	s := serve(t, has(a("www.example.", 60, "192.0.2.1"), a("www.example.", 300, "192.0.2.2"), a("www.example.", 60, "2001:db8::1")))
	r, clock := start(t, &networkv1.Resolver{}, Options{}, s)
	got, err := r.Lookup(t.Context(), "WWW.Example.", Both)
	want := Answer{Addrs: addrs("2001:db8::1", "192.0.2.1", "192.0.2.2"), TTL: time.Minute}
	if diff := cmp.Diff(want, got, cmp.Comparer(sameAddr)); diff != "" || err != nil {
		t.Fatal(err, diff)
	}
	clock.add(45 * time.Second)
	got, err = r.Lookup(t.Context(), "www.example", Both)
	want.TTL, want.FromCache = 15*time.Second, true
	if diff := cmp.Diff(want, got, cmp.Comparer(sameAddr)); diff != "" || err != nil {
		t.Fatal(err, diff)
	}
	if n := s.queries.Load(); n != 2 {
		t.Errorf("%d queries for an A and an AAAA question", n)
	}
}
