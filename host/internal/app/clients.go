package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"

	"github.com/gaia-go/gaia/host/internal/access"
	"github.com/gaia-go/gaia/host/internal/config"
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
