package gateway

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/gaia-go/gaia/sdk/link"
)

// serveEcho runs the service as an instance in this process.
func serveEcho(tb testing.TB, e echo, options ...grpc.DialOption) *instance {
	tb.Helper()
	lis, address := listen(tb)
	s := grpc.NewServer(grpc.MaxRecvMsgSize(2*MaxMessage), grpc.MaxSendMsgSize(2*MaxMessage), grpc.WaitForHandlers(true))
	e.register(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	tb.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	i := &instance{ClientConn: dial(tb, address, options...), exited: make(chan struct{}), generation: 1}
	if waysOf(tb).instance == byLink {
		i.link, i.socket = serveLink(tb, e)
	}
	return i
}

// serveLink serves the unary methods of the service by the link.
func serveLink(tb testing.TB, e echo) (l *link.Conn, socket net.Conn) {
	tb.Helper()
	lis, address := listen(tb)
	s := link.NewServer(link.ServerOptions{Logger: hclog.NewNullLogger()})
	e.register(s)
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, lis) }()
	socket = dialSocket(tb, address)
	l = linkOver(tb, socket)
	tb.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return l, socket
}

// openLink connects to a server of the link.
func openLink(tb testing.TB, address string) *link.Conn {
	tb.Helper()
	return linkOver(tb, dialSocket(tb, address))
}

func linkOver(tb testing.TB, socket net.Conn) *link.Conn {
	tb.Helper()
	l, err := link.Open(tb.Context(), socket)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() }) // it never fails
	return l
}

func dialSocket(tb testing.TB, address string) net.Conn {
	tb.Helper()
	socket, err := new(net.Dialer).DialContext(tb.Context(), "unix", strings.TrimPrefix(address, "unix:"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = socket.Close() }) // a test may have closed it
	return socket
}

// instance is a connection to an instance of the service.
type instance struct {
	*grpc.ClientConn

	link       *link.Conn
	socket     net.Conn // of the link
	exited     chan struct{}
	exit       string
	generation uint64
	lent       atomic.Int64 // to calls that have not given it back
}

func (i *instance) Exited() <-chan struct{} { return i.exited }
func (i *instance) Exit() string            { return i.exit }
func (i *instance) Generation() uint64      { return i.generation }
func (i *instance) Release()                { i.lent.Add(-1) }
func (i *instance) Link() *link.Conn        { return i.link }

// lend counts the instance as lent, which Release takes back.
func (i *instance) lend() Instance {
	i.lent.Add(1)
	return i
}

// observer is a subsystem's metrics, which it may get only later.
type observer struct{ subsystem *Subsystem }

func (o observer) Rejected(policy string) { o.subsystem.Metrics.Rejected(policy) }
func (o observer) Retried()               { o.subsystem.Metrics.Retried() }

// acquire implements Instances for who always has to wait.
type acquire func(ctx context.Context) (Instance, error)

func (a acquire) Acquire(ctx context.Context, _ uint64) (Instance, error) { return a(ctx) }
func (a acquire) TryAcquire() Instance                                    { return nil }

// always is Instances of one instance.
func always(i *instance) Instances { return only{i} }

type only struct{ *instance }

func (o only) Acquire(context.Context, uint64) (Instance, error) { return o.lend(), nil }
func (o only) TryAcquire() Instance                              { return o.lend() }
