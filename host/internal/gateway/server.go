// Package gateway accepts callers' calls, by the link and by gRPC, and forwards
// their bytes to the instance of the subsystem that serves the method, by the
// link where the plugin has one. It knows no service but the host's own.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/gaia-go/gaia/host/internal/access"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/sdk/link"
	"github.com/gaia-go/gaia/sdk/wire"
)

// MaxMessage is the largest message that is forwarded, in bytes, in either
// direction. It is the plugins' limit, too.
const MaxMessage = 64 << 20

// cutGrace is how long calls may take to end when they were cancelled.
const cutGrace = 10 * time.Second

// Options are what a Server needs.
type Options struct {
	// Registry says where calls go. Required.
	Registry *registry.Registry[*Subsystem]
	// Logger gets what must not happen: panics. Required.
	Logger hclog.Logger
	// Register adds the host's own services. Optional.
	Register func(grpc.ServiceRegistrar)
	// Clients are who may call with credentials. Optional: without them everybody
	// who has the socket may do everything, and nobody else calls.
	Clients *access.Clients
	// NoLink lets all calls come by gRPC.
	NoLink bool
	// Grace is how long calls under way may go on when Serve ends; it is asked
	// then. Required.
	Grace func() time.Duration

	// serverOptions let a test count the gRPC server's buffers.
	serverOptions []grpc.ServerOption
}

// Server is the host's server of gRPC and of the link. It also answers gRPC
// reflection for all subsystems and gRPC health for each service.
type Server struct {
	registry *registry.Registry[*Subsystem]
	logger   hclog.Logger
	grace    func() time.Duration
	clients  *access.Clients    // may be nil
	own      map[string]bool    // services of the host itself
	tls      func() *tls.Config // of who comes by TCP; set before anybody does
	grpc     *grpc.Server
	link     *link.Server // nil: all come by gRPC
	codec    codec
	health   *healthBoard
	running  sync.WaitGroup // goroutines of streams, and of calls that make a detour
}

// New returns a server that is not started.
func New(o Options) *Server {
	s := &Server{
		registry: o.Registry,
		logger:   o.Logger,
		grace:    o.Grace,
		clients:  o.Clients,
		own:      make(map[string]bool),
		codec:    newCodec(),
		health:   newHealthBoard(o.Registry.Services),
	}
	s.grpc = grpc.NewServer(append(o.serverOptions,
		grpc.ForceServerCodecV2(s.codec),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.StaticStreamWindowSize(wire.StreamWindow),
		grpc.StaticConnWindowSize(wire.ConnWindow),
		grpc.WaitForHandlers(true),
		grpc.Creds(doorCredentials{}),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.streams),
		grpc.UnknownServiceHandler(s.forward),
	)...)
	services := func(r grpc.ServiceRegistrar) {
		if o.Register != nil {
			o.Register(r)
		}
		s.health.register(r)
	}
	services(s.grpc)
	if !o.NoLink {
		s.link = link.NewServer(link.ServerOptions{Logger: o.Logger, Handler: linkHandler{s}, Accept: link.SameUser, Interceptor: s.unaryByLink})
		services(s.link)
	}
	known := o.Registry.Reflection(s.grpc)
	grpc_reflection_v1.RegisterServerReflectionServer(s.grpc, reflection.NewServerV1(known))
	grpc_reflection_v1alpha.RegisterServerReflectionServer(s.grpc, reflection.NewServer(known))
	for service := range s.grpc.GetServiceInfo() {
		s.own[service] = true
	}
	return s
}

// SetReady says whether a subsystem has an instance that is ready, which is
// what gRPC health reports of its services. Call it also after the subsystem's
// entry in the registry changed.
func (s *Server) SetReady(subsystem string, ready bool) { s.health.set(subsystem, ready) }

// Health is what gRPC health says of a service, or of the host for "". The error
// is NotFound for a service that nobody serves.
func (s *Server) Health(ctx context.Context, service string) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
	r, err := s.health.server.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	return r.GetStatus(), err
}

// Serve accepts calls on lis, which it closes, until ctx ends. Then it refuses
// new ones, waits for those under way, and cancels what is left after the
// grace. It returns when everything it started has ended; nil when that was
// because of ctx. A Server serves once.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	linkCtx, cutLink := context.WithCancel(context.WithoutCancel(ctx))
	defer cutLink()
	d := newSocketDoor(lis, func(conn net.Conn) { s.link.ServeConn(linkCtx, conn) }, s.logger)
	if s.link != nil {
		d.open(ctx)
		lis = d
	}
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(lis) }()
	var err error
	select {
	case err = <-served: // the listener is broken
		s.grpc.Stop()
		cutLink()
	case <-ctx.Done():
		if !s.stop(d, cutLink) {
			return errors.New("gateway: a call does not end although it was cancelled; it is left behind")
		}
		err = <-served
	}
	d.visitors.Wait()
	s.running.Wait()
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// stop ends the server, by force after the grace. It reports whether all calls
// have ended, which they do unless one hangs outside its context.
func (s *Server) stop(d *socketDoor, cutLink func()) bool {
	s.health.shutdown()
	stopped := make(chan struct{})
	patience, cancel := context.WithTimeout(context.Background(), s.grace())
	defer cancel()
	go func() {
		defer close(stopped)
		var both sync.WaitGroup
		both.Go(s.grpc.GracefulStop)
		both.Go(func() {
			if s.link != nil {
				s.link.Drain(patience)
			}
			cutLink()
			d.visitors.Wait()
		})
		both.Wait()
	}()
	select {
	case <-stopped:
		return true
	case <-patience.Done():
	}
	go s.grpc.Stop() // GracefulStop then returns, too
	timer := time.NewTimer(cutGrace)
	defer timer.Stop()
	select {
	case <-stopped:
		return true
	case <-timer.C:
		return false
	}
}
