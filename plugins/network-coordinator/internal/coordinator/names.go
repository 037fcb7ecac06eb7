package coordinator

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/resolver"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// names is a resolver with the config that it was made for.
type names struct {
	*resolver.Resolver

	config *networkv1.Resolver
	door   *door         // that the resolver listens at; nil without listen
	now    func() *names // those in force
}

// namesFor returns the resolver of a config: the one in use, with all that it
// knows, if the config is the same.
func (c *Coordinator) namesFor(config *networkv1.Resolver) (*names, error) {
	if config == nil {
		config = &networkv1.Resolver{}
	}
	if c.names != nil && proto.Equal(c.names.config, config) {
		return c.names, nil
	}
	n := &names{config: config, now: func() *names { return c.current.Load().names }}
	sockets := func(ctx context.Context, at netip.AddrPort) (*net.TCPListener, *net.UDPConn, error) {
		opened, err := c.open(ctx, doorNames, at, c.names.at())
		if err != nil {
			return nil, nil, err
		}
		n.door = opened
		return opened.share()
	}
	var err error
	n.Resolver, err = resolver.New(config, resolver.Options{Allow: c.mayAsk, AllowAddr: c.mayKnow, Sockets: sockets})
	if err != nil {
		n.door.closeUnless(c.names.at())
		return nil, err
	}
	return n, nil
}

// at is the door of the resolver, nil for none.
func (n *names) at() *door {
	if n == nil {
		return nil
	}
	return n.door
}

// close ends the resolver, and its door unless next has it.
func (n *names) close(next *names) {
	if n != nil {
		_ = n.Close() // it has no error
		n.door.closeUnless(next.at())
	}
}

// mayAsk reports whether programs are answered about a name: somebody may connect
// to it, at some port.
func (c *Coordinator) mayAsk(name string) bool { return c.mayKnow(name, netip.Addr{}) }

// mayKnow reports whether programs are told an address of a name. One that
// nobody may connect to is kept from them, be it that DNS gives out an address
// of this network for a name of another.
func (c *Coordinator) mayKnow(name string, addr netip.Addr) bool {
	now := c.current.Load()
	host, err := egress.ParseHost(name)
	if now == nil || err != nil {
		return false // before the first config, or no host's name
	}
	policy, target := now.dialer.Policy, egress.Target{Host: host}
	switch {
	case policy.ReportOnly():
		return true
	case addr.IsValid():
		return policy.Check(target, addr) == nil
	}
	return policy.Name(target) == nil
}

// LookupNetIP is that of the resolver in force: a question that is under way goes
// on there when another config takes its resolver away.
func (n *names) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	addrs, err := n.Resolver.LookupNetIP(ctx, network, host)
	if next := n.next(err); next != nil {
		return next.LookupNetIP(ctx, network, host)
	}
	return addrs, err
}

// next returns who is to be asked in place of n if it was closed meanwhile, else
// nil.
func (n *names) next(err error) *names {
	if errors.Is(err, resolver.ErrClosed) {
		if now := n.now(); now != n {
			return now
		}
	}
	return nil
}

// resolve is Resolve for a name.
func (n *names) resolve(ctx context.Context, host string, r *networkv1.ResolveRequest) (*networkv1.ResolveResponse, error) {
	family := resolver.Both
	switch r.GetFamily() {
	case networkv1.Family_IPV4:
		family = resolver.IPv4
	case networkv1.Family_IPV6:
		family = resolver.IPv6
	case networkv1.Family_FAMILY_UNSPECIFIED:
	default:
		return nil, status.Errorf(codes.InvalidArgument, "family %d is not known", r.GetFamily())
	}
	lookup := n.Lookup
	if r.GetRefresh() {
		lookup = n.Refresh
	}
	answer, err := lookup(ctx, host, family)
	if next := n.next(err); next != nil {
		return next.resolve(ctx, host, r)
	}
	if err != nil {
		return nil, explainLookup(err)
	}
	response := &networkv1.ResolveResponse{
		Host: host, CanonicalName: answer.CanonicalName, Ttl: durationpb.New(answer.TTL),
		FromCache: answer.FromCache, Stale: answer.Stale,
	}
	for _, addr := range answer.Addrs {
		response.Addresses = append(response.Addresses, addr.String())
	}
	return response, nil
}

// explainLookup makes an error of the resolver that of a call.
func explainLookup(err error) error {
	code := codes.Unavailable
	timeout := net.Error(nil)
	switch {
	case errors.Is(err, resolver.ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, resolver.ErrName):
		code = codes.InvalidArgument
	case errors.Is(err, resolver.ErrUnavailable): // which a timeout of upstream is, too
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error())
}
