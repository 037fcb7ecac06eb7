package link_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/gaia-go/gaia/sdk/link"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
)

func overLink() transport {
	return transport{
		name:         "link",
		start:        startLink,
		refuses:      func(err error) bool { return errors.Is(err, link.ErrUnsuitable) },
		cutsStatuses: true,
		survives:     true,
	}
}

func overLinkInline() transport {
	inline := overLink()
	inline.name, inline.inline = "link inline", true
	inline.start = func(tb testing.TB, ends cable, register func(grpc.ServiceRegistrar), options serverOptions) (grpc.ClientConnInterface, func() error) {
		tb.Helper()
		return serveLink(tb, ends, register, link.ServerOptions{
			Interceptor:   options.interceptor,
			IsNonBlocking: func(string) bool { return true },
		})
	}
	return inline
}

func startLink(tb testing.TB, ends cable, register func(grpc.ServiceRegistrar), options serverOptions) (grpc.ClientConnInterface, func() error) {
	tb.Helper()
	return serveLink(tb, ends, register, link.ServerOptions{Interceptor: options.interceptor})
}

func serveLink(tb testing.TB, ends cable, register func(grpc.ServiceRegistrar), options link.ServerOptions) (grpc.ClientConnInterface, func() error) {
	tb.Helper()
	options.Logger = hclog.NewNullLogger()
	server := link.NewServer(options)
	register(server)
	ctx, cancel := context.WithCancel(context.Background()) // the test's ends before calls do
	var serving sync.WaitGroup
	serving.Go(func() { server.ServeConn(ctx, ends.server) })
	tb.Cleanup(func() {
		cancel()
		serving.Wait()
	})
	conn, err := link.Open(tb.Context(), ends.client)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn, conn.Close
}
