package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/sdk/internal/peercred"
)

// ServerOptions are what a Server needs.
type ServerOptions struct {
	// Logger is told of peers that are cut off, and of panics. Required.
	Logger hclog.Logger
	// Interceptor is called around each registered method. Optional.
	Interceptor grpc.UnaryServerInterceptor
	// Handler gets the calls of methods that are not registered. Optional.
	Handler Handler
	// IsNonBlocking reports whether a method never waits and ends within
	// microseconds. It then runs on the connection's reader, for which all other
	// calls of the connection wait. Optional.
	IsNonBlocking func(method string) bool
	// GreetTimeout is how long who has connected may take to greet. Optional: 5 s.
	GreetTimeout time.Duration
	// Accept decides on who has connected. Optional: without it everybody who
	// has the socket may call.
	Accept func(net.Conn) error
}

// Handler serves calls without decoding them.
type Handler interface {
	// Serve is called by the reader of a connection, for which all its other
	// calls wait: it does not block. It sees to it that c.Answer is called, now
	// or later. What c says is valid until Serve returns.
	Serve(c *Call, b *Batch)
}

// Server is the server's end of any number of connections. Made by NewServer.
type Server struct {
	options  ServerOptions
	methods  map[string]*method // read-only once the server serves
	contexts contexts

	mu       sync.Mutex
	sessions map[*session]struct{}
	draining bool
}

// method is one that was registered, or one that a client wants to call.
type method struct {
	name    string
	impl    any
	handler grpc.MethodHandler // nil: it was not registered
	inline  bool               // it runs on the reader
}

// NewServer returns a server without methods.
func NewServer(o ServerOptions) *Server {
	return &Server{options: o, methods: make(map[string]*method), sessions: make(map[*session]struct{})}
}

// RegisterService adds the unary methods of a service, as
// grpc.ServiceRegistrar has it. It is called before the server serves. Streams
// are Unimplemented here.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for i := range desc.Methods {
		name := "/" + desc.ServiceName + "/" + desc.Methods[i].MethodName
		s.methods[name] = &method{
			name:    name,
			impl:    impl,
			handler: desc.Methods[i].Handler,
			inline:  s.options.IsNonBlocking != nil && s.options.IsNonBlocking(name),
		}
	}
}

// Serve accepts connections until ctx ends or the listener does, which it
// closes. It returns when all connections have ended; nil when that was because
// of ctx.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = lis.Close() })
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := lis.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("link: accept: %w", err)
		}
		serving.Go(func() { s.ServeConn(ctx, conn) })
	}
}

// ServeConn serves one connection, which it closes, until the other end ends it,
// or ctx, whose values are those of calls' contexts, too. It returns when all of its calls have been answered. A peer that
// breaks the protocol is cut off and logged.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	defer conn.Close() //nolint:errcheck // it may be closed already
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	peer, _ := peercred.Of(conn) // 0: it cannot be told
	err := s.serveConn(ctx, conn)
	if ctx.Err() != nil || err == nil || errors.Is(err, io.EOF) || isHangup(err) {
		return
	}
	s.options.Logger.Warn("peer cut off", "pid", peer.PID, "uid", peer.UID, "err", err)
}

func (s *Server) serveConn(ctx context.Context, conn net.Conn) error {
	if s.options.Accept != nil {
		if err := s.options.Accept(conn); err != nil {
			return err
		}
	}
	session, err := newSession(ctx, s, conn)
	if err != nil {
		return err
	}
	if !s.add(session) {
		return nil
	}
	defer s.remove(session)
	return session.run()
}

func (s *Server) add(session *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.sessions[session] = struct{}{}
	return true
}

func (s *Server) remove(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session)
}

// Drain refuses new calls and waits until those in flight are answered and the
// answers are sent, or until ctx ends. It returns how many were in flight then.
func (s *Server) Drain(ctx context.Context) (unfinished int) {
	s.mu.Lock()
	s.draining = true
	var idle []<-chan struct{}
	var sessions []*session
	for session := range s.sessions {
		sessions = append(sessions, session)
	}
	s.mu.Unlock()
	for _, session := range sessions {
		idle = append(idle, session.drain())
	}
	for i, ch := range idle {
		select {
		case <-ch:
			sessions[i].out.awaitEmpty(ctx)
		case <-ctx.Done():
			unfinished += sessions[i].inFlight()
		}
	}
	return unfinished
}

// errDraining is what calls are told that come too late.
func errDraining() error {
	return status.Error(codes.Unavailable, "link: the server is draining and takes no new calls")
}

// errCancelled is what is sent to nobody any more.
func errCancelled() error { return status.FromContextError(context.Canceled).Err() }

// unknown is the answer to a call of a method that there is not, in gRPC's
// words.
func (s *Server) unknown(name string) error {
	service, method := "", ""
	if i := strings.LastIndexByte(name, '/'); i > 0 && name[0] == '/' {
		service, method = name[1:i], name[i+1:]
	} else {
		return status.Errorf(codes.Unimplemented, "malformed method name: %q", name)
	}
	for known := range s.methods {
		if strings.HasPrefix(known, "/"+service+"/") {
			return status.Errorf(codes.Unimplemented, "unknown method %s for service %s", method, service)
		}
	}
	return status.Errorf(codes.Unimplemented, "unknown service %s", service)
}

// errHungUp is the error of an outbox whose connection has ended by itself.
var errHungUp = errors.New("link: the connection has ended")

// isHangup reports whether an error says no more than that the peer is gone.
func isHangup(err error) bool {
	return errors.Is(err, errHungUp) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// SameUser is for ServerOptions.Accept: it lets nobody call but processes of the
// user who runs this one.
func SameUser(conn net.Conn) error {
	peer, err := peercred.Of(conn)
	if err != nil {
		return err
	}
	return peer.SameUser()
}
