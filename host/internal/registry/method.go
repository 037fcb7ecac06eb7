package registry

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

// Bounds of what one method declares: each costs a walk over the request.
const (
	maxKeys       = 16
	maxConditions = 16
)

// Method is one RPC that can be forwarded. Immutable.
type Method struct {
	Name          string // as gRPC has it: "/pkg.Service/Method"
	ClientStreams bool
	ServerStreams bool
	NonBlocking   bool // the plugin promises that it returns without waiting
	Descriptor    protoreflect.MethodDescriptor

	keys         []*Key
	idempotent   bool // whatever the request
	idempotentIf []condition
	failedIf     []condition
}

// newMethod compiles what the options of a method say. A wrong declaration is
// an error, because a policy would silently not apply; one that cannot be read
// is left out.
func newMethod(name string, d protoreflect.MethodDescriptor) (*Method, error) {
	options := methodOptions(d)
	call, _ := proto.GetExtension(options, optionsv1.E_Call).(*optionsv1.Call)
	m := &Method{
		Name:          name,
		ClientStreams: d.IsStreamingClient(),
		ServerStreams: d.IsStreamingServer(),
		NonBlocking:   call.GetNonBlocking(),
		Descriptor:    d,
		idempotent:    options.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN,
	}
	if err := m.compile(call); err != nil {
		return nil, fmt.Errorf("method %q: %w", name, err)
	}
	return m, nil
}

// methodOptions returns the options of a method, never nil. A plugin's
// descriptors may hold an extension as our own type, as a dynamic one or as
// bytes that nobody knew; on the wire all are the same. Where our extension's
// bytes are not ours after all, the rest still counts.
func methodOptions(d protoreflect.MethodDescriptor) *descriptorpb.MethodOptions {
	options := new(descriptorpb.MethodOptions)
	wire, err := proto.Marshal(d.Options())
	if err != nil {
		return options
	}
	if proto.Unmarshal(wire, options) == nil {
		return options
	}
	plain := new(descriptorpb.MethodOptions)
	if (proto.UnmarshalOptions{Resolver: (*protoregistry.Types)(nil)}).Unmarshal(wire, plain) != nil {
		return new(descriptorpb.MethodOptions)
	}
	return plain
}

func (m *Method) compile(call *optionsv1.Call) (err error) {
	if n := len(call.GetKey()); n > maxKeys {
		return fmt.Errorf("%d keys, limit %d", n, maxKeys)
	}
	if n := len(call.GetIdempotentIf()) + len(call.GetFailedIf()); n > maxConditions {
		return fmt.Errorf("%d conditions, limit %d", n, maxConditions)
	}
	if m.keys, err = newKeys(m.Descriptor.Input(), call.GetKey()); err != nil {
		return err
	}
	if m.idempotentIf, err = newConditions(m.Descriptor.Input(), call.GetIdempotentIf()); err != nil {
		return fmt.Errorf("idempotent_if%w", err)
	}
	if m.failedIf, err = newConditions(m.Descriptor.Output(), call.GetFailedIf()); err != nil {
		return fmt.Errorf("failed_if%w", err)
	}
	return nil
}

// IsUnary reports whether the method takes one message and returns one.
func (m *Method) IsUnary() bool { return !m.ClientStreams && !m.ServerStreams }

// Keys returns the keys that the method declares, as it orders them; nil when
// there are none. The caller must not change the slice.
func (m *Method) Keys() []*Key { return m.keys }

// Key returns the key of that name; nil when the method does not declare it.
func (m *Method) Key(name string) *Key {
	for _, k := range m.keys {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// Idempotent reports whether a call with this request may be repeated without
// doing its work twice. It allocates nothing.
func (m *Method) Idempotent(request []byte) bool {
	return m.idempotent || anyHolds(m.idempotentIf, request)
}

// Failed reports whether a response, though it came with status OK, tells of
// the failure of an upstream, which a breaker counts. It allocates nothing.
func (m *Method) Failed(response []byte) bool { return anyHolds(m.failedIf, response) }

// FailedSoFar is Failed for the beginning of a response, of which it judges the
// fields that are whole.
func (m *Method) FailedSoFar(beginning []byte) bool {
	return len(m.failedIf) > 0 && m.Failed(wholeFields(beginning))
}

// newKeys compiles the keys of a method. One that leads through types which
// the descriptors lack, or has a transform of a later version, is left out.
func newKeys(request protoreflect.MessageDescriptor, declared []*optionsv1.Key) ([]*Key, error) {
	var keys []*Key
	seen := make(map[string]bool)
	for i, k := range declared {
		switch {
		case k.GetName() == "":
			return nil, fmt.Errorf("key[%d]: no name", i)
		case seen[k.GetName()]:
			return nil, fmt.Errorf("key %q: declared twice", k.GetName())
		}
		seen[k.GetName()] = true
		key, err := newKey(request, k)
		if errors.Is(err, errUnresolved) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("key %q: field %q: %w", k.GetName(), k.GetField(), err)
		}
		if k.GetAs().Descriptor().Values().ByNumber(k.GetAs().Number()) != nil {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func newKey(request protoreflect.MessageDescriptor, k *optionsv1.Key) (*Key, error) {
	f, err := newField(request, k.GetField())
	if err != nil {
		return nil, err
	}
	if k.GetAs() == optionsv1.Transform_URL_HOST && f.kind != protoreflect.StringKind && f.kind != protoreflect.BytesKind {
		return nil, fmt.Errorf("URL_HOST reads a string or bytes, not %v", f.kind)
	}
	return &Key{Name: k.GetName(), Sensitive: f.secret, field: f, as: k.GetAs()}, nil
}
