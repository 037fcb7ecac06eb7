package app

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// Bounds of a plugin's defaults, those of config.hcl.
const (
	maxCalls   = 1_000_000
	minTimeout = time.Millisecond
	maxTimeout = 24 * time.Hour
)

// gateConfig is what the operator wrote, with the plugin's defaults where that
// is nothing. d is nil as long as the plugin was never described.
func gateConfig(cfg *config.Subsystem, d *registry.Description) gate.Config {
	g := gate.Config{
		Limits: limits(cfg, d),
		Retry:  gate.Retry{Attempts: cfg.Retry.Attempts, Budget: cfg.Retry.Budget.Fraction()},
	}
	for _, l := range cfg.Limits.PerKey {
		g.PerKey = append(g.PerKey, gate.KeyLimit{Key: l.Key, Concurrency: l.Concurrency, Queue: l.Queue})
	}
	for _, r := range cfg.Rates {
		rate := gate.Rate{Name: r.Name, Key: r.Key, Quota: quota(r.Limit, r.Burst), Wait: r.Wait}
		for _, o := range r.Overrides {
			rate.Overrides = append(rate.Overrides, gate.Override{Pattern: o.Pattern, Quota: quota(o.Limit, o.Burst)})
		}
		g.Rates = append(g.Rates, rate)
	}
	for _, b := range cfg.Breakers {
		g.Breakers = append(g.Breakers, gate.Breaker{Key: b.Key, Failures: b.Failures, Within: b.Within, OpenFor: b.OpenFor})
	}
	return g
}

func quota(limit config.Rate, burst int) gate.Quota {
	return gate.Quota{Events: limit.Events, Per: limit.Per, Burst: burst}
}

func limits(cfg *config.Subsystem, d *registry.Description) gate.Limits {
	l := gate.Limits{Timeout: cfg.Limits.Timeout, Concurrency: cfg.Limits.Concurrency, Queue: cfg.Limits.Queue}
	if cfg.Limits.Adaptive {
		l.Adaptive = &gate.Adaptive{Min: cfg.Limits.Min, Max: cfg.Limits.Max}
	}
	if isPluginDefault(cfg, d, "limits.concurrency") {
		l.Concurrency = int(min(d.Defaults.GetConcurrency(), maxCalls))
	}
	if isPluginDefault(cfg, d, "limits.queue") {
		l.Queue = int(min(d.Defaults.GetQueue(), maxCalls))
	}
	if isPluginDefault(cfg, d, "limits.timeout") {
		l.Timeout = min(max(d.Defaults.GetTimeout().AsDuration(), minTimeout), maxTimeout)
	}
	return l
}

// isPluginDefault reports whether the value at a path is the plugin's own
// default: it has one, and the operator wrote none.
func isPluginDefault(cfg *config.Subsystem, d *registry.Description, path string) bool {
	if _, _, written := cfg.Source(path); written || d == nil {
		return false
	}
	return hasDefault(d.Defaults, path)
}

func hasDefault(d *pluginv1.Defaults, path string) bool {
	switch path {
	case "limits.concurrency":
		return d.GetConcurrency() > 0
	case "limits.queue":
		return d.GetQueue() > 0
	case "limits.timeout":
		return d.GetTimeout() != nil
	}
	return false
}

// Objectives are those of a subsystem's slo block.
func Objectives(cfg *config.Subsystem) telemetry.Objectives {
	return telemetry.Objectives{Success: cfg.SLO.Success.Fraction(), P95: cfg.SLO.P95, InFlight: cfg.SLO.InFlight}
}

// Explain reports the policies that apply to a call.
func (s *service) Explain(_ context.Context, r *hostv1.ExplainRequest) (*hostv1.ExplainResponse, error) {
	sub, err := s.host.find(r.GetSubsystem())
	if err != nil {
		return nil, err
	}
	route, err := s.host.registry.Route(r.GetMethod(), r.GetSubsystem())
	if err != nil {
		return nil, err
	}
	call := gate.Call{
		Method: route.Method.Name,
		Stream: !route.Method.IsUnary(),
		Keys:   requestKeys{method: route.Method, request: r.GetRequest()},
	}
	response := &hostv1.ExplainResponse{Idempotent: route.Method.IsUnary() && route.Method.Idempotent(r.GetRequest())}
	for _, e := range sub.gate.Explain(&call) {
		p := &hostv1.Policy{Name: e.Policy, State: e.State}
		if !e.Applies {
			p.Exempt = e.Why
		}
		for _, setting := range e.Settings {
			p.Settings = append(p.Settings, &hostv1.Setting{
				Path: setting.Path, Value: setting.Value, Source: sub.source(setting.Path),
			})
		}
		response.Policies = append(response.Policies, p)
	}
	response.Policies = append(response.Policies, sub.explainHold()) // for each try
	return response, nil
}

// explainHold tells how long a call waits for an instance when it has passed
// the gate.
func (s *subsystem) explainHold() *hostv1.Policy {
	const path = "restart.hold"
	hold := s.config.Load().Restart.Hold
	p := &hostv1.Policy{
		Name:     "hold",
		State:    s.supervisor.Status().State.String(),
		Settings: []*hostv1.Setting{{Path: path, Value: config.FormatDuration(hold), Source: s.source(path)}},
	}
	if hold == 0 {
		p.Exempt = path + " is 0s: without an instance calls are refused at once"
	}
	return p
}

// source says where the value at a path comes from.
func (s *subsystem) source(path string) string {
	cfg := s.config.Load()
	file, line, ok := cfg.Source(path)
	if block, _, is := strings.Cut(path, ".override["); is && !ok { // it takes over what it does not say
		file, line, ok = cfg.Source(block + path[strings.LastIndexByte(path, '.'):])
	}
	if ok {
		return fmt.Sprintf("%s:%d", filepath.Base(file), line)
	}
	if isPluginDefault(cfg, s.description.Load(), path) {
		return "plugin default"
	}
	return "host default"
}

// requestKeys are the keys of a request that is not made.
type requestKeys struct {
	method  *registry.Method
	request []byte
}

// Key reads the value of a key of the request.
func (k requestKeys) Key(name string) ([]byte, bool) {
	key := k.method.Key(name)
	if key == nil {
		return nil, false
	}
	return key.Value(k.request, nil), true
}
