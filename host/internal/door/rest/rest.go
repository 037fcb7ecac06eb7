// Package rest is the door for scripts: every method of every subsystem at
// POST /v1/<subsystem>/<Method>, with messages as plain JSON, or the one bytes
// field of a message as a raw body; and at GET what there is to call. It knows
// methods by their descriptors only.
package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/door/bodies"
	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// Calls takes calls, as gateway.Server does.
type Calls interface {
	Call(method string, caller gateway.Caller) error
}

// Config is what the door needs. All fields are required.
type Config struct {
	Calls    Calls
	Registry *registry.Registry[*gateway.Subsystem]
	// Bodies is the memory for requests, of this door and others.
	Bodies *bodies.Budget
	// Subsystems says how each subsystem is; safe for concurrent use.
	Subsystems func() []State
	// Version of the host, for the document that describes the API.
	Version string
}

// State is what the list of subsystems tells of one.
type State struct {
	Name   string
	Plugin string // its file
	State  string // "ready", "backoff", …
	Reason string // in one line; "" when ready
}

// handler serves /v1 and what is below.
type handler struct {
	Config

	catalog catalog
}

// New returns a handler of /v1 and all below it. It leaves it to who mounts it
// to ask callers who they are.
func New(c Config) http.Handler { return &handler{Config: c} }

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	subsystem, method, _ := strings.Cut(strings.Trim(strings.TrimPrefix(r.URL.Path, "/v1"), "/"), "/")
	known := h.catalog.load(h.Registry, h.Version)
	switch {
	case method != "":
		h.serveMethod(w, r, known, subsystem, method)
	case !allow(w, r, http.MethodGet, http.MethodHead):
	case subsystem == "":
		writeJSON(w, http.StatusOK, h.index(known))
	case subsystem == "openapi.json":
		h.serveOpenAPI(w, known)
	default:
		h.serveSubsystem(w, known, subsystem)
	}
}

// serveMethod calls a method, or describes it.
func (h *handler) serveMethod(w http.ResponseWriter, r *http.Request, known *snapshot, subsystem, name string) {
	if !allow(w, r, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut) {
		return
	}
	s, err := h.subsystem(known, subsystem)
	if err != nil {
		writeError(w, err, nil)
		return
	}
	m, err := s.method(name)
	switch {
	case err != nil:
		writeError(w, err, nil)
	case r.Method == http.MethodPost, r.Method == http.MethodPut:
		h.call(w, r, s, m)
	default:
		writeJSON(w, http.StatusOK, describeMethod(s, m))
	}
}

// subsystem finds a subsystem that is described.
func (h *handler) subsystem(known *snapshot, name string) (*subsystem, error) {
	if s := known.byName[name]; s != nil {
		return s, nil
	}
	_, err := h.Registry.Route("", name) // which there is not: the error says why, with the nearest name
	return nil, err
}

// method finds a method by one of its names.
func (s *subsystem) method(name string) (*method, error) {
	switch found := s.methods[strings.Replace(name, "/", ".", 1)]; len(found) {
	case 1:
		return found[0], found[0].check()
	case 0:
		hint := "GET /v1/" + s.name + " lists its methods"
		if best, ok := nearest.Name(name, s.spellings); ok {
			hint = fmt.Sprintf("did you mean %q?", best)
		}
		return nil, status.Errorf(codes.NotFound, "subsystem %q has no method %q; %s", s.name, name, hint)
	default:
		names := make([]string, len(found))
		for i, m := range found {
			names[i] = m.callName
		}
		return nil, status.Errorf(codes.InvalidArgument, "several services of %q have a method %q; say which: %s",
			s.name, name, strings.Join(names, ", "))
	}
}

// allow refuses requests with other verbs than these.
func allow(w http.ResponseWriter, r *http.Request, verbs ...string) bool {
	if slices.Contains(verbs, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(verbs, ", "))
	refuse(w, http.StatusMethodNotAllowed, codes.Unimplemented, "%s takes %s, not %s", r.URL.Path, strings.Join(verbs, ", "), r.Method)
	return false
}
