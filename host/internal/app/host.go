package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/gaia-go/gaia/host/internal/access"
	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/confine"
	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/keeper"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
	"github.com/gaia-go/gaia/host/internal/telemetry"
	"github.com/gaia-go/gaia/host/internal/trust"
)

// firstLight is how long the table waits for subsystems that neither start nor
// fail.
const firstLight = 15 * time.Second

// How long calls may go on when the host stops is up to the subsystems'
// drain_timeout within these bounds: operators' own calls need some time, and
// systemd kills who takes longer than 90 s to stop.
const (
	minCallGrace = time.Second
	maxCallGrace = time.Minute
)

// host is a running host. All fields are set before run.
type host struct {
	options     Options
	logger      hclog.Logger
	startedAt   time.Time
	httpAddress string // as bound; "" when the listener is off
	grpcAddress string // likewise, of gRPC over TCP
	token       string // the host's own
	tokenPath   string
	catalog     *catalog
	registry    *registry.Registry[*gateway.Subsystem]
	metrics     *telemetry.Metrics
	events      *supervisor.Book[supervisor.Event]
	audit       *access.Log
	clients     *access.Clients
	gateway     *gateway.Server
	supervise   supervisor.Options // what all supervisors have in common
	keeper      *keeper.Keeper
	stopping    chan struct{} // closed when the host begins to stop

	config     atomic.Pointer[config.Config]
	trusts     atomic.Pointer[trust.Policy] // of config
	subsystems atomic.Pointer[[]*subsystem] // sorted by name; replaced as a whole

	mu      sync.Mutex // held by who changes config or subsystems, or starts a supervisor
	start   func(s *subsystem)
	plugins errgroup.Group // supervisors that run
}

func newHost(cfg *config.Config, policy *trust.Policy, o Options, logger hclog.Logger, socketDir string, confiner *confine.Confiner, keep *keeper.Keeper) *host {
	executables := supervisor.NewExecutables()
	executables.Trust(policy.Check)
	h := &host{
		options:   o,
		logger:    logger,
		startedAt: time.Now(),
		catalog: newCatalog(cfg.Host, executables, socketDir, logger, supervisor.Ties{
			Confiner: confiner,
			Store:    keep.Store("plugins that are asked what they serve"),
		}),
		registry: &registry.Registry[*gateway.Subsystem]{},
		metrics:  telemetry.New(o.Version),
		events:   supervisor.NewBook[supervisor.Event](),
		stopping: make(chan struct{}),
		keeper:   keep,
	}
	h.audit = access.OpenLog(logger, h.metrics.AuditDropped)
	h.clients = access.New(h.metrics, h.audit)
	h.gateway = gateway.New(gateway.Options{
		Registry: h.registry,
		Clients:  h.clients,
		Logger:   logger,
		NoLink:   o.NoLink,
		Grace:    h.callGrace,
		Register: func(r grpc.ServiceRegistrar) { hostv1.RegisterHostServer(r, &service{host: h}) },
	})
	h.supervise = supervisor.Options{
		PluginDir:   cfg.Host.PluginDir,
		SocketDir:   socketDir,
		Env:         supervisor.Environment(logger.GetLevel().String()),
		Executables: executables,
		Logger:      logger,
		NoLink:      o.NoLink,
		Ties:        supervisor.Ties{Confiner: confiner},
		Event:       h.events.Add,
	}
	h.config.Store(cfg)
	h.trusts.Store(policy)
	h.subsystems.Store(new([]*subsystem))
	for i := range cfg.Subsystems {
		h.add(&cfg.Subsystems[i])
	}
	return h
}

// all returns the subsystems, sorted by name. The slice is not written.
func (h *host) all() []*subsystem { return *h.subsystems.Load() }

// run serves until ctx ends and then takes everything down: first the doors,
// then the plugins.
func (h *host) run(ctx context.Context) (err error) {
	defer h.audit.Close()
	if err := h.openAccess(); err != nil {
		return err
	}
	socket := h.config.Load().Host.Socket
	lis, err := listenUnix(socket)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", socket, err)
	}
	tcp, err := h.listenTCP()
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	serveHTTP, err := h.openHTTP()
	if err != nil {
		err = errors.Join(err, lis.Close())
		if tcp != nil {
			err = errors.Join(err, tcp.Close())
		}
		return err
	}
	// Plugins outlive the doors: calls in flight still need them.
	pluginCtx, stopPlugins := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPlugins()
	h.startPlugins(pluginCtx)
	doors, doorCtx := errgroup.WithContext(ctx)
	doors.Go(func() error { return h.gateway.Serve(doorCtx, lis) })
	doors.Go(func() error { return h.serveTCP(doorCtx, tcp) })
	doors.Go(func() error { return serveHTTP(doorCtx) })
	doors.Go(func() error { return h.metrics.Run(doorCtx) })
	doors.Go(func() error { return h.watchdog(doorCtx) })
	doors.Go(func() error {
		if err := h.announce(doorCtx); err != nil { // a courtesy, no reason to end
			h.logger.Warn("table not printed", "err", err)
		}
		h.tellStatus(doorCtx)
		return nil
	})
	doors.Go(func() error {
		h.reloadOnHangup(doorCtx)
		h.logger.Info("stopping")
		h.tell(daemon.SdNotifyStopping, "STATUS=stopping")
		close(h.stopping)
		h.announceDrain(context.WithoutCancel(ctx))
		return nil
	})
	err = doors.Wait()
	stopPlugins()
	return errors.Join(err, h.plugins.Wait())
}

// callGrace is how long calls may go on when the host stops.
func (h *host) callGrace() time.Duration {
	grace := minCallGrace
	for _, s := range h.all() {
		grace = max(grace, s.config.Load().Restart.DrainTimeout)
	}
	return min(grace, maxCallGrace)
}

// announceDrain tells all plugins that they are about to end, so that calls end
// which would not by themselves.
func (h *host) announceDrain(ctx context.Context) {
	var telling sync.WaitGroup
	for _, s := range h.all() {
		telling.Go(func() { s.supervisor.AnnounceDrain(ctx) })
	}
	telling.Wait()
}

// startPlugins runs the supervisors, those that come later included, until ctx
// ends.
func (h *host) startPlugins(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.start = func(s *subsystem) {
		ctx, stop := context.WithCancel(ctx)
		s.stop = stop
		h.plugins.Go(func() error {
			defer stop()
			err := s.supervisor.Run(ctx)
			h.forget(context.WithoutCancel(ctx), s) // it has bounds of its own
			return err
		})
	}
	for _, s := range h.all() {
		h.start(s)
	}
}

// announce prints the table, and tells the service manager, once every subsystem has either started or failed.
func (h *host) announce(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, firstLight)
	defer cancel()
	for _, s := range h.all() {
		select {
		case <-s.settled:
		case <-patience.Done():
		}
	}
	if ctx.Err() != nil {
		return nil // stopped before it was up
	}
	h.tell(daemon.SdNotifyReady, h.statusLine())
	return h.printTable()
}
