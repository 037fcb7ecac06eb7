package egress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	defaultTimeout = 30 * time.Second
	maxAttempts    = 16 // of one dial; DNS may answer with thousands of addresses
)

// Resolver finds the addresses of a name. network is "ip", "ip4" or "ip6". A
// *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dialer opens connections to where its Policy allows. The zero Dialer is ready
// to use and reaches public addresses. Its fields do not change while it is in
// use; another policy takes another Dialer. It is safe for concurrent use.
type Dialer struct {
	// Policy is asked about the name before it is resolved, about each address,
	// and once more about the one that is about to be connected to; nil is the
	// zero Policy.
	Policy *Policy

	// Resolver is asked for names only; nil is the system's.
	Resolver Resolver

	// Own reports whether somebody of this program listens at an address. It is
	// never connected to, whatever the rules say. May be nil; see Listeners.
	Own func(netip.AddrPort) bool

	// Reported is called once for each Dial that is denied, or would be were it
	// not for report_only, before it goes on. May be nil.
	Reported func(*Denied)

	// Timeout is of one Dial in all; 0 means 30s.
	Timeout time.Duration

	// KeepAlive is that of net.Dialer: 0 asks the peer every 15s whether it is
	// there, a negative one does not, which saves four system calls.
	KeepAlive time.Duration
}

// DialContext is Dial for callers that have "host:port", such as
// http.Transport. network is "tcp", "tcp4" or "tcp6". The client is that of
// WithClient.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	t, err := parseAddress(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	t.Client = clientOf(ctx)
	return d.dial(ctx, "ip"+network[len("tcp"):], t)
}

// Dial connects to the target at one of the addresses that the policy allows,
// the first that answers, IPv6 first (RFC 8305). The connection is a
// *net.TCPConn; the caller closes it. The error is a *Denied or a *DialError.
func (d *Dialer) Dial(ctx context.Context, t Target) (net.Conn, error) {
	return d.dial(ctx, "ip", t)
}

func (d *Dialer) dial(ctx context.Context, network string, t Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.Timeout, defaultTimeout))
	defer cancel()
	addrs, err := d.addresses(ctx, network, t)
	if err != nil {
		return nil, err
	}
	conn, err := race(ctx, addrs, func(ctx context.Context, addr netip.Addr) (net.Conn, error) {
		return d.connect(ctx, t, addr)
	})
	if err != nil {
		return nil, &DialError{Target: t, Phase: Connect, Err: err}
	}
	return conn, nil
}

// Resolve returns the addresses at which the policy allows to reach the target,
// in the order in which Dial would try them, at least one and at most 16. It is
// for those who do not connect by TCP, and who connect to these addresses only.
// The error is a *Denied or a *DialError.
func (d *Dialer) Resolve(ctx context.Context, t Target) ([]netip.Addr, error) {
	return d.addresses(ctx, "ip", t)
}

// addresses is Resolve for one family or both.
func (d *Dialer) addresses(ctx context.Context, network string, t Target) ([]netip.Addr, error) {
	policy := d.policy()
	if no, ok := errors.AsType[*Denied](policy.Name(t)); ok && !policy.reportOnly {
		return nil, d.report(no)
	}
	found, err := d.lookup(ctx, network, t.Host)
	if err != nil {
		return nil, &DialError{Target: t, Phase: Resolve, Err: err}
	}
	var allowed, passed []netip.Addr
	var denied *Denied // of the first address, or of the first that is let through
	for _, addr := range found {
		no := d.check(t, addr)
		switch {
		case no == nil:
			allowed = append(allowed, addr)
		case no.Passed:
			if len(passed) == 0 {
				denied = no
			}
			passed = append(passed, addr)
		case denied == nil:
			denied = no
		}
	}
	if len(allowed) == 0 {
		if err := d.report(denied); len(passed) == 0 {
			return nil, err
		}
		allowed = passed
	}
	return inTurn(allowed), nil
}

// lookup returns the addresses of a host, at least one, of the wanted families.
func (d *Dialer) lookup(ctx context.Context, network string, h Host) ([]netip.Addr, error) {
	addrs := []netip.Addr{h.Addr}
	if !h.Addr.IsValid() {
		var resolver Resolver = net.DefaultResolver
		if d.Resolver != nil {
			resolver = d.Resolver
		}
		var err error
		if addrs, err = resolver.LookupNetIP(ctx, network, h.Name); err != nil {
			return nil, err
		}
	}
	var found []netip.Addr
	for _, addr := range addrs {
		addr = addr.Unmap().WithZone("") // the answer is the resolver's, this is a copy
		if network == "ip" || addr.Is4() == (network == "ip4") {
			found = append(found, addr)
		}
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no address for " + network, Name: h.String(), IsNotFound: true}
	}
	return found, nil
}

// policy is never nil.
func (d *Dialer) policy() *Policy {
	if d.Policy == nil {
		return &Policy{}
	}
	return d.Policy
}

// check returns nil if the target may be connected to at addr.
func (d *Dialer) check(t Target, addr netip.Addr) *Denied {
	if d.Own != nil && d.Own(netip.AddrPortFrom(addr, t.Port)) {
		return &Denied{Target: t, Addr: addr, Decision: Decision{
			Rule:   "own",
			Reason: "gaia itself listens there, and what it connects to itself would go round for ever; name another target",
		}}
	}
	policy := d.policy()
	no, ok := errors.AsType[*Denied](policy.Check(t, addr))
	if ok {
		no.Passed = policy.reportOnly
	}
	return no
}

// report tells of a denial and returns it.
func (d *Dialer) report(denied *Denied) error {
	if d.Reported != nil {
		d.Reported(denied)
	}
	return denied
}

// connect opens one connection. The system's last word before it is sent out,
// the address in Control, is checked again: no change in between, of the list
// or of this code, leads elsewhere.
func (d *Dialer) connect(ctx context.Context, t Target, addr netip.Addr) (net.Conn, error) {
	dialer := net.Dialer{
		KeepAlive: d.KeepAlive,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if no := d.check(t, to.Addr().Unmap()); no != nil && !no.Passed {
				return no
			}
			return nil
		},
	}
	return dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(addr, t.Port).String())
}

// inTurn brings addresses into the order in which they are tried: the families
// take turns, IPv6 comes first, within a family it is the resolver's order.
func inTurn(addrs []netip.Addr) []netip.Addr {
	var four, six, turns []netip.Addr
	for _, addr := range addrs {
		list := &six
		if addr.Is4() {
			list = &four
		}
		if len(*list) < maxAttempts && !slices.Contains(*list, addr) {
			*list = append(*list, addr)
		}
	}
	for i := range max(len(four), len(six)) {
		turns = append(turns, six[min(i, len(six)):min(i+1, len(six))]...)
		turns = append(turns, four[min(i, len(four)):min(i+1, len(four))]...)
	}
	return turns[:min(len(turns), maxAttempts)]
}

// parseAddress reads "host:port" for one of the networks of DialContext.
func parseAddress(network, address string) (Target, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return Target{}, net.UnknownNetworkError(network)
	}
	name, number, err := net.SplitHostPort(address)
	if err != nil {
		return Target{}, err
	}
	host, err := ParseHost(name)
	if err != nil {
		return Target{}, err
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 {
		return Target{}, fmt.Errorf("port %.20q: write a number from 1 to 65535", number)
	}
	return Target{Host: host, Port: uint16(port)}, nil
}

// clientKey is of the client in a context.
type clientKey struct{}

// WithClient says in whose name DialContext dials.
func WithClient(ctx context.Context, client string) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

func clientOf(ctx context.Context) string {
	client, _ := ctx.Value(clientKey{}).(string)
	return client
}
