package gateway

import (
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// healthBoard answers gRPC health: for "" the host itself, which serves until
// it is asked to end, and for each service whether a subsystem that serves it
// is ready. Safe for concurrent use.
type healthBoard struct {
	server   *health.Server
	services func() map[string][]string // subsystems by service

	mu    sync.Mutex
	ready map[string]bool // by subsystem
	shown map[string]bool // services that were ever reported
}

func newHealthBoard(services func() map[string][]string) *healthBoard {
	return &healthBoard{
		server:   health.NewServer(),
		services: services,
		ready:    make(map[string]bool),
		shown:    make(map[string]bool),
	}
}

func (b *healthBoard) register(s grpc.ServiceRegistrar) {
	grpc_health_v1.RegisterHealthServer(s, b.server)
}

// set records a subsystem and reports all services anew.
func (b *healthBoard) set(subsystem string, ready bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready[subsystem] = ready
	served := b.services()
	for service := range b.shown {
		if _, ok := served[service]; !ok {
			b.server.SetServingStatus(service, grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN)
		}
	}
	for service, subsystems := range served {
		b.shown[service] = true
		b.server.SetServingStatus(service, b.status(subsystems))
	}
}

// status is SERVING when one of the subsystems is ready. Called under mu.
func (b *healthBoard) status(subsystems []string) grpc_health_v1.HealthCheckResponse_ServingStatus {
	for _, name := range subsystems {
		if b.ready[name] {
			return grpc_health_v1.HealthCheckResponse_SERVING
		}
	}
	return grpc_health_v1.HealthCheckResponse_NOT_SERVING
}

// shutdown reports everything as not serving from now on.
func (b *healthBoard) shutdown() { b.server.Shutdown() }
