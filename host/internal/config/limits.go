package config

import (
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/gaia-go/gaia/host/internal/nearest"
)

// maxCalls bounds what one subsystem may have in flight or waiting. Beyond a
// million, the memory of the calls themselves is the limit.
const maxCalls = 1_000_000

// Limits are hard ceilings of one subsystem. Those on its process tree are 0
// for none.
type Limits struct {
	Concurrency int           // calls in flight, at most; at least 1; Max when Adaptive
	Adaptive    bool          // whether the limit moves between Min and Max with what the plugin bears
	Min, Max    int           // of an adaptive limit; at least 1
	Queue       int           // calls that wait for one of these places; 0 refuses at once
	Timeout     time.Duration // of a unary call: both its default and its ceiling
	PerKey      []KeyLimit    // in the order of the file

	Memory    Bytes
	CPU       float64 // cores
	Processes int
	OpenFiles int
}

func defaultLimits() Limits {
	return Limits{Concurrency: 1000, Min: 1, Max: 1000, Queue: 2000, Timeout: 30 * time.Second}
}

func (l *Limits) table() table {
	return table{
		name: "limits",
		doc:  "Hard ceilings. A call that finds the queue full is refused with RESOURCE_EXHAUSTED; one that takes too long ends with DEADLINE_EXCEEDED.",
		arguments: []argument{
			{name: "concurrency", doc: "Calls in flight at once. `\"adaptive\"` finds the best number by itself, from `min` to `max`.", target: concurrencyAt{l}},
			{name: "min", doc: "Least calls in flight that an adaptive concurrency allows.", target: intAt{&l.Min, 1, maxCalls}},
			{name: "max", doc: "Most calls in flight that an adaptive concurrency allows; at least `min`.", target: intAt{&l.Max, 1, maxCalls}},
			{name: "queue", doc: "Calls that wait while all of these are in flight; 0 refuses them at once.", target: intAt{&l.Queue, 0, maxCalls}},
			{name: "timeout", doc: "How long a unary call may take: the default, and the most that a caller can ask for.", target: durationAt{p: &l.Timeout, low: time.Millisecond, high: 24 * time.Hour}},
			{name: "memory", doc: "Memory of the plugin's process tree: of its process and all that it started.", target: bytesAt{&l.Memory, 16 << 20, 1 << 50}},
			{name: "cpu", doc: "Processor cores that the process tree may use, such as `1.5`.", target: coresAt{&l.CPU}},
			{name: "processes", doc: "Processes of the process tree, threads included.", target: intAt{&l.Processes, 1, 1_000_000}},
			{name: "open_files", doc: "Open files of each of its processes.", target: intAt{&l.OpenFiles, 16, 1_000_000}},
		},
		blocks: []table{repeated(&l.PerKey, newKeyLimit, (*KeyLimit).table)},
		checks: []check{{[]string{"concurrency", "min", "max"}, l.checkBounds}},
	}
}

// settle makes Concurrency the ceiling whatever it was written as.
func (l *Limits) settle() {
	if l.Adaptive {
		l.Concurrency = l.Max
	}
}

func (l *Limits) checkBounds(in scope) *hcl.Diagnostic {
	switch {
	case !l.Adaptive && (in.has("min") || in.has("max")):
		return fault(in.place("min", "max"), "Bounds without adaptive concurrency",
			`min and max bound a concurrency that is adaptive. Write concurrency = "adaptive", or remove them.`)
	case l.Adaptive && l.Min > l.Max:
		return fault(in.place("max", "min"), "Minimum above its maximum",
			fmt.Sprintf("min is %d and max is %d. Write a max of at least %d.", l.Min, l.Max, l.Min))
	}
	return nil
}

// concurrencyAt is a number of calls, or the word that leaves it to the host.
type concurrencyAt struct{ l *Limits }

const adaptive = "adaptive"

func (t concurrencyAt) set(v value) *hcl.Diagnostic {
	if v.raw() == adaptive {
		t.l.Adaptive = true
		return nil
	}
	diag := t.number().set(v)
	if diag == nil {
		return nil
	}
	hint, _ := nearest.Name(v.raw(), []string{adaptive})
	return v.fault(diag.Summary, fmt.Sprintf("%s is a whole number from 1 to %d, or %q.", v.name, maxCalls, adaptive), hint)
}

func (t concurrencyAt) number() intAt   { return intAt{&t.l.Concurrency, 1, maxCalls} }
func (t concurrencyAt) form() string    { return t.number().form() + fmt.Sprintf(", or `%q`", adaptive) }
func (t concurrencyAt) current() string { return t.number().current() }
