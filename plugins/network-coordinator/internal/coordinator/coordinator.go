// Package coordinator is the service gaia.network.v1.NetworkCoordinator.
//
// It puts a config into force (Configure), serves the calls, and owns the parts:
// rules and dialer (sdk/egress), names (resolver), limits (admit, shape), open
// connections (conn) and the door for other programs (proxy).
package coordinator

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/admit"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/proxy"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/shape"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/egress"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
)

// Coordinator is the service. It is safe for concurrent use.
type Coordinator struct {
	networkv1.UnimplementedNetworkCoordinatorServer

	logger    hclog.Logger
	admission *admit.Admission
	shaper    *shape.Shaper
	table     *conn.Table
	server    *proxy.Server
	metrics   *metrics
	denials   *denialLog
	current   atomic.Pointer[inForce] // nil before the first config
	running   sync.WaitGroup          // listeners and the sweep
	stop      func()                  // ends the sweep; nil before the first config

	mu       sync.Mutex // of configs, and what they replace
	door     *door      // nil without listen
	resolver *resolving
	closed   bool
}

// inForce is a config as calls use it. Nobody writes to it.
type inForce struct {
	dialer *egress.Dialer
	names  *resolving
}

// New returns a coordinator that has no config yet. The caller closes it.
func New() *Coordinator {
	c := &Coordinator{
		logger:    sdk.Logger(),
		admission: admit.New(admit.Limits{}),
		shaper:    shape.New(),
	}
	c.metrics = newMetrics(c)
	c.denials = newDenialLog(c.logger)
	c.table = conn.NewTable(c.admission, c.shaper, c.metrics)
	c.server = proxy.New(c.table)
	return c
}

// Configure puts the first config into force.
func (c *Coordinator) Configure(ctx context.Context, config *networkv1.Config) error {
	return c.Reconfigure(ctx, config)
}

// Reconfigure puts a config in the place of the one before. Listeners that it
// names, too, stay open, and so do connections that its rules allow. On an error
// everything stays as it is.
func (c *Coordinator) Reconfigure(ctx context.Context, config *networkv1.Config) error {
	s, err := read(ctx, config)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("the network coordinator is closed")
	}
	names, err := c.resolverFor(config.GetResolver())
	if err != nil {
		return err
	}
	next, err := c.doorAt(ctx, s.listen)
	if err != nil {
		c.discard(names)
		return err
	}
	c.apply(ctx, s, names, next)
	return nil
}

// apply cannot fail.
func (c *Coordinator) apply(ctx context.Context, s *settings, names *resolving, next *door) {
	dialer := &egress.Dialer{
		Policy: s.policy, Resolver: names, Timeout: s.connectTimeout,
		Own: egress.Listeners(append(names.listens(), next.listens()...)...), Reported: c.denied,
	}
	c.admission.Set(s.admission)
	c.shaper.Set(s.bandwidth)
	c.server.SetGate(s.gate)
	c.current.Store(&inForce{dialer: dialer, names: names})
	if n := c.table.Use(&conn.Way{Dialer: dialer, Idle: s.idle, Lifetime: s.lifetime}); n > 0 {
		c.logger.Info("connections ended that the new rules deny", "connections", n)
	}
	c.openDoor(ctx, next)
	forgetOthers(next)
	if c.resolver != names {
		c.discard(c.resolver)
		c.resolver = names
	}
	if c.stop == nil {
		life, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c.stop = cancel
		c.running.Go(func() { c.table.Run(life) })
	}
}

// Drain takes no new connections and returns when the open ones have ended.
func (c *Coordinator) Drain(ctx context.Context) error {
	c.mu.Lock()
	c.closeDoor()
	c.mu.Unlock()
	c.server.Quit()
	return c.table.Drained(ctx)
}

// Close ends everything, open connections too.
func (c *Coordinator) Close() error {
	c.mu.Lock()
	c.closed = true
	c.closeDoor()
	stop := c.stop
	c.mu.Unlock()
	c.table.Close()
	c.server.Close()
	if stop != nil {
		stop()
	}
	c.running.Wait()
	c.table.Release()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discard(c.resolver)
	c.resolver = nil
	return nil
}

// Metrics are the coordinator's own, listed in the plugin's README.
func (c *Coordinator) Metrics() prometheus.Gatherer { return c.metrics.registry }

// denied is told of each connection that rules deny or would deny.
func (c *Coordinator) denied(d *egress.Denied) {
	c.metrics.denied.WithLabelValues(d.Rule).Inc()
	c.denials.add(d)
}

// sameResolver reports whether two configs want the same of names.
func sameResolver(a, b *networkv1.Resolver) bool {
	if a == nil {
		a = &networkv1.Resolver{}
	}
	if b == nil {
		b = &networkv1.Resolver{}
	}
	return proto.Equal(a, b)
}
