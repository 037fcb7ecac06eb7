// Package rpc serves the methods of all plugins over HTTP, by Connect, gRPC and
// gRPC-Web, in protobuf's binary form and in JSON, and answers gRPC reflection
// and health. It knows methods by their descriptors; binary messages pass as
// they are.
package rpc

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/gaia-go/gaia/host/internal/door/bodies"
	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// Config is what the handler needs. All fields are required.
type Config struct {
	Registry *registry.Registry[*gateway.Subsystem]
	Gateway  *gateway.Server
	// Bodies is the memory for requests, of this door and others.
	Bodies *bodies.Budget
}

// New returns the handler of "/<package.Service>/<Method>". Who may call is
// decided before it.
func New(c Config) http.Handler {
	return &server{config: c, own: ownServices(c)}
}

type server struct {
	config Config
	own    *http.ServeMux // reflection and health
	table  atomic.Pointer[table]
}

// table has the handlers of the methods that were called, for one version of
// the registry. They are dropped with it: a reload may change any descriptor.
type table struct {
	version  uint64
	handlers sync.Map // http.Handler by *registry.Method
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	connection := newConnection(w, r, s.config.Bodies)
	defer connection.share.Close()
	r = connection.of(r)
	if strings.HasPrefix(r.URL.Path, "/grpc.") { // which plugins cannot have
		if _, pattern := s.own.Handler(r); pattern != "" {
			s.own.ServeHTTP(w, r)
			return
		}
	}
	handler, err := s.handler(r.URL.Path, r.Header.Get(gateway.SubsystemKey))
	if err != nil {
		refuse(w, r, err)
		return
	}
	handler.ServeHTTP(w, r)
}

// handler returns the one of a method, which it makes if there is none.
func (s *server) handler(name, subsystem string) (http.Handler, error) {
	table := s.current()
	route, err := s.config.Registry.Route(name, subsystem)
	if err != nil {
		return nil, err
	}
	if handler, ok := table.handlers.Load(route.Method); ok {
		return handler.(http.Handler), nil //nolint:forcetypeassert // nothing else is stored
	}
	// The description may be the one after the route's, whose types are those
	// that the next call will be read by.
	d, ok := s.config.Registry.Description(route.Subsystem)
	if !ok {
		return nil, status.Errorf(codes.Unavailable, "%s: is being replaced; call again", route.Subsystem)
	}
	m := &method{Method: route.Method, types: d.Types(), gateway: s.config.Gateway, bodies: s.config.Bodies}
	handler, _ := table.handlers.LoadOrStore(route.Method, m.handler())
	return handler.(http.Handler), nil //nolint:forcetypeassert // nothing else is stored
}

// current returns the table of the registry's version.
func (s *server) current() *table {
	version := s.config.Registry.Version()
	t := s.table.Load()
	if t != nil && t.version == version {
		return t
	}
	next := &table{version: version}
	if s.table.CompareAndSwap(t, next) {
		return next
	}
	return s.table.Load() // by somebody who saw the change, too
}

// refuse answers a call that leads to no method, in the caller's protocol. An
// error of Connect that says so has HTTP's status for it.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusBadRequest
	if c := status.Code(err); c == codes.NotFound || c == codes.Unimplemented {
		code = http.StatusNotFound
		w = notFound{w}
	}
	protocols := connect.NewErrorWriter()
	if protocols.IsSupported(r) {
		_ = protocols.Write(w, r, fault(err, protoregistry.GlobalTypes)) // the caller may have gone
		return
	}
	http.Error(w, status.Convert(err).Message(), code)
}

// notFound makes another status of an error than Connect has for the code. gRPC
// and streams, whose status is always 200, are left alone.
type notFound struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (n notFound) WriteHeader(code int) {
	if code != http.StatusOK {
		code = http.StatusNotFound
	}
	n.ResponseWriter.WriteHeader(code)
}

// fault is a gRPC status as an error of Connect, which has the same codes.
// Types let details be shown in JSON.
func fault(err error, types protoregistry.MessageTypeResolver) *connect.Error {
	st := status.Convert(err)
	e := connect.NewError(connect.Code(st.Code()), errors.New(st.Message()))
	for _, each := range st.Proto().GetDetails() {
		if d := detail(each, types); d != nil {
			e.AddDetail(d)
		}
	}
	return e
}
