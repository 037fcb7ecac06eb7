package registry

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// Describe asks a started plugin what it serves: gaia.plugin.v1.Plugin/Describe
// or, where the plugin does not implement that, gRPC reflection, which knows
// neither name nor version nor config. It blocks until the plugin answers or
// ctx ends.
func Describe(ctx context.Context, conn grpc.ClientConnInterface) (*Description, error) {
	response, err := pluginv1.NewPluginClient(conn).Describe(ctx, &pluginv1.DescribeRequest{},
		grpc.MaxCallRecvMsgSize(maxDescribeBytes))
	if status.Code(err) == codes.Unimplemented {
		response, err = askReflection(ctx, conn)
	}
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	return NewDescription(response)
}
