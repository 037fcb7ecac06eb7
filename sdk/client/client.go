// Package client connects a Go program to a gaia host:
//
//	conn, err := client.Dial(ctx, "run/gaia.sock")
//	…
//	defer conn.Close()
//	greeter := hellov1.NewGreeterClient(conn)
//
// Unary calls go over the link, which costs a few microseconds of CPU each;
// streams, requests over link.MaxPayload and whatever else the link does not do
// go over gRPC, and so does everything if the host has no link.
package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gaia-go/gaia/sdk/link"
)

// redialEvery is how often a link that was lost is looked for again. Calls go
// over gRPC meanwhile.
const redialEvery = 250 * time.Millisecond

// Conn is a connection to a host. It is a grpc.ClientConnInterface, safe for
// concurrent use, and outlives the host: calls fail with Unavailable while
// there is none.
type Conn struct {
	path string
	grpc *grpc.ClientConn
	link atomic.Pointer[link.Conn] // nil: none

	close   context.CancelFunc
	keeping sync.WaitGroup // of the link
}

// Option changes what Dial does.
type Option func(*settings)

type settings struct{ noLink bool }

// WithoutLink lets all calls go over gRPC.
func WithoutLink() Option { return func(s *settings) { s.noLink = true } }

// Dial connects to the host at a socket, whose path may follow "unix:". It is
// an error if nobody answers there. ctx bounds Dial only. The caller closes the
// connection.
func Dial(ctx context.Context, address string, opts ...Option) (*Conn, error) {
	var s settings
	for _, opt := range opts {
		opt(&s)
	}
	c := &Conn{path: strings.TrimPrefix(strings.TrimPrefix(address, "unix:"), "//")}
	first, err := c.dial(ctx)
	switch {
	case err != nil && !errors.Is(err, link.ErrNoLink):
		return nil, fmt.Errorf("dial %s: %w", address, err)
	case err == nil && s.noLink:
		err = first.Close()
	}
	c.grpc, err = grpc.NewClient("passthrough:///"+c.path,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's mode guards it
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.socket(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(link.MaxAnswer), grpc.MaxCallSendMsgSize(link.MaxAnswer)))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	c.close = end
	if first != nil && !s.noLink {
		c.link.Store(first)
		c.keeping.Go(func() { c.keep(life, first) })
	}
	return c, nil
}

func (c *Conn) socket(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", c.path)
}

// dial opens a link.
func (c *Conn) dial(ctx context.Context) (*link.Conn, error) {
	socket, err := c.socket(ctx)
	if err != nil {
		return nil, err
	}
	return link.Open(ctx, socket)
}

// keep replaces a link that was lost, until ctx ends.
func (c *Conn) keep(ctx context.Context, l *link.Conn) {
	tick := time.NewTicker(redialEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.Done():
		case <-ctx.Done():
		}
		c.link.Store(nil)
		_ = l.Close() // it never fails
		for l = nil; l == nil; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			l, _ = c.dial(ctx) // the next tick tries again
		}
		c.link.Store(l)
	}
}

// Close ends the connection. Calls in flight fail with Canceled.
func (c *Conn) Close() error {
	c.close()
	c.keeping.Wait()
	return c.grpc.Close()
}

// Invoke makes a unary call.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if l := c.link.Load(); l != nil && l.Usable() {
		err := l.Invoke(ctx, method, args, reply, opts...)
		if err == nil || !begunNot(err) {
			return err
		}
	}
	return c.grpc.Invoke(ctx, method, args, reply, opts...)
}

// begunNot reports whether a call that failed on the link may go over gRPC as
// if nothing had happened.
func begunNot(err error) bool {
	return errors.Is(err, link.ErrUnsuitable) || link.ReachOf(err) == link.Unreached
}

// NewStream begins a stream, which goes over gRPC.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.grpc.NewStream(ctx, desc, method, opts...)
}

// Transport is what unary calls go over at this moment: "link" or "grpc".
func (c *Conn) Transport() string {
	if l := c.link.Load(); l != nil && l.Usable() {
		return "link"
	}
	return "grpc"
}
