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
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gaia-go/gaia/sdk/internal/peercred"
	"github.com/gaia-go/gaia/sdk/link"
)

const (
	// redialEvery is how often a link that was lost is looked for again. Calls go
	// over gRPC meanwhile.
	redialEvery = 250 * time.Millisecond
	// noLinkEvery is how often a host is asked again that said that it has no
	// link: it may be replaced by one that does.
	noLinkEvery = 30 * time.Second
	// maxBackoff is how long gRPC waits at most before it looks for the host
	// again. Its own two minutes are meant for networks.
	maxBackoff = time.Second
	// connectTimeout is gRPC's own for a connection.
	connectTimeout = 20 * time.Second
)

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
// an error if nobody answers there, or somebody who is neither of our user nor
// root. A host whose link does not answer is called over gRPC until it does.
// ctx bounds Dial only. The caller closes the connection.
func Dial(ctx context.Context, address string, opts ...Option) (*Conn, error) {
	var s settings
	for _, opt := range opts {
		opt(&s)
	}
	c := &Conn{path: strings.TrimPrefix(strings.TrimPrefix(address, "unix:"), "//")}
	first, err := c.socket(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	c.grpc, err = grpc.NewClient("passthrough:///host", // the dialer knows where that is
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's mode guards it
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.socket(ctx) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redialEvery, Multiplier: 2, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(link.MaxAnswer), grpc.MaxCallSendMsgSize(link.MaxAnswer)))
	if err != nil {
		_ = first.Close()
		return nil, fmt.Errorf("internal: dial %s: %w", address, err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	c.close = end
	if s.noLink {
		_ = first.Close() // it has shown that somebody is there
		return c, nil
	}
	l, err := link.Open(ctx, first)
	if ctx.Err() != nil {
		if l != nil {
			_ = l.Close() // it never fails
		}
		return nil, errors.Join(fmt.Errorf("dial %s: %w", address, ctx.Err()), c.Close())
	}
	c.link.Store(l) // nil if there was an error
	c.keeping.Go(func() { c.keep(life, l, err) })
	return c, nil
}

// socket connects to the host, if it is one that may be trusted with calls.
func (c *Conn) socket(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, err
	}
	peer, err := peercred.Of(conn)
	if err == nil {
		err = peer.SameUserOrRoot()
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// keep sees to it that there is a link whenever there can be one, until ctx
// ends. It begins with l or, if that is nil, with the error that came instead.
func (c *Conn) keep(ctx context.Context, l *link.Conn, err error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := redialEvery; ; {
		if l != nil {
			select {
			case <-l.Done():
			case <-ctx.Done():
			}
			c.link.Store(nil)
			_ = l.Close() // it never fails
		}
		wait = nextWait(wait, err)
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		var socket net.Conn
		if socket, err = c.socket(ctx); err != nil {
			l, err = nil, nil // nobody is there: whoever comes is another
			continue
		}
		if l, err = link.Open(ctx, socket); err == nil {
			c.link.Store(l)
		}
	}
}

// nextWait is how long to wait before the next greeting; err is what became of
// the last one, nil if it went well. A host that is silent or hangs up may be
// busy, or may not want us: it is asked less and less often.
func nextWait(last time.Duration, err error) time.Duration {
	_, broken := errors.AsType[net.Error](err)
	broken = broken || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case err == nil:
		return redialEvery
	case errors.Is(err, link.ErrNoLink) && !broken: // it said so
		return noLinkEvery
	default:
		return min(2*last, noLinkEvery)
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
