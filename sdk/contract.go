package sdk

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// contract is gaia.plugin.v1.Plugin: what the host asks of every plugin.
type contract struct {
	pluginv1.UnimplementedPluginServer

	plugin *plugin
}

// Describe says what the plugin serves.
func (c *contract) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return c.plugin.description()
}

// Configure hands the config to the service that takes one.
func (c *contract) Configure(ctx context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	config := c.plugin.config
	if config == nil {
		if len(r.GetConfig()) > 0 {
			return nil, status.Errorf(codes.InvalidArgument, "%s takes no config", filepath.Base(os.Args[0]))
		}
		return &pluginv1.ConfigureResponse{}, nil
	}
	message := config.message.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(r.GetConfig(), message); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "config is not a %s: %v", message.ProtoReflect().Descriptor().FullName(), err)
	}
	if !c.plugin.calls.Enter() { // as one of the author's: no Close meanwhile
		return nil, errDraining()
	}
	defer c.plugin.calls.Leave()
	ctx = withPlaces(ctx, r.GetPlaces())
	response := &pluginv1.ConfigureResponse{}
	for _, e := range fieldErrors(config.apply(ctx, message)) {
		response.Diagnostics = append(response.Diagnostics, &pluginv1.Diagnostic{
			Path:    e.Path,
			Summary: "Config refused by the plugin",
			Detail:  e.Problem,
		})
	}
	return response, nil
}

// AnnounceDrain ends the calls that would not end by themselves.
func (c *contract) AnnounceDrain(context.Context, *pluginv1.AnnounceDrainRequest) (*pluginv1.AnnounceDrainResponse, error) {
	c.plugin.announce(errEnding())
	return &pluginv1.AnnounceDrainResponse{}, nil
}

// Drain waits for the calls in flight.
func (c *contract) Drain(ctx context.Context, r *pluginv1.DrainRequest) (*pluginv1.DrainResponse, error) {
	if grace := r.GetGrace(); grace != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(grace.AsDuration(), time.Millisecond))
		defer cancel()
	}
	unfinished, err := c.plugin.drain(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "drain: %v", err)
	}
	if unfinished > 0 {
		c.plugin.isCut.Store(true)
	}
	return &pluginv1.DrainResponse{Unfinished: uint32(unfinished)}, nil //nolint:gosec // G115: calls in flight are far below 2^32
}

// CollectMetrics gathers what the services measure.
func (c *contract) CollectMetrics(context.Context, *pluginv1.CollectMetricsRequest) (*pluginv1.CollectMetricsResponse, error) {
	families, err := c.plugin.gatherers.Gather()
	if err != nil && len(families) == 0 {
		return nil, status.Errorf(codes.Internal, "metrics: %v", err)
	}
	if err != nil {
		Logger().Warn("some metrics are missing", "err", err)
	}
	format := expfmt.NewFormat(expfmt.TypeProtoDelim)
	var body bytes.Buffer
	encoder := expfmt.NewEncoder(&body, format)
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return nil, status.Errorf(codes.Internal, "metrics: encode %s: %v", f.GetName(), err)
		}
	}
	return &pluginv1.CollectMetricsResponse{ContentType: string(format), Body: body.Bytes()}, nil
}
