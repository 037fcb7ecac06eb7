package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The reasons for starts and exits of instances.
const (
	StartFirst   = "first"   // the subsystem's first instance
	StartRestart = "restart" // after an exit
	ExitSelf     = "exit"    // it ended by itself, whatever its exit code
	ExitSignal   = "signal"  // a signal ended it that the host did not send to stop it
	ExitStart    = "start"   // it ended, or was ended, before it was ready
	ExitStop     = "stop"    // it was asked to end
)

// Subsystem is the metrics of one subsystem. Safe for concurrent use; no
// method blocks.
type Subsystem struct {
	metrics *Metrics
	name    string

	held         prometheus.Counter
	up           prometheus.Gauge
	generation   prometheus.Gauge
	startSeconds prometheus.Observer
	live         atomic.Pointer[sources]

	methods atomic.Pointer[map[string]*Method] // read without a lock, replaced under mu

	mu sync.Mutex // serializes writers of methods
}

// sources are where the values come from that are read at each scrape.
type sources struct {
	inFlight, queued, pid func() int
}

// Subsystem returns the metrics of a subsystem, always the same for a name.
// All its series start at zero, those of the policies that may reject its
// calls included: increase() does not see a series' first value.
func (m *Metrics) Subsystem(name string, policies ...string) *Subsystem {
	for _, policy := range policies {
		m.rejected.WithLabelValues(name, policy)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.subsystems[name]; ok {
		return s
	}
	s := &Subsystem{
		metrics:      m,
		name:         name,
		held:         m.held.WithLabelValues(name),
		up:           m.up.WithLabelValues(name),
		generation:   m.generation.WithLabelValues(name),
		startSeconds: m.startSeconds.WithLabelValues(name),
	}
	for _, reason := range []string{StartFirst, StartRestart} {
		m.starts.WithLabelValues(name, reason)
	}
	for _, reason := range []string{ExitSelf, ExitSignal, ExitStart, ExitStop} {
		m.exits.WithLabelValues(name, reason)
	}
	m.scrapeErrors.WithLabelValues(name)
	m.seriesDropped.WithLabelValues(name)
	s.methods.Store(new(map[string]*Method))
	m.subsystems[name] = s
	return s
}

// Bind says where the values come from that are read at each scrape: the calls
// in flight and in the queue, and the process id of the instance, 0 for none.
// Before Bind they are absent. The functions must be quick and safe for
// concurrent use.
func (s *Subsystem) Bind(inFlight, queued, pid func() int) {
	s.live.Store(&sources{inFlight: inFlight, queued: queued, pid: pid})
}

// Started counts an instance whose process was started.
func (s *Subsystem) Started(reason string) { s.metrics.starts.WithLabelValues(s.name, reason).Inc() }

// Ready says that an instance can be called and how long that took from its
// execution on.
func (s *Subsystem) Ready(generation uint64, took time.Duration) {
	s.up.Set(1)
	s.generation.Set(float64(generation))
	s.startSeconds.Observe(took.Seconds())
}

// Exited counts an instance whose process has ended.
func (s *Subsystem) Exited(reason string) {
	s.up.Set(0)
	s.metrics.exits.WithLabelValues(s.name, reason).Inc()
}

// Held counts a call that has to wait for an instance.
func (s *Subsystem) Held() { s.held.Inc() }

// Rejected counts a call that a policy of the gate turned away.
func (s *Subsystem) Rejected(policy string) {
	s.metrics.rejected.WithLabelValues(s.name, policy).Inc()
}

// Methods makes the series of methods, named like "/pkg.Service/Method", so
// that they are there, at zero, before the first call.
func (s *Subsystem) Methods(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	methods := maps.Clone(*s.methods.Load())
	if methods == nil {
		methods = make(map[string]*Method, len(names))
	}
	for _, name := range names {
		if methods[name] == nil {
			methods[name] = newMethod(s.metrics, s.name, name)
		}
	}
	s.methods.Store(&methods)
}

// Method returns the metrics of a method that the subsystem's plugin
// describes. A name that comes from a caller and was not found in a
// description must not get here: it would become a label.
func (s *Subsystem) Method(name string) *Method {
	if m := (*s.methods.Load())[name]; m != nil {
		return m
	}
	s.Methods([]string{name})
	return (*s.methods.Load())[name]
}
