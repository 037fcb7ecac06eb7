// Package gateway accepts callers' gRPC calls and forwards their bytes to the
// instance of the subsystem that serves the method. It knows no service but
// the host's own.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/gaia-go/gaia/host/internal/registry"
)

// MaxMessage is the largest message that is forwarded, in bytes, in either
// direction. It is the plugins' limit, too.
const MaxMessage = 64 << 20

// defaultGrace is how long calls may go on when the host ends.
const defaultGrace = 10 * time.Second

// Options are what a Server needs.
type Options struct {
	// Registry says where calls go. Required.
	Registry *registry.Registry[*Subsystem]
	// Logger gets what must not happen: panics. Required.
	Logger hclog.Logger
	// Register adds the host's own services. Optional.
	Register func(grpc.ServiceRegistrar)
	// Creds decide who may call. Optional: without them everybody who reaches
	// the listener may.
	Creds credentials.TransportCredentials
	// ServerOptions are added to those of the gRPC server. Optional.
	ServerOptions []grpc.ServerOption
	// Grace is how long calls under way may go on when Serve ends. Optional,
	// default 10s.
	Grace time.Duration
}

// Server is the host's gRPC server. It also answers gRPC reflection for all
// subsystems and gRPC health for each service.
type Server struct {
	registry *registry.Registry[*Subsystem]
	logger   hclog.Logger
	grace    time.Duration
	grpc     *grpc.Server
	codec    codec
	health   *healthBoard
	pumps    sync.WaitGroup // goroutines of streams
}

// New returns a server that is not started.
func New(o Options) *Server {
	if o.Creds == nil {
		o.Creds = insecure.NewCredentials()
	}
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	s := &Server{
		registry: o.Registry,
		logger:   o.Logger,
		grace:    o.Grace,
		codec:    newCodec(),
		health:   newHealthBoard(o.Registry.Services),
	}
	s.grpc = grpc.NewServer(append(o.ServerOptions,
		grpc.Creds(o.Creds),
		grpc.ForceServerCodecV2(s.codec),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(s.recoverUnary),
		grpc.StreamInterceptor(s.recoverStream),
		grpc.UnknownServiceHandler(s.forward),
	)...)
	if o.Register != nil {
		o.Register(s.grpc)
	}
	s.health.register(s.grpc)
	known := o.Registry.Reflection(s.grpc)
	grpc_reflection_v1.RegisterServerReflectionServer(s.grpc, reflection.NewServerV1(known))
	grpc_reflection_v1alpha.RegisterServerReflectionServer(s.grpc, reflection.NewServer(known))
	return s
}

// SetReady says whether a subsystem has an instance that is ready, which is
// what gRPC health reports of its services. Call it also after the subsystem's
// entry in the registry changed.
func (s *Server) SetReady(subsystem string, ready bool) { s.health.set(subsystem, ready) }

// Serve accepts calls on lis, which it closes, until ctx ends. Then it refuses
// new ones, waits for those under way, and cancels what is left after the
// grace. It returns when everything it started has ended; nil when that was
// because of ctx. A Server serves once.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(lis) }()
	var err error
	select {
	case err = <-served: // the listener is broken
		s.grpc.Stop()
	case <-ctx.Done():
		if !s.stop() {
			return errors.New("gateway: a call does not end although it was cancelled; it is left behind")
		}
		err = <-served
	}
	s.pumps.Wait()
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// stop ends the server, by force after the grace. It reports whether all calls
// have ended, which they do unless one hangs outside its context.
func (s *Server) stop() bool {
	s.health.shutdown()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.grpc.GracefulStop()
	}()
	timer := time.NewTimer(s.grace)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C:
		go s.grpc.Stop() // GracefulStop then returns, too
		timer.Reset(s.grace)
		select {
		case <-stopped:
		case <-timer.C:
			return false
		}
	}
	return true
}
