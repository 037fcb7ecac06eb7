package link_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func overGRPC() transport {
	return transport{name: "gRPC", start: startGRPC}
}

func startGRPC(tb testing.TB, ends cable, register func(grpc.ServiceRegistrar), options serverOptions) (grpc.ClientConnInterface, func() error) {
	tb.Helper()
	server := grpc.NewServer(
		grpc.UnaryInterceptor(options.interceptor),
		grpc.MaxRecvMsgSize(biggest), // 4 MiB without
		grpc.WaitForHandlers(true),
	)
	register(server)
	listener := &listenerOfOne{addr: ends.server.LocalAddr(), conns: make(chan net.Conn, 1)}
	listener.conns <- ends.server
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	tb.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			tb.Errorf("Serve: %v", err)
		}
	})

	var dialled sync.Once
	conn, err := grpc.NewClient("passthrough:///station",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (end net.Conn, err error) {
			err = errors.New("the only connection is used up")
			dialled.Do(func() { end, err = ends.client, nil })
			return end, err
		}))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		conn.Close()
		ends.client.Close() // which a client that made no call has never touched
	})
	return conn, conn.Close
}

// A listenerOfOne has one connection to offer.
type listenerOfOne struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
}

func (l *listenerOfOne) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l *listenerOfOne) Close() error {
	l.once.Do(func() { close(l.conns) })
	return nil
}

func (l *listenerOfOne) Addr() net.Addr { return l.addr }
