package rpc

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// ownServices are gRPC reflection, both versions, and health, for all
// subsystems.
func ownServices(c Config) *http.ServeMux {
	known := c.Registry.Reflection(own{})
	names := func() []string { return slices.Sorted(maps.Keys(known.Services.GetServiceInfo())) }
	reflector := grpcreflect.NewReflector(grpcreflect.NamerFunc(names),
		grpcreflect.WithDescriptorResolver(known.DescriptorResolver),
		grpcreflect.WithExtensionResolver(known.ExtensionResolver))
	mux := http.NewServeMux()
	mux.Handle(grpcreflect.NewHandlerV1(reflector))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
	mux.Handle(grpchealth.NewHandler(health{c}))
	return mux
}

// own are the services that are answered here.
type own struct{}

// GetServiceInfo implements reflection.ServiceInfoProvider.
func (own) GetServiceInfo() map[string]grpc.ServiceInfo {
	return map[string]grpc.ServiceInfo{
		grpchealth.HealthV1ServiceName:        {},
		grpcreflect.ReflectV1ServiceName:      {},
		grpcreflect.ReflectV1AlphaServiceName: {},
	}
}

type health struct{ config Config }

// Check implements grpchealth.Checker.
func (h health) Check(ctx context.Context, r *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	answer, err := h.config.Gateway.Health(ctx, r.Service)
	if err != nil {
		return nil, fault(err, protoregistry.GlobalTypes)
	}
	return &grpchealth.CheckResponse{Status: grpchealth.Status(answer)}, nil //nolint:gosec // the same numbers, of which there are four
}
