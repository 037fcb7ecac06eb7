package transport

import (
	"context"
	"net"
	"net/http/httptrace"
	"net/netip"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"github.com/gaia-go/gaia/sdk/egress"
	"google.golang.org/grpc/codes"
)

// dialContext is the context of a dial for the request of ctx. It has none of
// the request's values but what egress rules ask about and the exchange: package
// net would take the resolver's own connections for the request's.
func dialContext(ctx context.Context) context.Context {
	return egress.WithClient(call.Dialing(ctx), call.From(ctx).Profile)
}

// tracedResolver tells the exchange of a dial when it asks, and that what comes
// after is to connect.
type tracedResolver struct{ next egress.Resolver }

// LookupNetIP asks the next resolver.
func (r tracedResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	exchange := call.ExchangeFrom(ctx)
	exchange.Resolve()
	addrs, err := r.next.LookupNetIP(ctx, network, host)
	exchange.Resolved(err)
	if err == nil {
		exchange.Connect()
	}
	return addrs, err
}

// traced is dial by the egress rules, followed by the exchange of ctx.
func traced(ctx context.Context, dialer *egress.Dialer, network, address string) (net.Conn, error) {
	exchange := call.ExchangeFrom(ctx)
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	host, err := parseHost(name)
	if err != nil {
		return nil, err
	}
	if host.Addr.IsValid() {
		exchange.Connect() // there is nothing to resolve
	}
	conn, err := dialer.DialContext(ctx, network, address)
	exchange.Connected(err)
	return conn, err
}

// tracedPlain has package net tell the exchange of a dial by no rules.
func tracedPlain(ctx context.Context) context.Context {
	exchange := call.ExchangeFrom(ctx)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { exchange.Resolve() },
		DNSDone:      func(info httptrace.DNSDoneInfo) { exchange.Resolved(info.Err) },
		ConnectStart: func(_, _ string) { exchange.Connect() },
		ConnectDone:  func(_, _ string, err error) { exchange.Connected(err) },
	})
}

// parseHost is egress.ParseHost with an error that ends the call: a host that is
// none will not become one.
func parseHost(text string) (egress.Host, error) {
	host, err := egress.ParseHost(text)
	if err != nil {
		return egress.Host{}, &call.Failure{Code: codes.InvalidArgument, Text: err.Error()}
	}
	return host, nil
}
