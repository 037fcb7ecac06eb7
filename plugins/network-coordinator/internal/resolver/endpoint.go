package resolver

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk"
)

// endpoint is where an upstream is and how it is talked to.
type endpoint struct {
	scheme string         // "udp", "tcp", "tls" or "https"
	addr   netip.AddrPort // of all but https
	name   string         // of tls: what its certificate must say; "" is its address
	url    string         // of https
}

func (e endpoint) String() string {
	if e.scheme == "https" {
		return e.url
	}
	return e.scheme + "://" + e.addr.String()
}

// readUpstreams reads what config calls upstreams.
func (s *settings) readUpstreams(config *networkv1.Resolver) error {
	for i, text := range config.GetUpstreams() {
		path := fmt.Sprintf("resolver.upstreams[%d]", i)
		e, problem := parseEndpoint(text)
		switch {
		case problem != "":
			return sdk.Invalid(path, "%.200q: %s", text, problem)
		case s.listen.IsValid() && e.addr == s.listen:
			return sdk.Invalid(path, "%q is the address of `listen`: questions would go round in circles", text)
		}
		s.upstreams = append(s.upstreams, e)
	}
	return nil
}

// parseEndpoint returns a problem for what is none.
func parseEndpoint(text string) (e endpoint, problem string) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "udp", text
	}
	e.scheme = scheme
	standard := uint16(53)
	switch scheme {
	case "udp", "tcp":
	case "tls":
		standard = 853
		rest, e.name, _ = strings.Cut(rest, "#")
	case "https":
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
			return e, `write a URL such as "https://dns.example/dns-query"`
		}
		e.url = u.String()
		return e, ""
	default:
		return e, "write an address, or one after udp://, tcp:// or tls://, or an https:// URL"
	}
	if addr, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		e.addr = netip.AddrPortFrom(addr, standard)
	} else if e.addr, err = netip.ParseAddrPort(rest); err != nil || e.addr.Port() == 0 {
		return e, `write an address such as "192.0.2.1" or "[2001:db8::1]:53"; names are for https:// only`
	}
	return e, ""
}
