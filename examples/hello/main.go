// Command hello is a gaia plugin as a third party would write it: the host was
// not compiled with its services.
package main

import (
	"context"
	"strings"

	hellov1 "github.com/gaia-go/gaia/examples/hello/proto/hello/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func main() {
	sdk.Serve(func(r grpc.ServiceRegistrar) { hellov1.RegisterGreeterServer(r, &greeter{}) })
}

type greeter struct {
	hellov1.UnimplementedGreeterServer

	greeting string
}

// Configure takes the config{} block.
func (g *greeter) Configure(_ context.Context, c *hellov1.Config) error {
	if strings.Contains(c.GetGreeting(), "%") {
		return sdk.Invalid("greeting", "A greeting is plain text, such as \"Hello\", without %%.")
	}
	g.greeting = c.GetGreeting()
	if g.greeting == "" {
		g.greeting = "Hello"
	}
	return nil
}

// Hello greets somebody once.
func (g *greeter) Hello(_ context.Context, r *hellov1.HelloRequest) (*hellov1.HelloResponse, error) {
	if r.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name is empty, want whom to greet")
	}
	return &hellov1.HelloResponse{Text: g.greeting + ", " + r.GetName() + "!"}, nil
}

// Countdown sends the numbers from r.From down to 0.
func (g *greeter) Countdown(r *hellov1.CountdownRequest, stream grpc.ServerStreamingServer[hellov1.CountdownResponse]) error {
	if r.GetFrom() > 100 {
		return status.Errorf(codes.InvalidArgument, "from is %d, at most 100 is allowed", r.GetFrom())
	}
	for i := range r.GetFrom() + 1 {
		if err := stream.Send(&hellov1.CountdownResponse{Left: r.GetFrom() - i}); err != nil {
			return err
		}
	}
	return nil
}
