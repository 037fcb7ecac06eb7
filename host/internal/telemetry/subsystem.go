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
	StartSwap    = "swap"    // to replace an instance that runs
	StartStandby = "standby" // to be at hand when an instance exits
	StartTrial   = "trial"   // out of quarantine

	ExitSelf   = "exit"   // it ended by itself, whatever its exit code
	ExitSignal = "signal" // a signal ended it that the host did not send to stop it
	ExitStart  = "start"  // it ended, or was ended, before it was ready
	ExitStop   = "stop"   // it was asked to end
	ExitHealth = "health" // it did not answer health checks and was killed
	ExitOOM    = "oom"    // it was killed for the memory it took
)

func startReasons() []string {
	return []string{StartFirst, StartRestart, StartSwap, StartStandby, StartTrial}
}

func exitReasons() []string {
	return []string{ExitSelf, ExitSignal, ExitStart, ExitStop, ExitHealth, ExitOOM}
}

// Subsystem is the metrics of one subsystem. Safe for concurrent use; no
// method blocks.
type Subsystem struct {
	metrics *Metrics
	name    string

	held         prometheus.Counter
	retries      prometheus.Counter
	up           prometheus.Gauge
	generation   prometheus.Gauge
	startSeconds prometheus.Observer
	live         atomic.Pointer[Live] // nil before Bind
	objectives   atomic.Pointer[Objectives]
	history      *history

	methods atomic.Pointer[map[string]*Method] // read without a lock, replaced under mu

	mu sync.Mutex // serializes writers of methods
}

// Subsystem returns the metrics of a subsystem, always the same for a name.
// All its series start at zero, those of the policies that may reject its
// calls included: increase() does not see a series' first value.
func (m *Metrics) Subsystem(name string, policies ...string) *Subsystem {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.subsystems[name]
	if !ok {
		s = m.newSubsystem(name)
		m.subsystems[name] = s
	}
	s.Policies(policies...)
	return s
}

func (m *Metrics) newSubsystem(name string) *Subsystem {
	s := &Subsystem{
		metrics:      m,
		name:         name,
		held:         m.held.WithLabelValues(name),
		retries:      m.retries.WithLabelValues(name),
		up:           m.up.WithLabelValues(name),
		generation:   m.generation.WithLabelValues(name),
		startSeconds: m.startSeconds.WithLabelValues(name),
		history:      newHistory(time.Now()),
	}
	for _, reason := range startReasons() {
		m.starts.WithLabelValues(name, reason)
	}
	for _, reason := range exitReasons() {
		m.exits.WithLabelValues(name, reason)
	}
	m.scrapeErrors.WithLabelValues(name)
	m.seriesDropped.WithLabelValues(name)
	s.methods.Store(new(map[string]*Method))
	return s
}

// Policies makes the series of policies that may reject calls from now on, so
// that they are there, at zero, before the first rejection.
func (s *Subsystem) Policies(names ...string) {
	for _, policy := range names {
		s.metrics.rejected.WithLabelValues(s.name, policy)
	}
}

// Bind says where the values come from that are read at each scrape, replacing
// what was said before.
func (s *Subsystem) Bind(l Live) { s.live.Store(&l) }

// Started counts an instance whose process was started.
func (s *Subsystem) Started(reason string) { s.metrics.starts.WithLabelValues(s.name, reason).Inc() }

// StartTook says how long an instance needed from its execution to being ready.
func (s *Subsystem) StartTook(took time.Duration) { s.startSeconds.Observe(took.Seconds()) }

// Serving says which instance answers calls from now on; 0 is none.
func (s *Subsystem) Serving(generation uint64) {
	s.up.Set(0)
	if generation > 0 {
		s.up.Set(1)
		s.generation.Set(float64(generation))
	}
}

// Exited counts an instance whose process has ended. Another one may be
// serving: see Serving.
func (s *Subsystem) Exited(reason string) { s.metrics.exits.WithLabelValues(s.name, reason).Inc() }

// Held counts a call that has to wait for an instance.
func (s *Subsystem) Held() { s.held.Inc() }

// Retried counts a call that is sent to an instance once more.
func (s *Subsystem) Retried() { s.retries.Inc() }

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
