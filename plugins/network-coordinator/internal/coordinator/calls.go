package coordinator

import (
	"cmp"
	"context"
	"errors"
	"net/netip"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Resolve returns the addresses of a name.
func (c *Coordinator) Resolve(ctx context.Context, r *networkv1.ResolveRequest) (*networkv1.ResolveResponse, error) {
	now, target, err := c.begin(r.GetHost(), 0, r.GetClient())
	if err != nil {
		return nil, err
	}
	if host := target.Host; host.Addr.IsValid() {
		return resolveAddress(host.Addr, r.GetFamily())
	}
	if err := now.dialer.Policy.Name(target); err != nil && !now.dialer.Policy.ReportOnly() {
		if denied, ok := errors.AsType[*egress.Denied](err); ok {
			c.denied(denied)
		}
		return nil, explain(err)
	}
	return now.names.resolve(ctx, target.Host.Name, r)
}

// resolveAddress is Resolve for what is an address already.
func resolveAddress(addr netip.Addr, family networkv1.Family) (*networkv1.ResolveResponse, error) {
	if family == networkv1.Family_IPV4 && !addr.Is4() || family == networkv1.Family_IPV6 && addr.Is4() {
		return nil, status.Errorf(codes.NotFound, "%v is no address of the family that is wanted", addr)
	}
	return &networkv1.ResolveResponse{Host: addr.String(), Addresses: []string{addr.String()}, Ttl: durationpb.New(0)}, nil
}

// Check says what the rules say of a connection.
func (c *Coordinator) Check(ctx context.Context, r *networkv1.CheckRequest) (*networkv1.CheckResponse, error) {
	port := r.GetPort()
	if port == 0 {
		port = 443
	}
	now, target, err := c.begin(r.GetHost(), port, r.GetClient())
	if err != nil {
		return nil, err
	}
	policy := now.dialer.Policy
	if denied, ok := errors.AsType[*egress.Denied](policy.Name(target)); ok && !target.Host.Addr.IsValid() {
		return &networkv1.CheckResponse{Reason: denied.String()}, nil
	}
	addrs := []netip.Addr{target.Host.Addr}
	if !addrs[0].IsValid() {
		if addrs, err = now.names.LookupNetIP(ctx, "ip", target.Host.Name); err != nil {
			return nil, explainLookup(err)
		}
	}
	response := &networkv1.CheckResponse{}
	for i, addr := range addrs {
		decision := policy.Decide(target, addr)
		if own := now.dialer.Own; own != nil && own(netip.AddrPortFrom(addr, target.Port)) {
			decision = egress.Decision{Rule: "own", Reason: "gaia itself listens there"}
		}
		if i == 0 || decision.Allowed && !response.Allowed {
			response.Allowed, response.Reason = decision.Allowed, decision.String()
		}
		response.Addresses = append(response.Addresses, &networkv1.AddressDecision{
			Address: addr.String(), Allowed: decision.Allowed, Rule: decision.Rule, Place: decision.Place, Reason: decision.Reason,
		})
	}
	return response, nil
}

// begin reads what most requests have. Port 0 is any.
func (c *Coordinator) begin(host string, port uint32, client string) (*inForce, egress.Target, error) {
	now := c.current.Load()
	if now == nil {
		return nil, egress.Target{}, status.Error(codes.Unavailable, "the network coordinator has no config yet")
	}
	if port > 65535 {
		return nil, egress.Target{}, status.Errorf(codes.InvalidArgument, "port %d, and ports are 1 to 65535", port)
	}
	parsed, err := egress.ParseHost(host)
	if err != nil {
		return nil, egress.Target{}, status.Errorf(codes.InvalidArgument, "host: %v", err)
	}
	return now, egress.Target{Client: client, Host: parsed, Port: uint16(port)}, nil
}

// The bounds of ConnectionsRequest.limit.
const (
	defaultListed = 1000
	maxListed     = 10000
)

// Connections lists what is open.
func (c *Coordinator) Connections(_ context.Context, r *networkv1.ConnectionsRequest) (*networkv1.ConnectionsResponse, error) {
	filter, err := filterOf("", r.GetClient(), r.GetHost())
	if err != nil {
		return nil, err
	}
	if r.GetLimit() > maxListed {
		return nil, status.Errorf(codes.InvalidArgument, "limit: %d connections, at most %d are listed", r.GetLimit(), maxListed)
	}
	oldest, total := c.table.List(filter, int(cmp.Or(r.GetLimit(), defaultListed)))
	return &networkv1.ConnectionsResponse{Connections: oldest, Total: uint32(total)}, nil //nolint:gosec // at most a million are open
}

// CloseConnection ends what is open.
func (c *Coordinator) CloseConnection(_ context.Context, r *networkv1.CloseConnectionRequest) (*networkv1.CloseConnectionResponse, error) {
	if r.GetId() == "" && r.GetClient() == "" && r.GetHost() == "" {
		return nil, status.Error(codes.InvalidArgument, "name connections by id, client or host")
	}
	filter, err := filterOf(r.GetId(), r.GetClient(), r.GetHost())
	if err != nil {
		return nil, err
	}
	closed := c.table.CloseAll(filter, conn.Closed)
	if closed == 0 && r.GetId() != "" {
		return nil, status.Errorf(codes.NotFound, "no connection %.40q is open; Connections lists those that are", r.GetId())
	}
	return &networkv1.CloseConnectionResponse{Closed: uint32(closed)}, nil //nolint:gosec // at most a million are open
}

func filterOf(id, client, host string) (conn.Filter, error) {
	filter := conn.Filter{ID: id, Client: client}
	if host != "" {
		parsed, err := egress.ParseHost(host)
		if err != nil {
			return filter, status.Errorf(codes.InvalidArgument, "host: %v", err)
		}
		filter.Host = parsed.String()
	}
	return filter, nil
}
