// Package bench measures what this host claims, each beside a fair baseline in
// the same run, on the machine of whoever wants to know.
package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
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
	// Round is how long it is measured each time, if the benchmark takes
	// FlagRound; 0 means the benchmark's own choice.
	Round time.Duration
	// Callers is how many call at once, if the benchmark takes FlagCallers; 0
	// means the benchmark's own choice.
	Callers int
	// Size is how many bytes each call carries, if the benchmark takes FlagSize;
	// 0 means the benchmark's own choice.
	Size int
	// Progress is told what is going on, a line each. Required.
	Progress io.Writer
}

// progress tells one line. It is a courtesy: errors are ignored.
func (o Options) progress(format string, args ...any) {
	_, _ = fmt.Fprintf(o.Progress, format+"\n", args...)
}

// The names of the options that only some benchmarks take, as flags.
const (
	FlagRound   = "round"
	FlagCallers = "callers"
	FlagSize    = "size"
)

// Benchmark measures one claim.
type Benchmark struct {
	Name  string
	Doc   string   // what it measures, in a sentence
	Takes []string // which of the flags above
	Run   func(ctx context.Context, o Options) (*Result, error)
}

// All returns the benchmarks, sorted by name.
func All() []Benchmark {
	return []Benchmark{
		{"browser", "pages opened and taken pictures of, killed browsers and cold starts, beside puppeteer-cluster", []string{FlagRound}, browserPages},
		{"dispatch", "calls per second through the host, beside plain go-plugin", []string{FlagRound, FlagCallers, FlagSize}, dispatch},
		{"dns", "answers from the cache of the network coordinator, beside dnsmasq", []string{FlagRound}, dnsHits},
		{"files", "small files, a stream and 500 callers at once, beside a plain plugin that reads files", []string{FlagRound}, files},
		{"gate", "time of an admitted call in the gate alone, beside a few lines of one's own", []string{FlagRound}, gateAlone},
		{"http", "requests through the API client pool, beside the Go client that it is made of", []string{FlagRound, FlagCallers}, httpGET},
		{"processes", "200 children with logs, restarts, captured output and short runs, beside os/exec", []string{FlagRound}, processes},
		{"proxy", "tunnels through the network coordinator, beside no proxy, squid and tinyproxy", []string{FlagRound}, proxy},
		{"restart", "time from kill -9 of a plugin to the first answered call, beside a relaunch by plain go-plugin", nil, restart},
	}
}

// Result is what a benchmark found.
type Result struct {
	Name    string   `json:"name"`
	Machine string   `json:"machine"`
	Tables  []Table  `json:"tables"`
	Counted *Counted `json:"counted,omitempty"` // by those that make calls through a host and count them
}

// Counted is how many calls were made through hosts, and how many the hosts
// say they were. A benchmark in which the two differ ends with an error.
type Counted struct {
	Calls  uint64 `json:"calls"`
	Metric uint64 `json:"gaia_calls_total"`
}

// Table is rows that may be compared with each other.
type Table struct {
	Title   string   `json:"title"` // "" when the name of the benchmark says it all
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
}

// Column says how one figure of each row is printed.
type Column struct {
	Name   string `json:"name"` // in Row.Figures, with the unit: "p50_ms"
	Head   string `json:"head"`
	Unit   string `json:"unit"` // follows the number; "" for none
	Digits int    `json:"-"`    // after the point
}

// Row is the figures of one thing that was measured. One that is not known on
// this system is absent.
type Row struct {
	What    string    `json:"what"`
	Figures Figures   `json:"figures"`
	Rounds  []Figures `json:"rounds,omitempty"` // of which Figures are the medians
}

// Figures are numbers by the names of columns.
type Figures map[string]float64

// machine says in a line where the figures are from.
func machine() string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}
