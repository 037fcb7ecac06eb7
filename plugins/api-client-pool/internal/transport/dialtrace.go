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
// the request's values but what egress rules ask about and the trace: package
// net would take the resolver's own connections for the request's.
func dialContext(ctx context.Context) context.Context {
	dialing := context.WithValue(call.Bare(ctx), traceKey{}, httptrace.ContextClientTrace(ctx))
	return egress.WithClient(dialing, call.From(ctx).Profile)
}

// traceKey is of the trace in a dial's context.
type traceKey struct{}

// traceOf returns the trace of a dial, without hooks if there is none.
func traceOf(ctx context.Context) *httptrace.ClientTrace {
	trace, _ := ctx.Value(traceKey{}).(*httptrace.ClientTrace)
	if trace == nil {
		trace = &httptrace.ClientTrace{}
	}
	hook := *trace
	if hook.DNSStart == nil {
		hook.DNSStart = func(httptrace.DNSStartInfo) {}
	}
	if hook.DNSDone == nil {
		hook.DNSDone = func(httptrace.DNSDoneInfo) {}
	}
	if hook.ConnectStart == nil {
		hook.ConnectStart = func(_, _ string) {}
	}
	if hook.ConnectDone == nil {
		hook.ConnectDone = func(_, _ string, _ error) {}
	}
	return &hook
}

// tracedResolver tells the trace of a dial when it asks, and that what comes
// after is to connect.
type tracedResolver struct{ next egress.Resolver }

// LookupNetIP asks the next resolver.
func (r tracedResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	trace := traceOf(ctx)
	trace.DNSStart(httptrace.DNSStartInfo{Host: host})
	addrs, err := r.next.LookupNetIP(ctx, network, host)
	trace.DNSDone(httptrace.DNSDoneInfo{Err: err})
	if err == nil {
		trace.ConnectStart("tcp", host)
	}
	return addrs, err
}

// traced is dial by the egress rules, followed by the trace of ctx.
func traced(ctx context.Context, dialer *egress.Dialer, network, address string) (net.Conn, error) {
	trace := traceOf(ctx)
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	host, err := parseHost(name)
	if err != nil {
		return nil, err
	}
	if host.Addr.IsValid() {
		trace.ConnectStart(network, address) // there is nothing to resolve
	}
	conn, err := dialer.DialContext(ctx, network, address)
	trace.ConnectDone(network, address, err)
	return conn, err
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
