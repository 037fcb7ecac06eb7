// Command memory-file-manager is another implementation of
// gaia.file.v1.FileManager: it reads its roots once, at its start, and from then
// on holds all files in memory.
package main

import (
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
)

func main() {
	sdk.Serve(func(r grpc.ServiceRegistrar) { filev1.RegisterFileManagerServer(r, &manager{}) })
}
