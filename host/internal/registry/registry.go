package registry

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Registry maps methods to subsystems; S is what the host wants to get back
// with a route. The zero Registry is empty and ready to use. Safe for
// concurrent use: writers build a new snapshot, readers take no lock and
// allocate nothing.
type Registry[S any] struct {
	current atomic.Pointer[snapshot[S]]

	mu sync.Mutex // serializes writers
}

// Route is where a call goes.
type Route[S any] struct {
	Subsystem string
	Value     S
	Method    *Method
}

// snapshot is the whole of a registry at one moment. Immutable.
type snapshot[S any] struct {
	subsystems map[string]subsystem[S]
	names      []string              // of subsystems, sorted
	routes     map[string][]Route[S] // by method, each sorted by subsystem
	version    uint64
	services   map[string][]string // names of subsystems by service, each sorted
}

type subsystem[S any] struct {
	description *Description // nil: nothing is known yet
	value       S
}

// Set adds a subsystem or replaces what is known of it. A nil description
// means that the subsystem exists and serves nothing yet.
func (r *Registry[S]) Set(name string, d *Description, value S) {
	r.change(func(all map[string]subsystem[S]) { all[name] = subsystem[S]{description: d, value: value} })
}

// Remove forgets a subsystem. Removing an unknown one changes nothing.
func (r *Registry[S]) Remove(name string) {
	r.change(func(all map[string]subsystem[S]) { delete(all, name) })
}

func (r *Registry[S]) change(edit func(map[string]subsystem[S])) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.load().subsystems)
	if all == nil {
		all = make(map[string]subsystem[S])
	}
	edit(all)
	next := newSnapshot(all)
	next.version = r.load().version + 1
	r.current.Store(next)
}

func newSnapshot[S any](all map[string]subsystem[S]) *snapshot[S] {
	s := &snapshot[S]{
		subsystems: all,
		names:      slices.Sorted(maps.Keys(all)),
		routes:     make(map[string][]Route[S]),
		services:   make(map[string][]string),
	}
	for _, name := range s.names {
		d := all[name].description
		if d == nil {
			continue
		}
		for _, service := range d.Services {
			s.services[service] = append(s.services[service], name)
		}
		for _, m := range d.methods {
			s.routes[m.Name] = append(s.routes[m.Name], Route[S]{Subsystem: name, Value: all[name].value, Method: m})
		}
	}
	return s
}

// load returns the snapshot in force, never nil.
func (r *Registry[S]) load() *snapshot[S] {
	if s := r.current.Load(); s != nil {
		return s
	}
	return new(snapshot[S])
}

// Version changes whenever a Route may lead elsewhere than before. The one of an
// empty registry is 0.
func (r *Registry[S]) Version() uint64 { return r.load().version }

// Route finds the subsystem that serves a method named like
// "/pkg.Service/Method". An empty subsystem means the only one that serves it.
//
// Errors are gRPC statuses: NotFound for an unknown subsystem, Unimplemented
// for an unknown service or method, each with the nearest name;
// InvalidArgument when several subsystems serve the method and none was named;
// Unavailable when the answer depends on a subsystem that was never described.
func (r *Registry[S]) Route(method, subsystem string) (Route[S], error) {
	s := r.load()
	routes := s.routes[method]
	if subsystem == "" && len(routes) == 1 {
		return routes[0], nil
	}
	for i := range routes {
		if routes[i].Subsystem == subsystem {
			return routes[i], nil
		}
	}
	return Route[S]{}, s.explain(method, subsystem)
}

// Subsystems returns the names of all subsystems, sorted. The caller must not
// change the slice.
func (r *Registry[S]) Subsystems() []string { return r.load().names }

// Services returns the names of the subsystems that serve each service, sorted
// per service. The caller must not change the map.
func (r *Registry[S]) Services() map[string][]string { return r.load().services }

// Description returns what a subsystem serves. It reports false when the
// subsystem is unknown or was never described.
func (r *Registry[S]) Description(subsystem string) (*Description, bool) {
	d := r.load().subsystems[subsystem].description
	return d, d != nil
}
