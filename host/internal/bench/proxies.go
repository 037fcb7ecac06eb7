package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

const (
	networkPlugin    = "gaia-network-coordinator"
	networkSubsystem = "network"
)

// networkConfig is a house whose proxy may be used by anybody on this machine,
// to reach it.
const networkConfig = `
subsystem "` + networkSubsystem + `" {
  plugin = "` + networkPlugin + `"
  config {
    listen          = "127.0.0.1:%d"
    anonymous       = true
    max_connections = 20000
    egress {
      rule {
        action    = "allow"
        addresses = ["loopback"]
      }
    }
  }
}
`

// throughProxy is a way to servers: by a proxy, or directly.
type throughProxy struct {
	what    string
	address string // of the proxy; "" for none
	pids    []int  // of the proxy
	close   func() error
}

// proxyRecipes are the proxies to be compared with. Neither looks at a rule,
// writes a log or keeps a copy.
func proxyRecipes() []recipe {
	return []recipe{{
		what: "squid", program: "squid",
		config: func(dir string, port int) string {
			return fmt.Sprintf("http_port 127.0.0.1:%d\nhttp_access allow all\naccess_log none\ncache_log /dev/null\ncache_store_log none\n"+
				"cache deny all\npid_filename none\nmax_filedescriptors 16384\nshutdown_lifetime 0 seconds\nnetdb_filename none\ncoredump_dir %s\n", port, dir)
		},
		arguments: func(config string, _ int) []string { return []string{"-N", "-f", config} },
	}, {
		what: "tinyproxy", program: "tinyproxy",
		config: func(_ string, port int) string {
			return fmt.Sprintf("Port %d\nListen 127.0.0.1\nMaxClients 10000\nTimeout 600\nLogLevel Critical\n", port)
		},
		arguments: func(config string, _ int) []string { return []string{"-d", "-c", config} },
	}}
}

// proxies are the ways that are measured, the one without a proxy first.
func proxies(ctx context.Context, o Options) (all []*throughProxy, err error) {
	defer func() {
		if err != nil {
			for _, p := range all {
				err = errors.Join(err, p.close())
			}
		}
	}()
	all = append(all, &throughProxy{what: "no proxy", close: func() error { return nil }})
	ours, err := ourProxy(ctx, o)
	if err != nil {
		return all, err
	}
	all = append(all, ours)
	for _, r := range proxyRecipes() {
		if _, err := exec.LookPath(r.program); err != nil {
			o.progress("proxy: %s is not installed", r.what)
			continue
		}
		s, err := r.serve(ctx, accepts)
		if err != nil {
			return all, err
		}
		all = append(all, &throughProxy{what: s.what, address: s.address, pids: []int{s.cmd.Process.Pid}, close: s.close})
	}
	return all, nil
}

// ourProxy is that of the network coordinator.
func ourProxy(ctx context.Context, o Options) (p *throughProxy, err error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	h, err := open(ctx, o, fmt.Sprintf(networkConfig, port))
	if err != nil {
		return nil, err
	}
	s, err := h.await(ctx, networkSubsystem, func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_READY })
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	return &throughProxy{what: "gaia", address: fmt.Sprintf("127.0.0.1:%d", port), pids: []int{int(s.GetPid())}, close: h.close}, nil
}
