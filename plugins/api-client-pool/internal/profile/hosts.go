package profile

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/gaia-go/gaia/sdk/egress"
)

// hosts are where a profile's secrets may go.
type hosts struct {
	servers []server
	plain   bool // whether http will do, because base_url has it; https always does
}

// server is a host and a port, "" for that of the scheme.
type server struct {
	host egress.Host
	port string
}

// parseServer reads an entry of hosts, such as "example.com" or
// "example.com:8443".
func parseServer(text string) (server, error) {
	if strings.ContainsAny(text, "/@?#") {
		return server{}, errors.New(`not a host; write "example.com" or "example.com:8443", without scheme and path`)
	}
	if strings.Contains(text, "*") {
		return server{}, errors.New("secrets go to hosts that are named one by one, not by a pattern")
	}
	name, port := text, ""
	if h, p, err := net.SplitHostPort(text); err == nil {
		name, port = h, p
	}
	u := url.URL{Scheme: "https", Host: net.JoinHostPort(strings.Trim(name, "[]"), port)}
	if _, err := url.Parse(u.String()); err != nil || port == "0" || len(port) > 5 {
		return server{}, errors.New("a port is a number from 1 to 65535")
	}
	host, err := egress.ParseHost(name)
	return server{host, port}, err
}

// none reports whether there is no host, which is no bound.
func (h *hosts) none() bool { return len(h.servers) == 0 }

// have reports whether u leads to one of the hosts.
func (h *hosts) have(u *url.URL) bool {
	if u.Scheme != "https" && !h.plain {
		return false
	}
	host, err := egress.ParseHost(u.Hostname())
	if err != nil {
		return false
	}
	for _, s := range h.servers {
		if s.host == host && samePort(u, s.port) {
			return true
		}
	}
	return false
}

func samePort(u *url.URL, port string) bool {
	standard := "80"
	if u.Scheme == "https" {
		standard = "443"
	}
	got := u.Port()
	if got == "" {
		got = standard
	}
	if port == "" {
		port = standard
	}
	return got == port
}

// String lists the hosts.
func (h *hosts) String() string {
	names := make([]string, len(h.servers))
	for i, s := range h.servers {
		names[i] = s.host.String()
		if s.port != "" {
			names[i] = net.JoinHostPort(names[i], s.port)
		}
	}
	return strings.Join(names, ", ")
}

// parseBase reads a base_url. Its path is a folder, whether it ends in a slash
// or not.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New(`not a well-formed URL; write one like "https://api.example.com/v1/"`)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New(`not an absolute http or https URL; write one like "https://api.example.com/v1/"`)
	case u.User != nil:
		return nil, errors.New("has user information; write a basic{} block instead")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("has a query or a fragment, which would be lost")
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	return u, nil
}
