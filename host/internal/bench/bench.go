// Package bench measures what this host claims, each beside a fair baseline in
// the same run, on the machine of whoever wants to know.
package bench

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"time"
)

// Options are what a benchmark needs.
type Options struct {
	// Gaia is the path of this program, which is run as the host. Required.
	Gaia string
	// PluginDir holds the shipped plugins. Required.
	PluginDir string
	// Rounds is how often each thing is measured; 0 means the benchmark's own
	// choice.
	Rounds int
	// Progress is told what is going on, a line each. Required.
	Progress io.Writer
}

// Benchmark measures one claim.
type Benchmark struct {
	Name string
	Doc  string // what it measures, in a sentence
	Run  func(ctx context.Context, o Options) (*Result, error)
}

// All returns the benchmarks, sorted by name.
func All() []Benchmark {
	return []Benchmark{
		{"restart", "time from kill -9 of a plugin to the first answered call, beside a relaunch by plain go-plugin", restart},
	}
}

// Result is what a benchmark found.
type Result struct {
	Name     string `json:"name"`
	Machine  string `json:"machine"`
	Measured []Row  `json:"measured"`
}

// Row is the distribution of one thing that was measured several times. Times
// are in milliseconds.
type Row struct {
	What   string  `json:"what"`
	Rounds int     `json:"rounds"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
}

// newRow sums up samples, of which there is at least one.
func newRow(what string, samples []time.Duration) Row {
	slices.Sort(samples)
	return Row{
		What: what, Rounds: len(samples),
		P50: milliseconds(quantile(samples, 0.50)),
		P99: milliseconds(quantile(samples, 0.99)),
		Max: milliseconds(samples[len(samples)-1]),
	}
}

// quantile is the nearest rank in sorted samples.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func milliseconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e5) / 100 }

// machine says in a line where the figures are from.
func machine() string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}
