package sdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gaia-go/gaia/sdk/link"
	"github.com/gaia-go/gaia/sdk/wire"
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
	impls     []any       // of the services, each once: one may serve several
	config    *configurer // nil when no service takes a config
	exclusive bool
	limits    Limits
	gatherers prometheus.Gatherers
	calls     *wire.Door              // of the author's calls
	near      context.Context         //nolint:containedctx // ends when the drain is near; calls' contexts have it
	announce  context.CancelCauseFunc // ends near
	drainOnce sync.Once
	isCut     atomic.Bool // the host has waited for the calls in flight for as long as it wants to

	// description is made when the host asks, which is once an executable and
	// not once a start: it takes as long as the rest of the start.
	description func() (*pluginv1.DescribeResponse, error)
	own         map[string]bool // full names of the author's services; read-only while serving

	link      *link.Server // nil when the host has no link
	endLink   context.CancelFunc
	server    *grpc.Server
	serverSet chan struct{} // closed when server is set
	killed    time.Time     // when the process will be; set before stopping is closed
	stopping  chan struct{} // closed when the server is about to stop
}

func newPlugin(register func(grpc.ServiceRegistrar)) (*plugin, error) {
	p := &plugin{own: make(map[string]bool), calls: wire.NewDoor(), serverSet: make(chan struct{}), stopping: make(chan struct{})}
	p.near, p.announce = context.WithCancelCause(context.Background())
	p.description = sync.OnceValues(p.describe)
	register(p)
	if len(p.services) == 0 {
		return nil, errors.New("sdk.Serve was given no service")
	}
	for _, s := range p.services {
		if s.impl == nil {
			return nil, fmt.Errorf("service %s is registered without an implementation", s.desc.ServiceName)
		}
	}
	for _, impl := range p.impls {
		if err := p.take(impl); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// take looks for what an implementation offers besides its services.
func (p *plugin) take(impl any) error {
	c, err := findConfigurer(impl)
	if err != nil {
		return err
	}
	if c != nil && p.config != nil {
		return fmt.Errorf("two services take a config: %T is the second; let one of them configure both", impl)
	}
	if c != nil {
		p.config = c
	}
	if e, ok := impl.(Exclusive); ok && e.Exclusive() {
		p.exclusive = true
	}
	if l, ok := impl.(Limited); ok {
		p.limits = l.Limits()
	}
	if g, ok := impl.(Gatherer); ok {
		p.gatherers = append(p.gatherers, g.Metrics())
	}
	return nil
}

// RegisterService takes what the author registers, as a grpc.ServiceRegistrar.
func (p *plugin) RegisterService(desc *grpc.ServiceDesc, impl any) {
	p.services = append(p.services, service{desc: p.counted(desc), impl: impl})
	p.own[desc.ServiceName] = true
	if isPointer := reflect.ValueOf(impl).Kind() == reflect.Pointer; !isPointer || !slices.Contains(p.impls, impl) {
		p.impls = append(p.impls, impl)
	}
}

// describe is what the host is told.
func (p *plugin) describe() (*pluginv1.DescribeResponse, error) {
	files, err := descriptorSet(p.services, p.config)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	description := &pluginv1.DescribeResponse{
		Name:      filepath.Base(os.Args[0]),
		Version:   ownVersion(),
		Services:  slices.Sorted(maps.Keys(p.own)),
		Files:     files,
		Exclusive: p.exclusive,
		Link:      true,
	}
	if p.config != nil {
		description.ConfigMessage = string(p.config.message.ProtoReflect().Descriptor().FullName())
		description.LiveConfig = p.config.reconfigure != nil
	}
	if p.limits != (Limits{}) {
		description.Defaults = p.limits.message()
	}
	return description, nil
}

func (l Limits) message() *pluginv1.Defaults {
	d := &pluginv1.Defaults{
		Concurrency: uint32(min(max(l.Concurrency, 0), maxCalls)),
		Queue:       uint32(min(max(l.Queue, 0), maxCalls)),
	}
	if l.Timeout > 0 {
		d.Timeout = durationpb.New(l.Timeout)
	}
	return d
}

// maxCalls is the most that a host admits at once.
const maxCalls = 1_000_000

// version of the program, where its build says it: -ldflags
// "-X github.com/gaia-go/gaia/sdk.version=v1.4.0".
var version string

// ownVersion is that, or else what the toolchain recorded; "" for a build from a
// work tree without tags.
func ownVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}

func (p *plugin) register(s *grpc.Server) {
	p.registerOwn(s)
	pluginv1.RegisterPluginServer(s, &contract{plugin: p})
	p.server = s
	close(p.serverSet)
}

func (p *plugin) registerOwn(r grpc.ServiceRegistrar) {
	for _, own := range p.services {
		r.RegisterService(own.desc, own.impl)
	}
}

// isOwn reports whether a full method name belongs to the author.
func (p *plugin) isOwn(fullMethod string) bool {
	name := strings.TrimPrefix(fullMethod, "/")
	i := strings.LastIndexByte(name, '/')
	return i >= 0 && p.own[name[:i]]
}

// drain refuses new calls, waits for those in flight and then for the
// author's Drain methods, which are called once. It returns how many calls ctx
// cut short.
func (p *plugin) drain(ctx context.Context) (unfinished int, err error) {
	p.announce(errEnding()) // to those whom the host has not told
	if unfinished = p.calls.Drain(ctx); unfinished > 0 {
		return unfinished, nil
	}
	p.drainOnce.Do(func() { // the host asks, and then ends the process
		for _, impl := range p.impls {
			if d, ok := impl.(Drainer); ok {
				err = errors.Join(err, d.Drain(ctx))
			}
		}
	})
	return 0, err
}

// shutdown shuts the services down, last first, when the calls that the server
// cancelled as it stopped have returned.
func (p *plugin) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
	defer cancel()
	if unfinished := p.calls.Drain(ctx); unfinished > 0 {
		return fmt.Errorf("services not shut down: %d calls still run %v after they were cancelled", unfinished, cancelGrace)
	}
	ctx, cancel = context.WithDeadline(context.Background(), p.killedAt())
	defer cancel()
	var err error
	for _, impl := range slices.Backward(p.impls) {
		if s, ok := impl.(Shutdowner); ok {
			err = errors.Join(err, s.Shutdown(ctx))
		}
	}
	return err
}
