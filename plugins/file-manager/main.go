// Command gaia-file-manager is the plugin that works on files below configured
// roots for its callers. It is started by gaia.
package main

import (
	_ "embed"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/files"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
)

// descriptors is the API with its comments, written by `make generate`.
//
//go:embed descriptors.binpb
var descriptors []byte

// service is the manager together with its documentation.
type service struct{ *files.Manager }

// Descriptors is the serialized FileDescriptorSet of gaia.file.v1.
func (service) Descriptors() []byte { return descriptors }

func main() {
	sdk.Serve(func(r grpc.ServiceRegistrar) {
		filev1.RegisterFileManagerServer(r, service{files.New()})
	})
}
