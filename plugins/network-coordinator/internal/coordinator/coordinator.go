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
	"syscall"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/admit"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/proxy"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/shape"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/egress"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
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
	serving   sync.WaitGroup          // who accepts connections of the proxy
	running   sync.WaitGroup          // the sweep
	stop      func()                  // ends the sweep; nil before the first config

	mu     sync.Mutex // of configs, and what they replace
	door   *door      // of the proxy; nil without listen
	names  *names
	closed bool
}

// inForce is a config as calls use it. Nobody writes to it.
type inForce struct {
	dialer *egress.Dialer
	names  *names
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
	names, err := c.namesFor(config.GetResolver())
	if err != nil {
		return err
	}
	var next *door
	if s.listen.IsValid() {
		if next, err = c.open(ctx, doorProxy, s.listen, c.door); err != nil {
			if names != c.names {
				names.close(c.names)
			}
			return sdk.Invalid("listen", "nobody can listen at %v: %v; write another port, or end the program that has it", s.listen, err)
		}
	}
	c.apply(ctx, s, names, next)
	return nil
}

// apply cannot fail.
func (c *Coordinator) apply(ctx context.Context, s *settings, names *names, next *door) {
	dialer := &egress.Dialer{
		Policy: s.policy, Resolver: names, Timeout: s.connectTimeout, KeepAlive: -1, // conn.Table does so later
		Own: egress.Listeners(append(names.door.listens(), next.listens()...)...), Reported: c.denied,
	}
	c.admission.Set(s.admission)
	c.shaper.Set(s.bandwidth)
	c.server.SetGate(s.gate)
	c.current.Store(&inForce{dialer: dialer, names: names})
	if names.door != nil {
		names.Flush() // the rules for what it tells may have changed
	}
	if n := c.table.Use(&conn.Way{Dialer: dialer, Idle: s.idle, Lifetime: s.lifetime}); n > 0 {
		c.logger.Info("connections ended that the new rules deny", "connections", n)
	}
	c.serve(ctx, next)
	var files syscall.Rlimit
	if need := filesFor(s.admission.Connections); next != nil && syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil && files.Cur < need {
		c.logger.Warn("max_connections are more than open files allow; raise limits { open_files }", "open_files", files.Cur, "wanted", need)
	}
	if c.names != names {
		c.names.close(names)
		c.names = names
		c.keep(names.door)
	}
	c.keepOnly(next, names.door)
	if c.stop == nil {
		life, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c.stop = cancel
		c.running.Go(func() { c.table.Run(life) })
	}
}

// serve puts a door in the place of the one before.
func (c *Coordinator) serve(ctx context.Context, next *door) {
	if next == c.door {
		return
	}
	c.door.closeUnless(nil)
	if c.door = next; next == nil {
		return
	}
	c.keep(next)
	life := context.WithoutCancel(ctx)
	c.serving.Go(func() {
		if err := c.server.Serve(life, next.tcp); err != nil {
			c.logger.Error("the proxy takes no connections any more", "err", err)
		}
	})
	c.logger.Info("the proxy listens", "address", next.tcp.Addr().String())
}

// Drain takes no new connections and returns when the open ones have ended. Who
// is in the queue of the listener is left to the next instance.
func (c *Coordinator) Drain(ctx context.Context) error {
	c.mu.Lock()
	c.door.closeUnless(nil)
	c.door = nil
	c.mu.Unlock()
	c.serving.Wait() // who is accepted by now is answered
	return errors.Join(c.server.Drain(ctx), c.table.Drained(ctx))
}

// Shutdown ends everything, open connections too.
func (c *Coordinator) Shutdown(context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.door.closeUnless(nil)
	c.door = nil
	stop := c.stop
	c.mu.Unlock()
	c.table.Close()
	c.server.Close()
	if stop != nil {
		stop()
	}
	c.serving.Wait()
	c.running.Wait()
	c.table.Release()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names.close(nil)
	c.names = nil
	return nil
}

// Metrics are the coordinator's own, listed in the plugin's README.
func (c *Coordinator) Metrics() prometheus.Gatherer { return c.metrics.registry }

// denied is told of each connection that rules deny or would deny.
func (c *Coordinator) denied(d *egress.Denied) {
	c.metrics.denied.WithLabelValues(d.Rule).Inc()
	c.denials.add(d)
}
