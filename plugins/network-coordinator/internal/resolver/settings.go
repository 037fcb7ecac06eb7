package resolver

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/protobuf/types/known/durationpb"
)

// minCache is what a cache of a few dozen names takes.
const minCache = 64 << 10

// settings are a Resolver message with its defaults filled in.
type settings struct {
	upstreams []endpoint // none means those of resolv.conf
	hosts     bool
	cache     int // bytes
	minTTL    time.Duration
	maxTTL    time.Duration
	stale     time.Duration
	timeout   time.Duration
	listen    netip.AddrPort // not valid: no listener
	roots     *x509.CertPool // nil: the system's
}

// settingsFrom reads config; the bounds of its single fields are the host's to
// check. Its faults are made with sdk.Invalid.
func settingsFrom(config *networkv1.Resolver) (settings, error) {
	s := settings{
		hosts:   config.HostsFile == nil || config.GetHostsFile(), //nolint:protogetter // unset is not false
		cache:   16 << 20,
		minTTL:  config.GetMinTtl().AsDuration(),
		maxTTL:  durationOr(config.GetMaxTtl(), 24*time.Hour),
		stale:   time.Hour,
		timeout: durationOr(config.GetTimeout(), 2*time.Second),
	}
	if config.GetStale() != nil {
		s.stale = config.GetStale().AsDuration()
	}
	var faults []error
	if n := config.GetCache(); n > 0 {
		s.cache = int(min(n, 1<<40))
		if n < minCache {
			faults = append(faults, sdk.Invalid("resolver.cache", "%d bytes hold next to nothing; write at least 64KiB", n))
		}
	}
	if s.minTTL > s.maxTTL {
		faults = append(faults, sdk.Invalid("resolver.min_ttl", "%v is more than max_ttl, %v", s.minTTL, s.maxTTL))
	}
	faults = append(faults, s.readListen(config), s.readCA(config), s.readUpstreams(config))
	return s, errors.Join(faults...)
}

func (s *settings) readListen(config *networkv1.Resolver) error {
	text := config.GetListen()
	if text == "" {
		return nil
	}
	at, err := netip.ParseAddrPort(text)
	switch {
	case err != nil:
		return sdk.Invalid("resolver.listen", "%q is no address with a port; write one such as \"127.0.0.1:5353\"", text)
	case at.Addr().IsUnspecified():
		// An answer must come from the address that was asked.
		return sdk.Invalid("resolver.listen", "%q is every address of this machine; write one of them", text)
	}
	s.listen = at
	return nil
}

func (s *settings) readCA(config *networkv1.Resolver) error {
	if config.GetCa() == "" {
		return nil
	}
	s.roots = x509.NewCertPool()
	if !s.roots.AppendCertsFromPEM([]byte(config.GetCa())) {
		return sdk.Invalid("resolver.ca", "there is no certificate in it; write PEM, or file(\"ca.pem\")")
	}
	return nil
}

func durationOr(d *durationpb.Duration, standard time.Duration) time.Duration {
	if d.AsDuration() <= 0 {
		return standard
	}
	return d.AsDuration()
}
