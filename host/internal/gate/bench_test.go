package gate

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// shipped is a gate as operators have it: two rates, one of them keyed, a
// breaker, a bulkhead and retries, all so wide that they admit.
func shipped() Config {
	wide := Quota{Events: 10_000_000, Per: time.Second, Burst: 1_000_000}
	return Config{
		Limits:   Limits{Timeout: 30 * time.Second, Concurrency: 1000, Queue: 2000},
		Rates:    []Rate{{Name: "global", Quota: wide, Wait: time.Second}, {Name: "domain", Key: "domain", Quota: wide, Wait: time.Second}},
		Breakers: []Breaker{{Failures: 10, Within: 10 * time.Second, OpenFor: 5 * time.Second}},
		Retry:    Retry{Attempts: 3, Budget: 0.1},
	}
}

// domain is a request with one key.
type domain []byte

func (d domain) Key(name string) ([]byte, bool) { return d, name == "domain" }

func domains(n int) []Keys {
	all := make([]Keys, n)
	for i := range all {
		d := domain(fmt.Sprintf("host-%d.example.com", i))
		all[i] = &d
	}
	return all
}

func answered(context.Context, *Call) Result { return Result{} }

// BenchmarkGate is one admitted call through the whole gate, by one caller and
// by many, with one domain and with many.
func BenchmarkGate(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		keys := domains(n)
		b.Run(fmt.Sprintf("serial/domains=%d", n), func(b *testing.B) {
			g := New(shipped(), nil)
			var c Call
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c = Call{Start: time.Now(), Keys: keys[i%n]}
				if err := g.Do(b.Context(), &c, answered); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("parallel/domains=%d", n), func(b *testing.B) {
			g := New(shipped(), nil)
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				ctx := b.Context()
				var c Call
				for i := int(next.Add(7919)); pb.Next(); i++ {
					c = Call{Start: time.Now(), Keys: keys[i%n]}
					if err := g.Do(ctx, &c, answered); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkPolicy is each policy alone.
func BenchmarkPolicy(b *testing.B) {
	wide := Quota{Events: 10_000_000, Per: time.Second, Burst: 1_000_000}
	for name, c := range map[string]Config{
		"deadline and bulkhead": {Limits: Limits{Timeout: time.Second, Concurrency: 1000}},
		"rate":                  {Rates: []Rate{{Name: "global", Quota: wide}}},
		"keyed rate":            {Rates: []Rate{{Name: "domain", Key: "domain", Quota: wide}}},
		"breaker":               {Breakers: []Breaker{{Failures: 10, Within: time.Second, OpenFor: time.Second}}},
		"keyed bulkhead":        {PerKey: []KeyLimit{{Key: "domain", Concurrency: 10}}},
		"adaptive bulkhead":     {Limits: Limits{Adaptive: &Adaptive{Min: 1, Max: 1000}}},
		"retry":                 {Retry: Retry{Attempts: 3, Budget: 0.1}},
		"none":                  {},
	} {
		b.Run(name, func(b *testing.B) {
			g := New(c, nil)
			keys := domains(1)[0]
			var call Call
			b.ReportAllocs()
			for b.Loop() {
				call = Call{Start: time.Now(), Keys: keys}
				if err := g.Do(b.Context(), &call, answered); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkKeyedMemory is what one value of a key takes, with a rate and a
// breaker.
func BenchmarkKeyedMemory(b *testing.B) {
	const n = 100_000
	keys := domains(n)
	for b.Loop() {
		g := New(Config{
			Rates: []Rate{{Name: "domain", Key: "domain", Quota: Quota{Events: 1, Per: time.Hour, Burst: 1}}},
		}, nil)
		before := heap()
		for _, k := range keys {
			if err := g.Do(b.Context(), &Call{Keys: k}, answered); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/n, "B/key")
		runtime.KeepAlive(g)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
