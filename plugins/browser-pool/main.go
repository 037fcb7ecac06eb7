// Command gaia-browser-pool is the plugin that opens pages in real browsers for its
// callers. It is started by gaia.
package main

import (
	_ "embed"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/pool"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
)

// descriptors is the API with its comments, written by `make generate`.
//
//go:embed descriptors.binpb
var descriptors []byte

// service is the pool together with its documentation.
type service struct{ *pool.Pool }

// Descriptors is the serialized FileDescriptorSet of gaia.browser.v1.
func (service) Descriptors() []byte { return descriptors }

func main() {
	sdk.Serve(func(r grpc.ServiceRegistrar) {
		browserv1.RegisterBrowserPoolServer(r, service{pool.New()})
	})
}
