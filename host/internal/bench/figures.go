package bench

import (
	"maps"
	"math"
	"slices"
	"time"
)

// medians makes the row of something that was measured in rounds, of which
// there is at least one: each figure is the median of its own.
func medians(what string, rounds []Figures) Row {
	row := Row{What: what, Figures: make(Figures), Rounds: rounds}
	for name := range maps.Keys(rounds[0]) {
		values := make([]float64, len(rounds))
		for i, r := range rounds {
			values[i] = r[name]
		}
		row.Figures[name] = median(values)
	}
	return row
}

// median of at least one value.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[half-1] + sorted[half]) / 2
	}
	return sorted[half]
}

// ratios sets in each round what the figure is in proportion to that of the
// peer in the same round: rounds of one run have the machine's mood in common.
func ratios(rounds, peer []Figures, figure string) {
	for i, r := range rounds {
		r["ratio"] = r[figure] / peer[i][figure]
	}
}

// quantile is the nearest rank in sorted samples, of which there is at least
// one.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func milliseconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e5) / 100 }

func microseconds(d time.Duration) float64 { return d.Seconds() * 1e6 }
