package sdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// service is what one generated Register…Server function registers.
type service struct {
	desc *grpc.ServiceDesc
	impl any
}

// plugin is what Serve serves: the author's services and, beside them, the
// host's contract.
type plugin struct {
	services  []service
	config    *configurer // nil when no service takes a config
	gatherers prometheus.Gatherers
	calls     calls

	description *pluginv1.DescribeResponse
	own         map[string]bool // full names of the author's services; read-only while serving

	server    *grpc.Server
	serverSet chan struct{} // closed when server is set
	closing   sync.Once
}

func newPlugin(register func(grpc.ServiceRegistrar)) (*plugin, error) {
	p := &plugin{own: make(map[string]bool), serverSet: make(chan struct{})}
	p.calls.idle = make(chan struct{})
	register(p)
	if len(p.services) == 0 {
		return nil, errors.New("sdk.Serve was given no service")
	}
	for _, s := range p.services {
		c, err := findConfigurer(s.impl)
		if err != nil {
			return nil, err
		}
		if c != nil && p.config != nil {
			return nil, fmt.Errorf("two services take a config: %T is the second; let one of them configure both", s.impl)
		}
		if c != nil {
			p.config = c
		}
		if g, ok := s.impl.(Gatherer); ok {
			p.gatherers = append(p.gatherers, g.Metrics())
		}
	}
	return p, p.describe()
}

// RegisterService takes what the author registers, as a grpc.ServiceRegistrar.
func (p *plugin) RegisterService(desc *grpc.ServiceDesc, impl any) {
	p.services = append(p.services, service{desc: desc, impl: impl})
	p.own[desc.ServiceName] = true
}

// describe fills in what the host is told.
func (p *plugin) describe() error {
	p.description = &pluginv1.DescribeResponse{
		Name:     filepath.Base(os.Args[0]),
		Version:  version(),
		Services: slices.Sorted(maps.Keys(p.own)),
	}
	if p.config != nil {
		p.description.ConfigMessage = string(p.config.message.ProtoReflect().Descriptor().FullName())
	}
	var err error
	p.description.Files, err = descriptorSet(p.services, p.config)
	return err
}

// version of the program as the Go linker recorded it; "" for a build from a
// work tree without tags.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}

func (p *plugin) register(s *grpc.Server) {
	for _, own := range p.services {
		s.RegisterService(own.desc, own.impl)
	}
	pluginv1.RegisterPluginServer(s, &contract{plugin: p})
	p.server = s
	close(p.serverSet)
}

// isOwn reports whether a full method name belongs to the author.
func (p *plugin) isOwn(fullMethod string) bool {
	name := strings.TrimPrefix(fullMethod, "/")
	i := strings.LastIndexByte(name, '/')
	return i >= 0 && p.own[name[:i]]
}

// drain refuses new calls, waits for those in flight and then for the
// author's Drain methods. It returns how many calls ctx cut short.
func (p *plugin) drain(ctx context.Context) (unfinished int, err error) {
	if unfinished = p.calls.drain(ctx); unfinished > 0 {
		return unfinished, nil
	}
	for _, s := range p.services {
		if d, ok := s.impl.(Drainer); ok {
			err = errors.Join(err, d.Drain(ctx))
		}
	}
	return 0, err
}

// close closes the services, last first. A second call does nothing.
func (p *plugin) close() (err error) {
	p.closing.Do(func() {
		for _, s := range slices.Backward(p.services) {
			if c, ok := s.impl.(Closer); ok {
				err = errors.Join(err, c.Close())
			}
		}
	})
	return err
}
