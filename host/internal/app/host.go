package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// firstLight is how long the table waits for subsystems that neither start nor
// fail.
const firstLight = 15 * time.Second

// host is a running host. All fields are set before run.
type host struct {
	options     Options
	config      *config.Config
	logger      hclog.Logger
	startedAt   time.Time
	httpAddress string // as bound; "" when the listener is off
	tokenPath   string
	catalog     *catalog
	registry    *registry.Registry[*gateway.Subsystem]
	metrics     *telemetry.Metrics
	subsystems  []*subsystem // sorted by name
	gateway     *gateway.Server
	stopping    chan struct{} // closed when the host begins to stop
}

// subsystem is all that the host has for one subsystem block.
type subsystem struct {
	config      *config.Subsystem
	supervisor  *supervisor.Supervisor
	gate        *gate.Gate
	settled     chan struct{} // closed when the first start has ended, well or not
	description atomic.Pointer[registry.Description]
}

func newHost(cfg *config.Config, o Options, logger hclog.Logger, socketDir string) *host {
	executables := supervisor.NewExecutables()
	h := &host{
		options:   o,
		config:    cfg,
		logger:    logger,
		startedAt: time.Now(),
		catalog:   newCatalog(cfg.Host, executables, socketDir, logger),
		registry:  &registry.Registry[*gateway.Subsystem]{},
		metrics:   telemetry.New(o.Version),
		stopping:  make(chan struct{}),
	}
	h.gateway = gateway.New(gateway.Options{
		Registry: h.registry,
		Logger:   logger,
		Register: func(r grpc.ServiceRegistrar) { hostv1.RegisterHostServer(r, &service{host: h}) },
	})
	env := supervisor.Environment(logger.GetLevel().String())
	for i := range cfg.Subsystems {
		h.add(&cfg.Subsystems[i], supervisor.Options{
			Subsystem:   &cfg.Subsystems[i],
			PluginDir:   cfg.Host.PluginDir,
			SocketDir:   socketDir,
			Env:         env,
			Executables: executables,
			Logger:      logger,
		})
	}
	return h
}

// add builds one subsystem. Its methods are known from the first moment if its
// executable was ever described, so that calls are held and not refused while
// it starts.
func (h *host) add(cfg *config.Subsystem, o supervisor.Options) {
	meter := h.metrics.Subsystem(cfg.Name, gate.Policies()...)
	s := &subsystem{
		config:  cfg,
		settled: make(chan struct{}),
		gate: gate.New(gate.Limits{
			Timeout:     cfg.Limits.Timeout,
			Concurrency: cfg.Limits.Concurrency,
			Queue:       cfg.Limits.Queue,
		}, meter.Rejected),
	}
	target := &gateway.Subsystem{Name: cfg.Name, Gate: s.gate, Instances: instances{s}, Metrics: meter}
	publish := func(d *registry.Description) {
		s.description.Store(d)
		if d != nil {
			meter.Methods(d.MethodNames())
		}
		h.registry.Set(cfg.Name, d, target)
	}
	publish(h.catalog.known(cfg.Plugin, cfg.SHA256))
	settled := false
	o.Meter = meter
	o.Described = func(d *registry.Description, sha256 string) {
		h.catalog.store(d, sha256)
		publish(d)
	}
	o.Changed = func(st supervisor.Status) { // called from one goroutine
		h.gateway.SetReady(cfg.Name, st.State == supervisor.Ready)
		if !settled && st.State != supervisor.Starting {
			settled = true
			close(s.settled)
		}
	}
	s.supervisor = supervisor.New(o)
	meter.Bind(s.gate.InFlight, s.gate.Queued, func() int { return s.supervisor.Status().PID })
	h.subsystems = append(h.subsystems, s)
}

// instances lends a subsystem's ready instance to the gateway.
type instances struct{ subsystem *subsystem }

// Acquire waits for the ready instance as supervisor.Acquire does.
func (i instances) Acquire(ctx context.Context) (gateway.Instance, error) {
	instance, err := i.subsystem.supervisor.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return instance, nil
}

// run serves until ctx ends and then takes everything down: first the doors,
// then the plugins.
func (h *host) run(ctx context.Context) error {
	lis, err := listenUnix(h.config.Host.Socket)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", h.config.Host.Socket, err)
	}
	serveHTTP, err := h.openHTTP()
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	// Plugins outlive the doors: calls in flight still need them.
	pluginCtx, stopPlugins := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPlugins()
	var plugins errgroup.Group
	for _, s := range h.subsystems {
		plugins.Go(func() error { return s.supervisor.Run(pluginCtx) })
	}
	doors, doorCtx := errgroup.WithContext(ctx)
	doors.Go(func() error { return h.gateway.Serve(doorCtx, lis) })
	doors.Go(func() error { return serveHTTP(doorCtx) })
	doors.Go(func() error {
		if err := h.announce(doorCtx); err != nil { // a courtesy, no reason to end
			h.logger.Warn("table not printed", "err", err)
		}
		return nil
	})
	doors.Go(func() error {
		<-doorCtx.Done()
		h.logger.Info("stopping")
		close(h.stopping)
		return nil
	})
	err = doors.Wait()
	stopPlugins()
	return errors.Join(err, plugins.Wait())
}

// announce prints the table once every subsystem has either started or failed.
func (h *host) announce(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, firstLight)
	defer cancel()
	for _, s := range h.subsystems {
		select {
		case <-s.settled:
		case <-patience.Done():
		}
	}
	if ctx.Err() != nil {
		return nil // stopped before it was up
	}
	return h.printTable()
}
