package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/admit"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/proxy"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/shape"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/egress"
	"google.golang.org/protobuf/types/known/durationpb"
)

// settings is a Config with its defaults filled in.
type settings struct {
	listen         netip.AddrPort // invalid where nobody listens
	gate           *proxy.Gate
	policy         *egress.Policy
	admission      admit.Limits
	bandwidth      shape.Rules
	connectTimeout time.Duration
	idle           time.Duration
	lifetime       time.Duration // 0 is no bound
}

// The defaults that config.proto promises.
const (
	defaultConnections    = 2000
	defaultConnectTimeout = 10 * time.Second
	defaultIdle           = 10 * time.Minute
)

// read checks a config and reads the files that it names. The error has all
// faults.
func read(ctx context.Context, config *networkv1.Config) (*settings, error) {
	s := &settings{
		connectTimeout: durationOr(config.GetConnectTimeout(), defaultConnectTimeout),
		idle:           durationOr(config.GetIdleTimeout(), defaultIdle),
		lifetime:       durationOr(config.GetLifetime(), 0),
	}
	var faults [4]error
	s.policy, faults[0] = egress.Configure(ctx, "egress", config.GetEgress())
	s.listen, faults[1] = readListen(config)
	s.gate, faults[2] = readClients(config)
	s.admission, s.bandwidth, faults[3] = readLimits(config)
	if err := errors.Join(faults[:]...); err != nil {
		return nil, err
	}
	s.gate.MaxConnections = s.admission.Connections
	return s, nil
}

// readListen checks where the proxy is to listen, and that not everybody can use
// it there.
func readListen(config *networkv1.Config) (netip.AddrPort, error) {
	if config.GetListen() == "" {
		return netip.AddrPort{}, nil
	}
	at, err := netip.ParseAddrPort(config.GetListen())
	if err != nil {
		return at, sdk.Invalid("listen", "%q is not an address and a port; write \"127.0.0.1:3128\", or \"[::1]:3128\"", config.GetListen())
	}
	switch {
	case len(config.GetClient()) == 0 && !config.GetAnonymous():
		return at, sdk.Invalid("listen", "nobody may use the proxy; add a block client \"name\" { token_file = \"…\" }, or anonymous = true")
	case config.GetAnonymous() && !at.Addr().Unmap().IsLoopback():
		return at, sdk.Invalid("anonymous", "programs of other machines could use the proxy at %v without a name; "+
			"listen on 127.0.0.1, or leave anonymous out and add client blocks", at)
	}
	return at, nil
}

// readClients finds the password of each client.
func readClients(config *networkv1.Config) (*proxy.Gate, error) {
	gate := &proxy.Gate{Anonymous: config.GetAnonymous(), Clients: map[string]proxy.Token{}}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(config.GetClient())) {
		client, path := config.GetClient()[name], fmt.Sprintf("client[%q]", name)
		if name == "" || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f }) {
			faults = append(faults, sdk.Invalid(path, "a client's name has 1 to 255 bytes, without colons, spaces and control characters"))
			continue
		}
		password, err := passwordOf(client, path)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		gate.Clients[name] = proxy.NewToken(password)
	}
	return gate, errors.Join(faults...)
}

// readLimits reads the bounds of connections and bytes.
func readLimits(config *networkv1.Config) (admit.Limits, shape.Rules, error) {
	connections := admit.Limits{
		Connections:          int(config.GetMaxConnections()),
		ConnectionsPerHost:   int(config.GetConnectionsPerHost()),
		ConnectionsPerClient: int(config.GetConnectionsPerClient()),
		NewConnections:       rate(config.GetNewConnections()),
		Clients:              map[string]admit.Client{},
	}
	if connections.Connections == 0 {
		connections.Connections = defaultConnections
	}
	bytes := shape.Rules{
		Total:     bandwidth(config.GetBandwidth()),
		PerClient: bandwidth(config.GetBandwidthPerClient()),
		PerHost:   bandwidth(config.GetBandwidthPerHost()),
		Clients:   map[string]shape.Limits{},
	}
	faults := []error{checkRate("new_connections", config.GetNewConnections())}
	for name, client := range config.GetClient() {
		faults = append(faults, checkRate(fmt.Sprintf("client[%q].new_connections", name), client.GetNewConnections()))
		connections.Clients[name] = admit.Client{Connections: int(client.GetConnections()), NewConnections: rate(client.GetNewConnections())}
		if client.GetBandwidth() != nil {
			bytes.Clients[name] = bandwidth(client.GetBandwidth())
		}
	}
	return connections, bytes, errors.Join(faults...)
}

func bandwidth(b *networkv1.Bandwidth) shape.Limits {
	return shape.Limits{Up: b.GetUp(), Down: b.GetDown()}
}

func rate(r *optionsv1.Rate) admit.Rate {
	return admit.Rate{Events: r.GetEvents(), Per: r.GetPer().AsDuration()}
}

func checkRate(path string, r *optionsv1.Rate) error {
	if r != nil && (r.GetEvents() == 0 || r.GetPer().AsDuration() <= 0) {
		return sdk.Invalid(path, "a rate is a count per period, at least 1, such as \"10/s\"")
	}
	return nil
}

// filesFor is how many open files the proxy may want: two for a connection, one
// for each that waits, and some for pipes, names and calls.
func filesFor(connections int) uint64 {
	return uint64(2*connections + proxy.MaxWaiting + 300) //nolint:gosec // at most two million
}

func durationOr(d *durationpb.Duration, standard time.Duration) time.Duration {
	if d.AsDuration() <= 0 {
		return standard
	}
	return d.AsDuration()
}
