// Command gaia-api-client-pool is the plugin that sends HTTP requests for its
// callers over one pool of warm connections. It is started by gaia.
package main

import (
	_ "embed"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/pool"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
)

// descriptors is the API with its comments, written by `make generate`.
//
//go:embed descriptors.binpb
var descriptors []byte

// service is the pool together with its documentation.
type service struct{ *pool.Pool }

// Descriptors is the serialized FileDescriptorSet of gaia.api.v1.
func (service) Descriptors() []byte { return descriptors }

func main() {
	sdk.Serve(func(r grpc.ServiceRegistrar) {
		apiv1.RegisterAPIClientPoolServer(r, service{pool.New()})
	})
}
