package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/keeper"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// subsystem is all that the host has for one subsystem block.
type subsystem struct {
	name       string
	supervisor *supervisor.Supervisor
	gate       *gate.Gate
	metrics    *telemetry.Subsystem
	target     *gateway.Subsystem
	settled    chan struct{} // closed when the first start has ended, well or not
	store      *keeper.Store // of what outlives the instances

	config      atomic.Pointer[config.Subsystem]
	description atomic.Pointer[registry.Description]

	stop context.CancelFunc // ends the supervisor; set by start

	mu       sync.Mutex // held by who tells others of the subsystem
	removed  bool
	attached bool // to a process that somebody else has started
}

// add builds one subsystem. Its methods are known from the first moment if its
// executable was ever described, so that calls are held and not refused while
// it starts. The caller holds mu, or is the only one there is.
func (h *host) add(cfg *config.Subsystem) *subsystem {
	s := &subsystem{
		name:    cfg.Name,
		metrics: h.metrics.Subsystem(cfg.Name),
		settled: make(chan struct{}),
		store:   h.keeper.Store(cfg.Name),
	}
	s.config.Store(cfg)
	s.description.Store(h.catalog.known(cfg.Plugin, cfg.SHA256))
	s.gate = gate.New(gateConfig(cfg, s.description.Load()), s.metrics)
	s.target = &gateway.Subsystem{Name: cfg.Name, Gate: s.gate, Instances: instances{s}, Metrics: s.metrics}
	s.supervisor = supervisor.New(h.supervisorOptions(s, cfg))
	s.metrics.Bind(telemetry.Live{
		InFlight: s.gate.InFlight,
		Queued:   s.gate.Queued,
		Breaker:  s.gate.Breakers,
		PID:      func() int { return s.supervisor.Status().PID },
	})
	h.apply(s, cfg)
	h.publish(s)
	all := append(slices.Clone(h.all()), s)
	slices.SortFunc(all, func(a, b *subsystem) int { return strings.Compare(a.name, b.name) })
	h.subsystems.Store(&all)
	return s
}

func (h *host) supervisorOptions(s *subsystem, cfg *config.Subsystem) supervisor.Options {
	o := h.supervise
	o.Plan = supervisor.NewPlan(cfg)
	o.Ties.Store = s.store
	o.Meter = s.metrics
	o.Described = func(d *registry.Description, sha256 string) {
		if sha256 != "" { // an attached process has none
			h.catalog.store(d, sha256)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.description.Store(d)
		if s.removed { // there may be another one of its name
			return
		}
		h.publish(s)
		s.updateGate(s.config.Load(), d)
	}
	settled := false
	o.Changed = func(st supervisor.Status) { // called from one goroutine
		if !settled && st.State != supervisor.Starting {
			settled = true
			close(s.settled)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.attached != st.Attached {
			s.attached = st.Attached
			s.updateGate(s.config.Load(), s.description.Load())
		}
		if !s.removed {
			h.gateway.SetReady(s.name, st.State == supervisor.Ready)
		}
	}
	return o
}

// publish makes the methods of a subsystem known to callers.
func (h *host) publish(s *subsystem) {
	d := s.description.Load()
	if d != nil {
		s.metrics.Methods(d.MethodNames())
	}
	h.registry.Set(s.name, d, s.target)
}

// apply puts into force what needs no instance to know of it.
func (h *host) apply(s *subsystem, cfg *config.Subsystem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.Store(cfg)
	s.updateGate(cfg, s.description.Load())
	s.metrics.Policies(s.gate.Policies()...)
	s.metrics.SetObjectives(Objectives(cfg))
}

// updateGate puts the policies of a config into force. A call of an attached process may be
// stopped by a debugger, which is no reason to end it. The caller holds s.mu.
func (s *subsystem) updateGate(cfg *config.Subsystem, d *registry.Description) {
	g := gateConfig(cfg, d)
	if s.attached {
		g.Limits.Timeout = maxTimeout
	}
	s.gate.Update(g)
}

// forget ends what a subsystem has kept that has ended, and takes it off the
// metrics page if it was removed and none of its name has come since.
func (h *host) forget(ctx context.Context, s *subsystem) {
	if err := errors.Join(s.store.Close(ctx), s.supervisor.Release()); err != nil {
		h.logger.Error("kept processes not ended", "subsystem", s.name, "err", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.find(s.name); err != nil {
		h.metrics.Remove(s.name)
	}
}

// remove makes a subsystem unknown and ends it. Its calls in flight finish.
// The caller holds mu.
func (h *host) remove(s *subsystem) {
	s.mu.Lock()
	s.removed = true
	h.registry.Remove(s.name)
	h.gateway.SetReady(s.name, false)
	s.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(h.all()), func(other *subsystem) bool { return other == s })
	h.subsystems.Store(&all)
	s.stop()
}

// instances lends a subsystem's ready instance to the gateway.
type instances struct{ subsystem *subsystem }

// Acquire waits for the ready instance as supervisor.Acquire does.
func (i instances) Acquire(ctx context.Context, lost uint64) (gateway.Instance, error) {
	instance, err := i.subsystem.supervisor.Acquire(ctx, lost)
	if err != nil {
		return nil, err
	}
	return instance, nil
}

// TryAcquire does not wait, as supervisor.TryAcquire.
func (i instances) TryAcquire() gateway.Instance {
	if instance := i.subsystem.supervisor.TryAcquire(); instance != nil {
		return instance
	}
	return nil
}
