// Package door is the HTTP way in: one server for pages that anybody may read
// (/metrics, /livez, /readyz), for profiles, and for calls of methods by RPC
// and by plain JSON. It decides who may come in; what is behind it does not ask
// again.
package door

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxCalls is how many calls may be under way at once. Each costs a goroutine
// and its messages; what subsystems bear is said by their own limits, which are
// far lower.
const maxCalls = 10_000

// Config is what a Server needs.
type Config struct {
	// Pages are for everybody who can connect: /livez, /readyz, /metrics. Their
	// requests are cancelled as soon as the server stops. Required.
	Pages http.Handler
	// Profiles are served under /debug/pprof/ to who has Token. Optional.
	Profiles http.Handler
	// RPC is served at "/<package.Service>/<Method>", REST at "/v1" and below it,
	// both after Authenticate. Optional.
	RPC, REST http.Handler
	// Authenticate returns the context of a request whose caller is known, or a
	// gRPC status. Safe for concurrent use. Optional; without it who has Token
	// may call.
	Authenticate func(*http.Request) (context.Context, error)
	// Token is the host's own bearer token. Without one its bearer does not
	// exist.
	Token string
	// Host is the host name in the configured address, if it has one: with the
	// loopback names and IP addresses it is what a Host header may say.
	Host string
	// Grace is how long calls may go on when Serve ends; it is asked then.
	// Required.
	Grace func() time.Duration
	// Logger gets what goes wrong. Required.
	Logger hclog.Logger
}

// Server is the host's HTTP server.
type Server struct {
	config   Config
	handler  http.Handler
	visitors visitors
	calls    chan struct{} // a place per call under way
	leaving  chan struct{} // closed when Serve begins to stop
}

// New returns a server that is not started.
func New(c Config) *Server {
	if c.Authenticate == nil {
		c.Authenticate = bearer(c.Token)
	}
	s := &Server{config: c, calls: make(chan struct{}, maxCalls), leaving: make(chan struct{})}
	s.handler = s.visitors.count(s.contain(boundBody(checkHost(c.Host, noSniff(s.routes())))))
	return s
}

// Handler returns what Serve serves.
func (s *Server) Handler() http.Handler { return s.handler }

// routes tells apart what is asked for. (http.ServeMux would redirect what it
// thinks is no clean path, and gRPC follows nobody.)
func (s *Server) routes() http.Handler {
	profiles := s.private(s.config.Profiles, bearer(s.config.Token))
	rest := s.private(s.call(s.config.REST), s.config.Authenticate)
	rpc := s.private(s.call(noForms(s.config.RPC)), s.config.Authenticate)
	pages := s.untilStop(s.config.Pages)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case s.config.Profiles != nil && strings.HasPrefix(path, "/debug/pprof/"):
			profiles.ServeHTTP(w, r)
		case s.config.REST != nil && (path == "/v1" || strings.HasPrefix(path, "/v1/")):
			rest.ServeHTTP(w, r)
		case s.config.RPC != nil && isMethod(path):
			rpc.ServeHTTP(w, r)
		default:
			pages.ServeHTTP(w, r)
		}
	})
}

// contain says in the log what a handler panicked with: net/http would do so
// among what callers cause by breaking off. The answer is broken off.
func (s *Server) contain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, _ := p.(error); !errors.Is(err, http.ErrAbortHandler) {
				s.config.Logger.Error("panic in a request", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			}
			panic(http.ErrAbortHandler)
		}()
		next.ServeHTTP(w, r)
	})
}

// isMethod reports whether a path has the form "/<package.Service>/<Method>".
func isMethod(path string) bool {
	service, method, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return ok && service != "" && method != "" && !strings.Contains(method, "/")
}

// private lets in whom authenticate knows, and nobody on behalf of a foreign
// web page.
func (s *Server) private(next http.Handler, authenticate func(*http.Request) (context.Context, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := checkOrigin(r); err != nil {
			refuse(w, r, err)
			return
		}
		ctx, err := authenticate(r)
		if err != nil {
			refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// call lets in as many calls as there is room for.
func (s *Server) call(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.calls <- struct{}{}:
			defer func() { <-s.calls }()
		default:
			refuse(w, r, status.Errorf(codes.ResourceExhausted, "%d calls under way by HTTP, limit %d; call again later", maxCalls, maxCalls))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// untilStop cancels requests as soon as the server stops: nobody waits for a
// page, nor for who does not read it.
func (s *Server) untilStop(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pageTimeout)) // a test's recorder has none
		ctx, cancel := context.WithCancel(r.Context())
		var watch sync.WaitGroup
		watch.Go(func() {
			select {
			case <-s.leaving:
				cancel()
			case <-ctx.Done():
			}
		})
		defer watch.Wait()
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
