package transport

import (
	"errors"
	"fmt"
	"net/url"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/protobuf/proto"
)

// ParseRoutes reads the routes of all profiles. knows returns for a profile the
// servers that its certificate is shown to. The error joins one fault per field.
func ParseRoutes(config *apiv1.Config, knows func(profile string) func(*url.URL) bool) (Routes, error) {
	r := router{apart: apart(config), proxies: map[string]*Proxy{}}
	r.routes = Routes{"": r.route("", config.GetTls(), "tls", config.GetProxy(), "proxy")}
	for name, p := range config.GetProfile() {
		path := fmt.Sprintf("profile[%q]", name)
		proxy, tls, proxyPath, tlsPath := config.GetProxy(), config.GetTls(), "proxy", "tls"
		if p.GetProxy() != "" {
			proxy, proxyPath = p.GetProxy(), path+".proxy"
		}
		if p.GetTls() != nil {
			tls, tlsPath = p.GetTls(), path+".tls"
		}
		route := r.route(name, tls, tlsPath, proxy, proxyPath)
		route.Knows = knows(name)
		r.routes[name] = route
	}
	return r.routes, errors.Join(r.faults...)
}

// router is Routes on their way.
type router struct {
	routes     Routes
	apart      map[string]bool
	identities []identified
	proxies    map[string]*Proxy // equal ones are one, too
	faults     []error
}

// identified is a tls{} block and what was made of it. Equal ones are made once,
// so that profiles with the same share connections.
type identified struct {
	block *apiv1.TLS
	id    *Identity
}

func (r *router) route(profile string, tls *apiv1.TLS, tlsPath, proxy, proxyPath string) Route {
	route := Route{TLS: r.identity(tls, tlsPath), Apart: r.apart[profile]}
	known, ok := r.proxies[proxy]
	if !ok {
		var err error
		if known, err = ParseProxy(proxy); err != nil {
			r.faults = append(r.faults, sdk.Invalid(proxyPath, "%v", err))
		}
		r.proxies[proxy] = known
	}
	route.Proxy = known
	return route
}

func (r *router) identity(block *apiv1.TLS, path string) *Identity {
	for _, known := range r.identities {
		if proto.Equal(known.block, block) {
			return known.id
		}
	}
	id, err := ParseIdentity(block, path)
	if err != nil {
		r.faults = append(r.faults, err)
	}
	r.identities = append(r.identities, identified{block, id})
	return id
}

// apart returns the profiles that egress rules name. The rules say the same of
// all others, so these may share connections.
func apart(config *apiv1.Config) map[string]bool {
	named := map[string]bool{}
	for _, rule := range config.GetEgress().GetRule() {
		for _, client := range rule.GetClients() {
			named[client] = true
		}
	}
	return named
}
