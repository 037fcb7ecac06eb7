package rest

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// house keeps what was worked out of descriptors for as long as they hold. The
// zero house is ready to use, and safe for concurrent use.
type house struct{ current atomic.Pointer[rooms] }

// rooms are all described subsystems at one moment. Immutable, but for the
// document, which is made when it is asked for.
type rooms struct {
	version uint64
	names   []string // of all subsystems, sorted
	byName  map[string]*room

	document func() ([]byte, error)
}

// room is a subsystem by its descriptors. Immutable.
type room struct {
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

	callName string       // the shortest that means no other one
	rawIn    []bytesField // of a request
	rawOut   []bytesField // of a response
}

// visit returns what there is now.
func (h *house) visit(reg *registry.Registry[*gateway.Subsystem], hostVersion string) *rooms {
	last := h.current.Load()
	version := reg.Version()
	if last != nil && last.version == version {
		return last
	}
	next := &rooms{version: version, names: reg.Subsystems(), byName: make(map[string]*room)}
	for _, name := range next.names {
		d, ok := reg.Description(name)
		if !ok {
			continue
		}
		if last != nil && last.byName[name] != nil && last.byName[name].description == d {
			next.byName[name] = last.byName[name]
			continue
		}
		next.byName[name] = newRoom(name, d)
	}
	next.document = documentOf(next, hostVersion)
	h.current.Store(next) // two visitors may do the same work at once, which does no harm
	return next
}

func newRoom(name string, d *registry.Description) *room {
	s := &room{name: name, description: d, types: d.Types(), methods: make(map[string][]*method), spellings: d.Spellings()}
	for _, m := range d.Methods() {
		known := &method{
			Method:   m,
			callName: d.CallName(m),
			rawIn:    bytesFields(m.Descriptor.Input()),
			rawOut:   bytesFields(m.Descriptor.Output()),
		}
		s.all = append(s.all, known)
		for _, spelling := range m.Spellings() {
			s.methods[spelling] = append(s.methods[spelling], known)
		}
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
func (s *room) path(m *method) string { return "/v1/" + s.name + "/" + m.callName }
