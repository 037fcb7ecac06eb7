// Command gaia-network-coordinator is the plugin through which programs reach the
// network: by rules, within bounds, and by names that are resolved once. It is
// started by gaia.
package main

import (
	_ "embed"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/coordinator"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
)

// descriptors is the API with its comments, written by `make generate`.
//
//go:embed descriptors.binpb
var descriptors []byte

// service is the coordinator together with its documentation.
type service struct{ *coordinator.Coordinator }

// Descriptors is the serialized FileDescriptorSet of gaia.network.v1.
func (service) Descriptors() []byte { return descriptors }

func main() {
	sdk.Serve(func(r grpc.ServiceRegistrar) {
		networkv1.RegisterNetworkCoordinatorServer(r, service{coordinator.New()})
	})
}
