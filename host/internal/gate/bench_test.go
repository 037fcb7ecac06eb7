package gate

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// domains are keys whose values were made beforehand.
type domains [][]byte

// one is a request with one of them.
type one struct{ value []byte }

// Key returns the domain.
func (o *one) Key(name string) ([]byte, bool) { return o.value, name == "domain" }

func newDomains(n int) domains {
	all := make(domains, n)
	for i := range all {
		all[i] = fmt.Appendf(nil, "host-%06d.example.com", i)
	}
	return all
}

const muchPerSecond = 1_000_000_000

// whole is a gate with a policy of each kind, none of which turns a call away.
func whole() Config {
	much := Quota{Events: muchPerSecond, Per: time.Second, Burst: 1_000_000}
	return Config{
		Limits: Limits{Timeout: time.Minute, Concurrency: 1000, Queue: 10},
		Rates: []Rate{
			{Name: "global", Quota: much},
			{Name: "domain", Key: "domain", Quota: much},
		},
		Breakers: []Breaker{{Failures: 10, Within: 10 * time.Second, OpenFor: 5 * time.Second}},
		Retry:    Retry{Attempts: 3, Budget: 0.1},
	}
}

// BenchmarkGate is a call through the whole gate, and through gates with less and
// more in them.
func BenchmarkGate(b *testing.B) {
	small := whole()
	small.Rates, small.Breakers = nil, nil
	keyed := whole()
	keyed.Breakers[0].Key = "domain"
	keyed.PerKey = []KeyLimit{{Key: "domain", Concurrency: 1000, Queue: 10}}
	adaptive := whole()
	adaptive.Limits.Adaptive = &Adaptive{Min: 1, Max: 1000}
	for _, c := range []struct {
		name   string
		config Config
		values int
	}{
		{"bulkhead", small, 1},
		{"whole", whole(), 1},
		{"whole-100000-values", whole(), 100_000},
		{"all-keyed", keyed, 1},
		{"adaptive", adaptive, 1},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkGate(b, c.config, newDomains(c.values)) })
	}
}

// benchmarkGate measures calls one after the other and beside each other: by Do,
// where the gate reads the clock, and by TryEnter and Leave, for batches of 32
// calls, for which the caller reads it once.
func benchmarkGate(b *testing.B, config Config, values domains) {
	b.Helper()
	for _, way := range []struct {
		name  string
		batch int
		do    func(context.Context, *Gate, *Call) error
	}{
		{"do", 0, func(ctx context.Context, g *Gate, c *Call) error {
			return g.Do(ctx, c, func(context.Context, *Call) Result { return Result{} })
		}},
		{"try", 32, func(_ context.Context, g *Gate, c *Call) error {
			if entered, err := g.TryEnter(c); !entered {
				return fmt.Errorf("not entered: %w", err)
			}
			return g.Leave(c, Result{})
		}},
	} {
		run := func(ctx context.Context, g *Gate, from int, next func() bool) error {
			c, keys, start := &Call{}, &one{}, time.Time{}
			for i := 0; next(); i++ {
				if way.batch > 0 && i%way.batch == 0 {
					start = time.Now()
				}
				keys.value = values[(from+i*7919)%len(values)]
				*c = Call{Start: start, Keys: keys}
				if err := way.do(ctx, g, c); err != nil {
					return err
				}
			}
			return nil
		}
		b.Run(way.name+"/serial", func(b *testing.B) {
			g := New(config, nil)
			warm := len(values) // each value has a state
			if err := run(b.Context(), g, 0, func() bool { warm--; return warm >= 0 }); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			if err := run(b.Context(), g, 0, b.Loop); err != nil {
				b.Fatal(err)
			}
		})
		b.Run(way.name+"/parallel", func(b *testing.B) {
			g := New(config, nil)
			b.ReportAllocs()
			b.SetParallelism(16)
			var start atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				if err := run(b.Context(), g, int(start.Add(31)), pb.Next); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

func BenchmarkPolicy(b *testing.B) {
	g := New(Config{}, nil).common
	config := whole()
	keyed := KeyLimit{Key: "domain", Concurrency: 1000}
	total := newBulkhead(g)
	total.resize(1000, 0)
	for _, c := range []struct {
		name   string
		policy Policy
	}{
		{"rate", newRate(g, config.Rates[0])},
		{"rate-keyed", newRate(g, config.Rates[1])},
		{"breaker", newBreaker(g, config.Breakers[0])},
		{"bulkhead", total},
		{"bulkhead-keyed", newKeyedBulkhead(g, keyed)},
	} {
		b.Run(c.name, func(b *testing.B) {
			ctx, call := b.Context(), &Call{Keys: &one{[]byte("api.example.com")}}
			call.begin(&chain{keys: 1}, g.clock)
			call.deadline, call.entered = never, true
			b.ReportAllocs()
			for b.Loop() {
				call.now = g.clock.now()
				t, err := pass(ctx, c.policy, call)
				if err != nil {
					b.Fatal(err)
				}
				c.policy.Done(call, t, Success)
			}
		})
	}
}

// BenchmarkBytesPerKey is about the memory that a value takes, which is a
// figure and not a time: look at bytes/key.
func BenchmarkBytesPerKey(b *testing.B) {
	const n = 200_000
	values := newDomains(n)
	g := New(Config{}, nil).common
	for _, c := range []struct {
		name string
		fill func(*keyValue)
	}{
		{"rate", filler(newRate(g, whole().Rates[1]).keyed)},
		{"bulkhead", filler(newKeyedBulkhead(g, KeyLimit{Key: "domain", Concurrency: 1}).keyed)},
		{"breaker", filler(newBreaker(g, Breaker{Key: "domain", Failures: 3}).keyed)},
	} {
		b.Run(c.name, func(b *testing.B) {
			k := g.key("domain")
			before := heap()
			for _, value := range values {
				call := &Call{Keys: &one{value}}
				call.begin(&chain{keys: 1}, g.clock)
				c.fill(k.of(call))
			}
			b.ReportMetric(float64(heap()-before)/n, "bytes/key")
			runtime.KeepAlive(c.fill)
		})
	}
}

// filler makes the state of a value, which nothing drops meanwhile.
func filler[S any](t *table[S]) func(*keyValue) { return func(k *keyValue) { t.add(t.shard(k), k, 0) } }

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
