package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gaia-go/gaia/host/internal/supervisor"
)

// tell passes lines of sd_notify(3) on to the service manager that started the
// host; without one it does nothing.
func (h *host) tell(lines ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		h.logger.Warn("the service manager was not told", "what", lines[0], "err", err)
	}
}

// tellReload says that a reload has begun, and returns what says that it ended.
func (h *host) tellReload() (ended func()) {
	h.tell(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
	return func() { h.tell(daemon.SdNotifyReady, h.statusLine()) }
}

// tellStatus keeps the line up to date that `systemctl status` shows, until
// ctx ends.
func (h *host) tellStatus(ctx context.Context) {
	told := ""
	for {
		_, _, changed := h.events.Read(h.events.Tail(1))
		if line := h.statusLine(); line != told {
			h.tell(line)
			told = line
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// statusLine is how many subsystems are ready, and what the others are.
func (h *host) statusLine() string {
	all, ready := h.all(), 0
	var others []string
	for _, s := range all {
		if st := s.supervisor.Status(); st.State == supervisor.Ready {
			ready++
		} else {
			others = append(others, s.name+" "+st.State.String())
		}
	}
	line := fmt.Sprintf("STATUS=%d of %d subsystems ready", ready, len(all))
	if len(others) > 0 {
		line += ": " + strings.Join(others, ", ")
	}
	return line
}

// watchdog tells the service manager that the host is alive for as long as it
// answers at its own socket, until ctx ends: through the door, the gateway and
// the supervisors, as callers come. A host that does not is started again.
func (h *host) watchdog(ctx context.Context) error {
	patience, err := daemon.SdWatchdogEnabled(false)
	if err != nil || patience == 0 {
		return err
	}
	conn, err := grpc.NewClient("unix:"+h.config.Load().Host.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	self, every := hostv1.NewHostClient(conn), patience/3
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, every)
		_, err := self.Status(asking, &hostv1.StatusRequest{})
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			h.logger.Error("the host does not answer itself; its service manager will end it", "patience", patience, "err", err)
		default:
			h.tell(daemon.SdNotifyWatchdog)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
