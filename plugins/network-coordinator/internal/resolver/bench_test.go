package resolver

import (
	"fmt"
	"net/netip"
	"testing"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
)

// BenchmarkHit is a lookup that the cache answers: of 1,000 names, one after the
// other.
func BenchmarkHit(b *testing.B) {
	s := serve(b, everything)
	r, err := New(&networkv1.Resolver{Upstreams: []string{s.addr}}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("name%d.bench.example", i)
		if _, err := r.Lookup(b.Context(), names[i], Both); err != nil {
			b.Fatal(err)
		}
	}
	ctx := b.Context()
	for family, name := range map[Family]string{IPv4: "AppendLookup of IPv4", Both: "AppendLookup of both"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]netip.Addr, 0, 8)
			for i := 0; b.Loop(); i++ {
				if _, err := r.AppendLookup(ctx, dst, names[i%len(names)], family); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("AppendLookup of IPv4 on all cores", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			dst := make([]netip.Addr, 0, 8)
			for i := 0; pb.Next(); i++ {
				if _, err := r.AppendLookup(ctx, dst, names[i%len(names)], IPv4); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("Lookup of both", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := r.Lookup(ctx, names[i%len(names)], Both); err != nil {
				b.Fatal(err)
			}
		}
	})
}
