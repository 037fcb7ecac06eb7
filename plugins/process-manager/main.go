// Command gaia-process-manager is the plugin that starts, supervises and ends processes
// for its callers. It is started by gaia.
package main

import (
	_ "embed"
	"runtime/debug"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/processes"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
)

// descriptors is the API with its comments, written by `make generate`.
//
//go:embed descriptors.binpb
var descriptors []byte

// service is the manager together with its documentation.
type service struct{ *processes.Manager }

// Descriptors is the serialized FileDescriptorSet of gaia.process.v1.
func (service) Descriptors() []byte { return descriptors }

func main() {
	// Memory counts here, and calls are few. This is for while many are started, by some
	// 5 MB; what they leave behind is given back a moment later, see settleTime.
	debug.SetGCPercent(20)
	if err := spawn.Seal(); err != nil {
		sdk.Logger().Warn("what the host has inherited may be inherited on", "err", err)
	}
	sdk.Serve(func(r grpc.ServiceRegistrar) {
		processv1.RegisterProcessManagerServer(r, service{processes.New()})
	})
}
