package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"

	"github.com/gaia-go/gaia/host/internal/access"
	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// openAccess makes the host's own token, opens the audit log, and lets clients
// in.
func (h *host) openAccess() (err error) {
	cfg := h.config.Load()
	file, err := access.OpenFile(cfg.Host.AuditLog)
	if err != nil {
		return err
	}
	h.audit.Use(file)
	if h.token, h.tokenPath, err = writeToken(cfg.Host.Socket); err != nil {
		return err
	}
	h.clients.Set(config.NewToken(h.token), cfg.Clients)
	return nil
}

// listenTCP opens the listener of gRPC over TCP; nil if there is to be none.
func (h *host) listenTCP() (net.Listener, error) {
	address := h.config.Load().Host.GRPC
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address) //nolint:noctx // does not wait for anything
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	h.grpcAddress = listener.Addr().String()
	return listener, nil
}

// serveTCP serves a listener of listenTCP until ctx ends.
func (h *host) serveTCP(ctx context.Context, listener net.Listener) error {
	if listener == nil {
		return nil
	}
	return h.gateway.ServeTCP(ctx, listener, func() *tls.Config { return h.config.Load().TLS })
}

// clientChanges says what a reload does to clients.
func clientChanges(before, after []config.Client) (done []string) {
	find := func(all []config.Client, name string) *config.Client {
		if i := slices.IndexFunc(all, func(c config.Client) bool { return c.Name == name }); i >= 0 {
			return &all[i]
		}
		return nil
	}
	for i := range before {
		name := before[i].Name
		switch now := find(after, name); {
		case now == nil:
			done = append(done, "client "+name+": removed")
		case !now.SettingsEqual(&before[i]):
			done = append(done, "client "+name+": settings applied")
		}
	}
	for i := range after {
		if find(before, after[i].Name) == nil {
			done = append(done, "client "+after[i].Name+": added")
		}
	}
	return done
}

// unknownPermissions warns of what a client may call and nobody serves. describe
// returns what a subsystem serves; nil when that is not known.
func unknownPermissions(cfg *config.Config, c *config.Client, describe func(*config.Subsystem) *registry.Description) *config.Report {
	report := &config.Report{}
	subsystems := []string{config.HostClient}
	for _, s := range cfg.Subsystems {
		subsystems = append(subsystems, s.Name)
	}
	for i, p := range c.Allow {
		if p.Subsystem != "" && !slices.Contains(subsystems, p.Subsystem) {
			report.Add(c.WarnAt(i, "Unknown subsystem", absent(fmt.Sprintf("There is no subsystem %q", p.Subsystem), p.Subsystem, subsystems)))
			continue
		}
		methods := methodsOf(cfg, p.Subsystem, describe)
		if methods == nil || slices.ContainsFunc(methods, func(m string) bool { return p.Allows(p.Subsystem, m) }) {
			continue
		}
		report.Add(c.WarnAt(i, "Unknown method", absent(fmt.Sprintf("%s has no method %q", p.Subsystem, strings.TrimPrefix(p.String(), p.Subsystem+".")), p.Method, methods)))
	}
	return report
}

// absent is a sentence on a name that there is not, with the one that was
// probably meant.
func absent(sentence, name string, known []string) string {
	sentence += ", so that this allows nothing."
	if near, ok := nearest.Name(name, known); ok {
		return sentence + fmt.Sprintf(" Did you mean %q?", near)
	}
	return sentence + " There are: " + strings.Join(known, ", ") + "."
}

// methodsOf are the last parts of the names of the methods of a subsystem,
// sorted; nil when they are not known.
func methodsOf(cfg *config.Config, subsystem string, describe func(*config.Subsystem) *registry.Description) (names []string) {
	if subsystem == config.HostClient {
		for _, m := range hostv1.Host_ServiceDesc.Methods {
			names = append(names, m.MethodName)
		}
		for _, s := range hostv1.Host_ServiceDesc.Streams {
			names = append(names, s.StreamName)
		}
	}
	i := slices.IndexFunc(cfg.Subsystems, func(s config.Subsystem) bool { return s.Name == subsystem })
	if i >= 0 {
		if d := describe(&cfg.Subsystems[i]); d != nil {
			for _, m := range d.Methods() {
				names = append(names, string(m.Descriptor.Name()))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
