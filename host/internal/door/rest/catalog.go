package rest

import (
	"slices"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/request"
)

// catalog keeps what was worked out of descriptors for as long as they hold. The
// zero catalog is ready to use, and safe for concurrent use.
type catalog struct{ current atomic.Pointer[snapshot] }

// snapshot is all described subsystems at one moment. Immutable, but for the
// document, which is made when it is asked for.
type snapshot struct {
	version uint64
	names   []string // of all subsystems, sorted
	byName  map[string]*subsystem

	document func() ([]byte, error)
}

// subsystem is a subsystem by its descriptors. Immutable.
type subsystem struct {
	name        string
	description *registry.Description
	types       registry.Types
	all         []*method            // in the order of the description
	methods     map[string][]*method // by every spelling
	spellings   []string
}

// method is a method of a subsystem. Immutable.
type method struct {
	*registry.Method

	callName string               // the shortest that means no other one
	rawIn    []request.BytesField // of a request
	rawOut   []request.BytesField // of a response
}

// load returns what there is now.
func (c *catalog) load(reg *registry.Registry[*gateway.Subsystem], hostVersion string) *snapshot {
	last := c.current.Load()
	version := reg.Version()
	if last != nil && last.version == version {
		return last
	}
	next := &snapshot{version: version, names: reg.Subsystems(), byName: make(map[string]*subsystem)}
	for _, name := range next.names {
		d, ok := reg.Description(name)
		if !ok {
			continue
		}
		if last != nil && last.byName[name] != nil && last.byName[name].description == d {
			next.byName[name] = last.byName[name]
			continue
		}
		next.byName[name] = newSubsystem(name, d)
	}
	next.document = documentOf(next, hostVersion)
	c.current.Store(next) // two callers may do the same work at once, which does no harm
	return next
}

func newSubsystem(name string, d *registry.Description) *subsystem {
	s := &subsystem{name: name, description: d, types: d.Types(), methods: make(map[string][]*method), spellings: d.Spellings()}
	for _, m := range d.Methods() {
		known := &method{
			Method: m,
			rawIn:  request.BytesFields(m.Descriptor.Input()),
			rawOut: request.BytesFields(m.Descriptor.Output()),
		}
		s.all = append(s.all, known)
		for _, spelling := range m.Spellings() {
			s.methods[spelling] = append(s.methods[spelling], known)
		}
	}
	for _, m := range s.all {
		spellings := m.Spellings()
		shortest := slices.IndexFunc(spellings, func(name string) bool { return len(s.methods[name]) == 1 })
		m.callName = spellings[max(shortest, 0)]
	}
	return s
}

// check refuses a method whose messages the plugin did not describe: it can be
// forwarded, and not be called from here.
func (m *method) check() error {
	for _, message := range []protoreflect.MessageDescriptor{m.Descriptor.Input(), m.Descriptor.Output()} {
		if message.IsPlaceholder() {
			return status.Errorf(codes.Unimplemented, "%s: the plugin does not describe the message %s; call it by gRPC",
				m.Descriptor.FullName(), message.FullName())
		}
	}
	return nil
}

// path is where a method is called.
func (s *subsystem) path(m *method) string { return "/v1/" + s.name + "/" + m.callName }
