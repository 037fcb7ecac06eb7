package gate

import (
	"math"
	"testing"
	"time"
)

func TestTheRuleForAnAdaptiveLimit(t *testing.T) {
	ms := float64(time.Millisecond)
	steadyAt := func(limit, least float64) aimd {
		return aimd{limit: limit, least: []float64{least * ms}, started: true}
	}
	cutFrom := func(from, limit float64, why cause, mean, rate float64) aimd {
		a := steadyAt(limit, 100)
		a.cause, a.before = why, trial{window{mean: mean * ms, rate: rate, used: true}, from}
		a.first = a.before
		return a
	}
	for _, c := range []struct {
		given string
		aimd  aimd
		saw   window
		want  float64
	}{
		{"a limit that is not used up stays", steadyAt(100, 100), window{mean: 500 * ms, rate: 1}, 100},
		{"it grows by its root", steadyAt(100, 100), window{mean: 150 * ms, rate: 1, used: true}, 110},
		{"and by a quarter far from the bound", steadyAt(100, 100), window{mean: 100 * ms, rate: 1, used: true}, 125},
		{"and by half at first", aimd{limit: 100, least: []float64{100 * ms}}, window{mean: 100 * ms, rate: 1, used: true}, 150},
		{"it is cut a little", steadyAt(100, 100), window{mean: 201 * ms, rate: 1, used: true}, 70},
		{"in proportion", steadyAt(100, 100), window{mean: 333.3334 * ms, rate: 1, used: true}, 60},
		{"and by half at the most", steadyAt(100, 100), window{mean: 5000 * ms, rate: 1, used: true}, 50},
		{"a cut that shows in the latency was right", cutFrom(100, 50, cutting, 300, 1), window{mean: 150 * ms, rate: 1, used: true}, 50 + math.Sqrt(50)},
		{"one that shows in the throughput is taken back", cutFrom(100, 50, cutting, 300, 1), window{mean: 300 * ms, rate: 0.5, used: true}, 100},
		{"after one that shows in neither it waits", cutFrom(100, 50, cutting, 300, 1), window{mean: 400 * ms, rate: 0.4, used: true}, 50},
		{"a probe that finds the least goes back", cutFrom(100, 50, probing, 200, 1), window{mean: 110 * ms, rate: 0.9, used: true}, 100},
		{"one that does not goes deeper", cutFrom(100, 50, probing, 800, 1), window{mean: 390 * ms, rate: 1, used: true}, 25},
		{"one that nobody used says nothing", cutFrom(100, 50, probing, 200, 1), window{mean: 110 * ms, rate: 0.1}, 100},
		{"many expiries cut it", steadyAt(100, 100), window{mean: 150 * ms, rate: 1, used: true, expired: 0.6}, 70},
		{"some are looked into", steadyAt(100, 100), window{mean: 150 * ms, rate: 1, used: true, expired: 0.3}, 50},
		{"some that come late do", steadyAt(100, 100), window{mean: 250 * ms, rate: 1, used: true, expired: 0.3}, 70},
	} {
		a := c.aimd
		a.next(c.saw)
		if math.Abs(a.limit-c.want) > 0.01 {
			t.Errorf("%s: limit %.2f, want %.2f", c.given, a.limit, c.want)
		}
	}
}
