package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestMain makes the test binary its own fleet of plugins: called by the name
// of one, it is that plugin.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "gaia-test-station":
		Serve(func(r grpc.ServiceRegistrar) {
			grpc_testing.RegisterTestServiceServer(r, &station{released: make(chan struct{})})
			grpc_testing.RegisterLoadBalancerStatsServiceServer(r, &gauge{})
		})
	case "gaia-test-leaky":
		Serve(func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, &leaky{}) })
	case "gaia-test-serves-nothing":
		Serve(func(grpc.ServiceRegistrar) {})
	default:
		m.Run()
	}
}

// station is a service with all that Serve looks for.
type station struct {
	grpc_testing.UnimplementedTestServiceServer

	greeting string
	released chan struct{} // closed by a stream's "release"
}

// Configure takes a greeting, or "the place of" a block.
func (s *station) Configure(ctx context.Context, c *wrapperspb.StringValue) error {
	if c.GetValue() == "wrong" {
		return fmt.Errorf("greeting: %w", errors.Join(
			Invalid("value", "%q is wrong, write something right.", c.GetValue()),
			Invalid("", "Nothing about it is right."),
			errors.New("no idea"),
		))
	}
	s.greeting = c.GetValue()
	if path, ok := strings.CutPrefix(s.greeting, "the place of "); ok {
		s.greeting = fmt.Sprintf("%q", Place(ctx, path))
	}
	return nil
}

// Drain says that it was called.
func (s *station) Drain(context.Context) error {
	_, _ = fmt.Fprintln(os.Stdout, "station drains")
	return nil
}

// Shutdown says that it was called.
func (s *station) Shutdown(context.Context) error {
	_, _ = fmt.Fprintln(os.Stdout, "station shuts down")
	return nil
}

// Metrics has one.
func (s *station) Metrics() prometheus.Gatherer { return registry("station_metric") }

func (s *station) UnaryCall(ctx context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	verb, argument, _ := strings.Cut(string(r.GetPayload().GetBody()), " ")
	switch verb {
	case "greet":
		return &grpc_testing.SimpleResponse{Username: s.greeting + " " + argument}, nil
	case "panic":
		panic(argument)
	case "log":
		Logger().Debug("logged", "what", argument)
		return &grpc_testing.SimpleResponse{}, nil
	case "wait":
		Logger().Info("waiting")
		select {
		case <-s.released:
			return &grpc_testing.SimpleResponse{Username: "released"}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "linger":
		ctx, stop := UntilDrain(ctx)
		defer stop()
		Logger().Info("lingering")
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return nil, status.Errorf(codes.InvalidArgument, "cannot %q", verb)
}

func (s *station) FullDuplexCall(stream grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		switch verb := string(r.GetPayload().GetBody()); verb {
		case "panic":
			panic("in a stream")
		case "linger":
			ctx, stop := UntilDrain(stream.Context())
			defer stop()
			<-ctx.Done()
			return context.Cause(ctx)
		case "release":
			close(s.released)
			return nil
		default:
			if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: r.GetPayload()}); err != nil {
				return err
			}
		}
	}
}

// gauge is a second service with metrics of its own.
type gauge struct {
	grpc_testing.UnimplementedLoadBalancerStatsServiceServer
}

// Metrics has one.
func (g *gauge) Metrics() prometheus.Gatherer { return registry("gauge_metric") }

func registry(name string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "A metric."}))
	return r
}

// leaky cannot be shut down without an error.
type leaky struct {
	grpc_testing.UnimplementedTestServiceServer
}

// Shutdown fails.
func (*leaky) Shutdown(context.Context) error { return errors.New("water in the hull") }
