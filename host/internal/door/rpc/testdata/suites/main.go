// Command suites is the plugin behind the public suites of Connect and gRPC: it
// serves what their clients call.
package main

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/gaia-go/gaia/host/internal/door/rpc/testdata/suites/conformancev1"
	"github.com/gaia-go/gaia/sdk"
)

func main() {
	sdk.Serve(func(r grpc.ServiceRegistrar) {
		conformancev1.RegisterConformanceServiceServer(r, conformance{})
		testpb.RegisterTestServiceServer(r, interop.NewTestServer())
	})
}
