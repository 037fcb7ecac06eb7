// Package registry knows which subsystem serves which method. It learns that
// from the descriptors that plugins hand over at run time, so the host can
// forward calls of services it was not compiled with.
package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// Bounds of a description. A plugin is another program: what it says must not
// be able to fill the host's memory or its metrics page. The largest public
// API that was looked at (Google Cloud's compute, in one file set) has 1.6 MiB
// and 97 services.
const (
	maxFiles         = 2000
	maxFilesBytes    = 16 << 20
	maxServices      = 200
	maxMethods       = 2000
	maxTextBytes     = 256 // a name or a version
	maxDescribeBytes = maxFilesBytes + 1<<20
)

// Description is what a plugin serves. It is built by NewDescription and
// never changes afterwards: the fields are there to be read.
type Description struct {
	Name     string   // as the plugin calls itself; "" when it does not say
	Version  string   // "" when the plugin does not say
	Services []string // full names, sorted, at least one

	LiveConfig bool // Configure may be called again with calls in flight
	Link       bool // unary calls may come by the link
	Exclusive  bool // two instances cannot run at the same time

	// Defaults are limits for where the operator set none; nil for none.
	Defaults *pluginv1.Defaults

	// Set is the plugin's files as received, with source info if it sent any.
	Set *descriptorpb.FileDescriptorSet

	files   *protoregistry.Files
	types   *dynamicpb.Types
	methods []*Method // sorted by Name
	config  protoreflect.MessageDescriptor
}

// NewDescription checks what a plugin says of itself and builds its
// descriptors in a registry of their own, because two plugins may define the
// same names. Imports that the plugin left out are the host's own where it has
// them, and are tolerated otherwise: forwarding needs no message types. It keeps
// r.Files, which the caller must not change.
//
// It refuses a description without services, with services that the files do
// not contain, with services of the host or of go-plugin, with methods whose
// (gaia.options.v1.call) is wrong, or over size.
func NewDescription(r *pluginv1.DescribeResponse) (*Description, error) {
	if err := checkSizes(r); err != nil {
		return nil, err
	}
	files, err := newFiles(r.GetFiles())
	if err != nil {
		return nil, fmt.Errorf("describe: descriptors: %w", err)
	}
	services := slices.Clone(r.GetServices())
	slices.Sort(services)
	d := &Description{
		Name:     r.GetName(),
		Version:  r.GetVersion(),
		Services: slices.Compact(services),

		LiveConfig: r.GetLiveConfig(),
		Link:       r.GetLink(),
		Exclusive:  r.GetExclusive(),
		Defaults:   r.GetDefaults(),

		Set:   r.GetFiles(),
		files: files,
		types: dynamicpb.NewTypes(files),
	}
	for _, name := range d.Services {
		if err := d.addService(name); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(d.methods, func(a, b *Method) int { return strings.Compare(a.Name, b.Name) })
	if name := r.GetConfigMessage(); name != "" {
		if d.config, err = findMessage(files, name); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func checkSizes(r *pluginv1.DescribeResponse) error {
	switch {
	case len(r.GetServices()) == 0:
		return errors.New("describe: no services, at least one is needed")
	case len(r.GetServices()) > maxServices:
		return fmt.Errorf("describe: %d services, limit %d", len(r.GetServices()), maxServices)
	case len(r.GetFiles().GetFile()) == 0:
		return errors.New("describe: no descriptors, those of the services are needed")
	case len(r.GetFiles().GetFile()) > maxFiles:
		return fmt.Errorf("describe: %d descriptor files, limit %d", len(r.GetFiles().GetFile()), maxFiles)
	case len(r.GetName()) > maxTextBytes:
		return fmt.Errorf("describe: name of %d bytes, limit %d", len(r.GetName()), maxTextBytes)
	case len(r.GetVersion()) > maxTextBytes:
		return fmt.Errorf("describe: version of %d bytes, limit %d", len(r.GetVersion()), maxTextBytes)
	}
	if n := proto.Size(r.GetFiles()); n > maxFilesBytes {
		return fmt.Errorf("describe: descriptors of %d bytes, limit %d", n, maxFilesBytes)
	}
	return nil
}

// addService appends the methods of one service.
func (d *Description) addService(name string) error {
	if IsReserved(name) {
		return fmt.Errorf("describe: service %q belongs to the host and its plugins; a plugin cannot offer it to callers", name)
	}
	found, err := d.files.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return fmt.Errorf("describe: service %q is not in the descriptors", name)
	}
	service, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return fmt.Errorf("describe: %q is not a service", name)
	}
	methods := service.Methods()
	if n := len(d.methods) + methods.Len(); n > maxMethods {
		return fmt.Errorf("describe: %d methods up to service %q, limit %d", n, name, maxMethods)
	}
	for i := range methods.Len() {
		m, err := newMethod("/"+name+"/"+string(methods.Get(i).Name()), methods.Get(i))
		if err != nil {
			return fmt.Errorf("describe: %w", err)
		}
		d.methods = append(d.methods, m)
	}
	return nil
}

func findMessage(files *protoregistry.Files, name string) (protoreflect.MessageDescriptor, error) {
	found, err := files.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil, fmt.Errorf("describe: config message %q is not in the descriptors", name)
	}
	message, ok := found.(protoreflect.MessageDescriptor)
	if !ok {
		return nil, fmt.Errorf("describe: config message %q is not a message", name)
	}
	return message, nil
}

// IsReserved reports whether a service is never forwarded: go-plugin's control
// services (anyone who reached them could shut the plugin down), those that
// gRPC's libraries add to every server (the host answers them for all), and
// gaia's contract with its plugins and operators.
func IsReserved(service string) bool {
	for _, prefix := range [...]string{"plugin.", "grpc.health.", "grpc.reflection.", "grpc.channelz.", "gaia.plugin.", "gaia.host."} {
		if strings.HasPrefix(service, prefix) {
			return true
		}
	}
	return false
}

// Files returns the plugin's descriptors. The caller must not register more.
func (d *Description) Files() *protoregistry.Files { return d.files }

// Methods returns the methods that can be forwarded, sorted by name. The
// caller must not change the slice.
func (d *Description) Methods() []*Method { return d.methods }

// Method returns the method with a name such as "/pkg.Service/Method".
func (d *Description) Method(name string) (*Method, bool) {
	i, ok := slices.BinarySearchFunc(d.methods, name, func(m *Method, name string) int {
		return strings.Compare(m.Name, name)
	})
	if !ok {
		return nil, false
	}
	return d.methods[i], true
}

// MethodNames returns the names of Methods, sorted.
func (d *Description) MethodNames() []string {
	names := make([]string, len(d.methods))
	for i, m := range d.methods {
		names[i] = m.Name
	}
	return names
}

// ConfigMessage is the type that the plugin's config block is decoded into;
// nil when the plugin takes no config.
func (d *Description) ConfigMessage() protoreflect.MessageDescriptor { return d.config }

// response is the inverse of NewDescription.
func (d *Description) response() *pluginv1.DescribeResponse {
	r := &pluginv1.DescribeResponse{
		Name:     d.Name,
		Version:  d.Version,
		Services: d.Services,
		Files:    d.Set,

		LiveConfig: d.LiveConfig,
		Link:       d.Link,
		Exclusive:  d.Exclusive,
		Defaults:   d.Defaults,
	}
	if d.config != nil {
		r.ConfigMessage = string(d.config.FullName())
	}
	return r
}
