// Package profile has the secrets of the profile{} blocks: what is added to a
// request on its way out, and where it may be sent with it.
package profile

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"golang.org/x/net/http/httpguts"
)

// Profile is a profile{} block. It is safe for concurrent use.
type Profile struct {
	name          string
	base          *url.URL // nil for none
	hosts         hosts
	headers       []header
	authorization Secret   // value of the header; none where tokens has it, or nothing
	tokens        *tokens  // nil without oauth2
	cookies       *cookies // nil without cookies
	timeout       time.Duration
}

// header is one that is added where a request has none of its name.
type header struct {
	name  string // canonical
	value Secret
}

// Profiles are all of them by name.
type Profiles map[string]*Profile

// Parse reads the profile{} blocks. fault says why a header, of canonical name,
// cannot be sent, and is "" if it can. The error joins one fault per field, and
// has no secret in it.
func Parse(blocks map[string]*apiv1.Profile, fault func(name, value string) string) (Profiles, error) {
	all := Profiles{}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(blocks)) {
		p := parser{path: fmt.Sprintf("profile[%q]", name), header: fault}
		all[name] = p.profile(name, blocks[name])
		faults = append(faults, p.faults...)
	}
	return all, errors.Join(faults...)
}

// String returns the name.
func (p *Profile) String() string { return p.name }

// Timeout is that of a request without one; 0 is none.
func (p *Profile) Timeout() time.Duration { return p.timeout }

// Has reports whether a request to u gets what the profile has.
func (p *Profile) Has(u *url.URL) bool { return p.hosts.none() || p.hosts.have(u) }

// Knows reports whether u leads to a server that the client's certificate is
// meant for: one of the hosts, or the one that gives tokens.
func (p *Profile) Knows(u *url.URL) bool {
	return p.Has(u) || p.tokens != nil && *u == *p.tokens.url
}

// Resolve returns u as it is seen from base_url, or says why a request with this
// profile cannot go there.
func (p *Profile) Resolve(u *url.URL) (*url.URL, error) {
	if u.Scheme == "" && p.base != nil {
		u = p.base.ResolveReference(u)
	} else if u.Scheme == "" {
		return nil, fmt.Errorf("not absolute, and profile %q has no base_url that it could be seen from", p.name)
	}
	if !p.Has(u) {
		scheme := "https"
		if p.hosts.plain {
			scheme = "http or https"
		}
		return nil, fmt.Errorf("profile %q sends its secrets by %s to %s only", p.name, scheme, &p.hosts)
	}
	return u, nil
}

// Adds reports whether the profile has a header, of canonical name, for requests
// without it.
func (p *Profile) Adds(name string) bool {
	return slices.ContainsFunc(p.headers, func(h header) bool { return h.name == name })
}

// Refuses says why a request may not have a header, of canonical name, that its
// caller has set, and is "" if it may. An Authorization of one's own would be
// mistaken for the profile's, and a Host can lead secrets to another customer of
// the same servers.
func (p *Profile) Refuses(name, value string) string {
	switch {
	case name == "Authorization" && (p.tokens != nil || !p.authorization.IsZero()):
		return fmt.Sprintf("profile %q has its own; leave it out, or call without the profile", p.name)
	case name == "Host" && !p.hosts.none() && !p.hosts.have(&url.URL{Scheme: "https", Host: value}) &&
		!p.hosts.have(&url.URL{Scheme: "http", Host: value}):
		return fmt.Sprintf("profile %q sends its secrets to %s only", p.name, &p.hosts)
	}
	return ""
}

// Echoes reports whether a method has servers return what they were sent, the
// secrets too.
func (p *Profile) Echoes(method string) bool {
	return method == http.MethodTrace && !p.hosts.none()
}

// parser makes a Profile and notes what is wrong.
type parser struct {
	path   string
	header func(name, value string) string
	faults []error
}

func (p *parser) fault(field, format string, args ...any) {
	p.faults = append(p.faults, sdk.Invalid(p.path+"."+field, format, args...))
}

func (p *parser) profile(name string, block *apiv1.Profile) *Profile {
	made := &Profile{name: name, timeout: block.GetTimeout().AsDuration()}
	p.where(made, block)
	p.headers(made, block.GetHeaders())
	p.authorization(made, block)
	if block.GetCookies() {
		made.cookies = newCookies()
	}
	secret := made.tokens != nil || !made.authorization.IsZero() || len(made.headers) > 0 || block.GetTls().GetCertificate() != ""
	if secret && made.hosts.none() && len(p.faults) == 0 {
		p.fault("hosts", "there are secrets, and nowhere that they may be sent to; write base_url or hosts")
	}
	return made
}

// where reads base_url and hosts.
func (p *parser) where(made *Profile, block *apiv1.Profile) {
	if text := block.GetBaseUrl(); text != "" {
		base, err := parseBase(text)
		if err == nil {
			made.base = base
			made.hosts.plain = base.Scheme == "http"
			p.server(made, base.Host, "base_url")
		} else {
			p.fault("base_url", "%v", err)
		}
	}
	for i, text := range block.GetHosts() {
		p.server(made, text, fmt.Sprintf("hosts[%d]", i))
	}
}

func (p *parser) server(made *Profile, text, field string) {
	s, err := parseServer(text)
	if err != nil {
		p.fault(field, "%v", err)
		return
	}
	made.hosts.servers = append(made.hosts.servers, s)
}

func (p *parser) headers(made *Profile, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		canonical, field := http.CanonicalHeaderKey(name), fmt.Sprintf("headers[%q]", name)
		if fault := p.header(canonical, headers[name]); fault != "" {
			p.fault(field, "%s", fault)
			continue
		}
		if canonical == "Host" {
			p.fault(field, "a host is that of base_url and hosts")
			continue
		}
		if canonical == "Idempotency-Key" || canonical == "X-Idempotency-Key" {
			p.fault(field, "a key is one request's; with one for all, the server would take them for repetitions")
			continue
		}
		if made.Adds(canonical) {
			p.fault(field, "given twice, in different case")
			continue
		}
		made.headers = append(made.headers, header{canonical, NewSecret(headers[name])})
	}
}

// authorization reads the one of basic, bearer and oauth2 that there is.
func (p *parser) authorization(made *Profile, block *apiv1.Profile) {
	var given []string
	if basic := block.GetBasic(); basic != nil {
		given = append(given, "basic")
		if strings.Contains(basic.GetUser(), ":") {
			p.fault("basic.user", "has a colon, which ends the user name in HTTP Basic authentication (RFC 7617, 2)")
		}
		pair := basic.GetUser() + ":" + basic.GetPassword()
		made.authorization = NewSecret("Basic " + base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	if bearer := block.GetBearer(); bearer != "" {
		given = append(given, "bearer")
		if !httpguts.ValidHeaderFieldValue(bearer) || strings.ContainsAny(bearer, " \t") {
			p.fault("bearer", "has a space, a line break or another character that a token cannot have")
		}
		made.authorization = NewSecret("Bearer " + bearer)
	}
	if oauth2 := block.GetOauth2(); oauth2 != nil {
		given = append(given, "oauth2")
		u, err := parseTokenURL(oauth2.GetTokenUrl())
		if err != nil {
			p.fault("oauth2.token_url", "%v", err)
		}
		made.tokens = newTokens(made.name, u, oauth2)
	}
	if made.Adds("Authorization") {
		given = append(given, `headers["Authorization"]`)
	}
	if len(given) > 1 {
		p.fault(given[1], "%s are given; a request has one Authorization, so leave one of them", strings.Join(given, " and "))
	}
}
