package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// live collects the values that are read at each scrape and kept nowhere.
type live struct {
	subsystems func() []*Subsystem
	trees      func(roots []int) map[int]usage

	inFlight, queued         *prometheus.Desc
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
		queued:     desc("gaia_calls_queued", "Calls waiting for the bulkhead."),
		cpu:        desc("gaia_process_cpu_seconds_total", "CPU time spent by the subsystem's instances and their descendants, as seen at scrapes."),
		resident:   desc("gaia_process_resident_bytes", "Resident memory of the instance and its descendants; shared pages count once per process."),
		openFiles:  desc("gaia_process_open_fds", "File descriptors open in the instance and its descendants."),
		spent:      make(map[string]spent),
	}
}

// Describe implements prometheus.Collector.
func (l *live) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.inFlight, l.queued, l.cpu, l.resident, l.openFiles} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. The processes of all subsystems are
// found in one walk.
func (l *live) Collect(ch chan<- prometheus.Metric) {
	pids, roots := make(map[string]int), []int(nil)
	for _, s := range l.subsystems() {
		from := s.live.Load()
		if from == nil {
			continue
		}
		ch <- prometheus.MustNewConstMetric(l.inFlight, prometheus.GaugeValue, float64(from.inFlight()), s.name)
		ch <- prometheus.MustNewConstMetric(l.queued, prometheus.GaugeValue, float64(from.queued()), s.name)
		pid := from.pid()
		pids[s.name] = pid
		if pid > 0 {
			roots = append(roots, pid)
		}
	}
	trees := l.trees(roots)
	if trees == nil {
		return // this system has no way to tell
	}
	for name, pid := range pids {
		used := trees[pid] // zero for no process
		ch <- prometheus.MustNewConstMetric(l.cpu, prometheus.CounterValue, l.spend(name, pid, used.cpuSeconds), name)
		ch <- prometheus.MustNewConstMetric(l.resident, prometheus.GaugeValue, float64(used.resident), name)
		ch <- prometheus.MustNewConstMetric(l.openFiles, prometheus.GaugeValue, float64(used.openFiles), name)
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
