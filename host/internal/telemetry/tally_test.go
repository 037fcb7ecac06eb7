package telemetry

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// TestTotalsAreExactHoweverManyCount is what lanes must not cost: a call. While
// calls are counted, each scrape has to make sense in itself and beside the one
// before.
func TestTotalsAreExactHoweverManyCount(t *testing.T) {
	const workers, calls = 8, 5000
	m := New("dev")
	do := m.Subsystem("s").Method("/p.v1.S/Do")
	var want [workers]counts
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range calls {
				code := codes.Code(random.IntN(codeCount))
				want[i].byCode[code]++
				if random.IntN(4) == 0 {
					do.ObserveRejected(code)
					continue
				}
				took := time.Duration(random.IntN(40)) * time.Second
				want[i].seconds += took.Seconds()
				bucket, _ := slices.BinarySearch(slices.Collect(edges), took)
				want[i].buckets[bucket]++
				do.Observe(code, took)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	scrapes, before := 0, map[string]float64{}
	for ended := false; !ended; scrapes++ {
		select {
		case <-done:
			ended = true // one more, of all
		default:
		}
		before = scrapeInOrder(t, m, before)
	}
	t.Logf("%d scrapes", scrapes)
	var all counts
	for _, w := range want {
		all.add(w)
	}
	got := do.tally.read()
	if got.byCode != all.byCode || got.buckets != all.buckets || math.Abs(got.seconds-all.seconds) > 1e-3 {
		t.Errorf("got %+v\nwant %+v", got, all)
	}
	if got.calls() != workers*calls {
		t.Errorf("%d calls, want %d", got.calls(), workers*calls)
	}
}

// edges are callEdges as a sequence.
func edges(yield func(time.Duration) bool) {
	for _, edge := range callEdges() {
		if !yield(edge) {
			return
		}
	}
}

// scrapeInOrder checks one scrape against the one before and returns it.
func scrapeInOrder(t *testing.T, m *Metrics, before map[string]float64) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	now := map[string]float64{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "gaia_call") {
			continue
		}
		for _, series := range f.GetMetric() {
			now[f.GetName()+labelsKey(series)] = series.GetCounter().GetValue()
			h := series.GetHistogram()
			if h == nil {
				continue
			}
			now["sum"+labelsKey(series)] = h.GetSampleSum()
			last := uint64(0)
			for _, b := range h.GetBucket() {
				if b.GetCumulativeCount() < last || b.GetCumulativeCount() > h.GetSampleCount() {
					t.Errorf("bucket %v: %d, after %d, of %d", b.GetUpperBound(), b.GetCumulativeCount(), last, h.GetSampleCount())
				}
				last = b.GetCumulativeCount()
				now[labelsKey(series)+number(b.GetUpperBound())] = float64(last)
			}
		}
	}
	for name, value := range before {
		if now[name] < value {
			t.Errorf("%s fell from %v to %v", name, value, now[name])
		}
	}
	return now
}

func TestNoCallIsTimedAndNotCounted(t *testing.T) {
	tally := newTally(newLanes(2))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20000 {
			tally.addTimed(codes.OK, time.Second)
		}
	}()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		if c := tally.read(); c.timed() > c.calls() {
			t.Fatalf("%d timed, %d counted", c.timed(), c.calls())
		}
	}
}

func TestLanesShareNoCacheLine(t *testing.T) {
	if size := unsafe.Sizeof(words{}); size%128 != 0 {
		t.Errorf("%d bytes, want a multiple of 128", size)
	}
}

func TestQuantilesAreThoseOfPrometheus(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		given []time.Duration
		q     float64
		want  time.Duration
	}{
		{[]time.Duration{90 * ms}, .95, 97500 * time.Microsecond}, // 95 % of the way through the bucket of 50 to 100 ms
		{[]time.Duration{0}, .5, 50 * time.Microsecond},
		{[]time.Duration{ms, ms, ms, 400 * ms}, .75, ms},
		{[]time.Duration{ms, ms, ms, 400 * ms}, 1, 500 * ms},
		{[]time.Duration{time.Hour}, .95, MaxP95},
		{[]time.Duration{ms, time.Hour}, .95, MaxP95},
	} {
		tally := newTally(newLanes(1))
		for _, took := range c.given {
			tally.addTimed(codes.OK, took)
		}
		counted := tally.read()
		if got := counted.quantile(c.q); got != c.want {
			t.Errorf("%v of %v is %v, want %v", c.q, c.given, got, c.want)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	m := New("dev").Subsystem("s").Method("/p.v1.S/Do")
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(codes.OK, time.Millisecond)
	}
}

// BenchmarkObserveByAllCores measures what many goroutines take from each
// other, beside a counter and a histogram of Prometheus' own.
func BenchmarkObserveByAllCores(b *testing.B) {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "calls_total", Help: "Calls."})
	var buckets []float64
	for edge := range edges {
		buckets = append(buckets, edge.Seconds())
	}
	histogram := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "call_seconds", Help: "Time.", Buckets: buckets})
	m := New("dev").Subsystem("s").Method("/p.v1.S/Do")
	for name, observe := range map[string]func(){
		"lanes":      func() { m.Observe(codes.OK, time.Millisecond) },
		"prometheus": func() { histogram.Observe(time.Millisecond.Seconds()); counter.Inc() },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					observe()
				}
			})
		})
	}
}

func BenchmarkScrape(b *testing.B) {
	m := New("dev")
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		s := m.Subsystem(name)
		for _, method := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"} {
			s.Method("/p.v1.S/"+method).Observe(codes.OK, time.Millisecond)
		}
	}
	for b.Loop() {
		if _, err := m.registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
