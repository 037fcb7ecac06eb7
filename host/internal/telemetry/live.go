package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Live is where the values of a subsystem come from that are read at each
// scrape. Of a function that is nil there is no series. All must be quick and
// safe for concurrent use.
type Live struct {
	InFlight func() int // calls that the bulkhead let pass and that have not ended
	Queued   func() int // calls that wait for the bulkhead
	PID      func() int // of the instance; 0 for none

	// Breaker is 0 for closed, 1 for half-open, 2 for open; of several breakers
	// the largest; below 0 there is none, and no series.
	Breaker func() int
}

// live collects the values that are read at each scrape and kept nowhere.
type live struct {
	subsystems func() []*Subsystem
	trees      func(roots []int) map[int]usage

	inFlight, queued         *prometheus.Desc
	breaker                  *prometheus.Desc
	cpu, resident, openFiles *prometheus.Desc

	mu    sync.Mutex
	spent map[string]spent // by subsystem
}

// usage is what a process and its descendants use at one moment.
type usage struct {
	cpuSeconds float64 // spent by those alive, and by those they waited for
	resident   int64   // bytes
	openFiles  int64
}

// spent turns the CPU time of a process tree, which begins at zero with each
// instance and shrinks when a process leaves the tree, into a counter.
type spent struct {
	pid   int
	last  float64 // of this pid
	total float64
}

func newLive(own names, subsystems func() []*Subsystem) *live {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(own.add(name), help, []string{"subsystem"}, nil)
	}
	return &live{
		subsystems: subsystems,
		trees:      processTrees,
		inFlight:   desc("gaia_calls_in_flight", "Calls admitted by the bulkhead that have not ended."),
		queued:     desc("gaia_calls_queued", "Calls waiting for a bulkhead, the one of all calls or that of a key."),
		breaker:    desc("gaia_breaker_state", "State of the breaker: 0 closed, 1 half-open, 2 open; of those kept by key the largest."),
		cpu:        desc("gaia_process_cpu_seconds_total", "CPU time spent by the subsystem's instances and their descendants, as seen at scrapes."),
		resident:   desc("gaia_process_resident_bytes", "Resident memory of the instance and its descendants; shared pages count once per process."),
		openFiles:  desc("gaia_process_open_fds", "File descriptors open in the instance and its descendants."),
		spent:      make(map[string]spent),
	}
}

// Describe implements prometheus.Collector.
func (l *live) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.inFlight, l.queued, l.breaker, l.cpu, l.resident, l.openFiles} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (l *live) Collect(ch chan<- prometheus.Metric) {
	for _, s := range l.subsystems() {
		if from := s.live.Load(); from != nil {
			readGauge(ch, l.inFlight, from.InFlight, s.name)
			readGauge(ch, l.queued, from.Queued, s.name)
			readGauge(ch, l.breaker, from.Breaker, s.name)
		}
	}
	for name, used := range l.measure() {
		ch <- prometheus.MustNewConstMetric(l.cpu, prometheus.CounterValue, used.cpuSeconds, name)
		ch <- prometheus.MustNewConstMetric(l.resident, prometheus.GaugeValue, float64(used.resident), name)
		ch <- prometheus.MustNewConstMetric(l.openFiles, prometheus.GaugeValue, float64(used.openFiles), name)
	}
}

// measure tells what each subsystem's process tree uses, with the CPU time of
// all instances there were; nil where the system has no way to tell. All trees
// are found in one walk.
func (l *live) measure() map[string]usage {
	pids, roots := make(map[string]int), []int(nil)
	for _, s := range l.subsystems() {
		from := s.live.Load()
		if from == nil || from.PID == nil {
			continue
		}
		pid := from.PID()
		pids[s.name] = pid
		if pid > 0 {
			roots = append(roots, pid)
		}
	}
	trees := l.trees(roots)
	if trees == nil {
		return nil
	}
	all := make(map[string]usage, len(pids))
	for name, pid := range pids {
		used := trees[pid] // zero for no process
		used.cpuSeconds = l.spend(name, pid, used.cpuSeconds)
		all[name] = used
	}
	return all
}

func readGauge(ch chan<- prometheus.Metric, desc *prometheus.Desc, read func() int, subsystem string) {
	if read == nil {
		return
	}
	if value := read(); value >= 0 {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), subsystem)
	}
}

// spend adds what a tree has spent since it was last seen and returns the sum.
func (l *live) spend(name string, pid int, cpuSeconds float64) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.spent[name]
	if pid != s.pid {
		s.pid, s.last = pid, 0
	}
	s.total += max(0, cpuSeconds-s.last)
	s.last = cpuSeconds
	l.spent[name] = s
	return s.total
}
