// Package link_test states what a unary call is, once, and holds gRPC itself and
// the link to it: a caller or a handler must not notice which of them carried
// the call. What gRPC does is the standard, also where it is odd; the few
// exceptions are fields of transport.
package link_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A transport carries unary calls over one connection.
type transport struct {
	name string

	// start serves at one end of a connection what register registers, and
	// returns a client at the other end with its Close. Both ends, and whatever
	// else it starts, are gone when the test is t.
	start func(tb testing.TB, ends cable, register func(grpc.ServiceRegistrar), options serverOptions) (grpc.ClientConnInterface, func() error)

	// refuses reports whether err is the documented refusal of a call that has
	// not been begun because it is too large, or has an option, for this
	// transport; nil: it takes all.
	refuses func(err error) bool

	// inline says that handlers run where requests are read, and must not wait.
	inline bool

	// cutsStatuses says that of a status of more than 64 KiB the details and the
	// end of the message may be missing.
	cutsStatuses bool

	// survives says that a handler that panics or calls runtime.Goexit costs its
	// own call only. gRPC leaves the first to an interceptor, and a caller
	// waits for ever after the second.
	survives bool
}

func transports() []transport {
	return []transport{overGRPC(), overLink(), overLinkInline()}
}

type serverOptions struct {
	interceptor grpc.UnaryServerInterceptor // nil: none
}

// A cable is the two ends of one connection.
type cable struct{ client, server *net.UnixConn }

// An arena is a test of one transport.
type arena struct {
	*testing.T
	transport
	sockets string
}

// overAll runs a test whose handlers never wait over all transports, and proves
// that it left nothing behind.
func overAll(t *testing.T, test func(t arena)) {
	t.Helper()
	for _, each := range transports() {
		t.Run(each.name, func(t *testing.T) {
			test(arena{T: t, transport: each, sockets: proctest.LeavesNothing(t)})
		})
	}
}

// overEach is overAll for a test whose handlers wait.
func overEach(t *testing.T, test func(t arena)) {
	t.Helper()
	overAll(t, func(t arena) {
		if t.inline {
			t.Skip("its handlers must not wait")
		}
		test(t)
	})
}

// run runs a part of the test.
func (a arena) run(name string, test func(t arena)) {
	a.Helper()
	a.Run(name, func(t *testing.T) { test(arena{T: t, transport: a.transport, sockets: a.sockets}) })
}

// A client is a connection to a station together with the means to end it.
type client struct {
	grpc.ClientConnInterface
	ends  cable
	close func() error // the client's own Close
}

// serve answers calls of echo with h.
func (a arena) serve(h handler) client {
	a.Helper()
	return a.serveStation(station{echo: h}, nil)
}

func (a arena) serveStation(s station, interceptor grpc.UnaryServerInterceptor) client {
	a.Helper()
	ends := a.connect()
	conn, closeConn := a.start(a, ends, s.register, serverOptions{interceptor: interceptor})
	return client{ClientConnInterface: conn, ends: ends, close: closeConn}
}

// connect returns a connection through a socket that has a name.
func (a arena) connect() cable {
	a.Helper()
	name := &net.UnixAddr{Net: "unix", Name: filepath.Join(a.sockets, "s")}
	listener, err := net.ListenUnix(name.Net, name)
	if err != nil {
		a.Fatal(err)
	}
	defer listener.Close()
	atClient, err := net.DialUnix(name.Net, nil, name)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { atClient.Close() })
	atServer, err := listener.AcceptUnix()
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { atServer.Close() })
	return cable{client: atClient, server: atServer}
}

// await receives what a test waits for.
func await[T any](tb testing.TB, from <-chan T, what string) T {
	tb.Helper()
	timeout := time.NewTimer(proctest.Patience)
	defer timeout.Stop()
	select {
	case v := <-from:
		return v
	case <-timeout.C:
		tb.Fatalf("waited %v in vain: %s", proctest.Patience, what)
		panic("unreachable")
	}
}

// patiently bounds a call that a broken transport would never answer.
func patiently(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), proctest.Patience)
	tb.Cleanup(cancel)
	return ctx
}

// wantCode compares the code that a caller got.
func wantCode(tb testing.TB, err error, want codes.Code) {
	tb.Helper()
	if got := status.Code(err); got != want {
		tb.Errorf("got %v (%v), want %v", got, err, want)
	}
}

// wantStatus compares the code and the message that a caller got.
func wantStatus(tb testing.TB, err error, code codes.Code, message string) {
	tb.Helper()
	got := status.Convert(err)
	if got.Code() != code || got.Message() != message {
		tb.Errorf("got %v %q, want %v %q", got.Code(), got.Message(), code, message)
	}
}

// pairs is metadata that prints its values, which metadata.MD does not.
type pairs map[string][]string

// ours is the part of md whose keys a test made up; each transport adds some of
// its own.
func ours(md metadata.MD) pairs {
	found := pairs{}
	for key, values := range md {
		if strings.HasPrefix(key, "x-") {
			found[key] = values
		}
	}
	return found
}
