package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/gaia-go/gaia/sdk"
)

// door is where the proxy listens.
type door struct {
	at       netip.AddrPort // as it was asked for
	listener *net.TCPListener
}

// listens returns the address that is listened at; none for a nil door.
func (d *door) listens() []netip.AddrPort {
	if d == nil {
		return nil
	}
	at, _ := netip.ParseAddrPort(d.listener.Addr().String())
	return []netip.AddrPort{at}
}

// doorAt returns the door at an address: the one that is open, one that an
// earlier instance has left with the host, or a new one; nil for no address.
func (c *Coordinator) doorAt(ctx context.Context, at netip.AddrPort) (*door, error) {
	if !at.IsValid() {
		return nil, nil //nolint:nilnil // no door is wanted
	}
	if c.door != nil && c.door.at == at {
		return c.door, nil
	}
	listener, err := keptListener(keptDoor + at.String())
	if err != nil {
		c.logger.Warn("the proxy's listener cannot be taken over", "err", err)
	}
	if listener == nil {
		config := net.ListenConfig{KeepAlive: -1} // idle_timeout finds dead clients
		opened, err := config.Listen(ctx, "tcp", at.String())
		if err != nil {
			return nil, sdk.Invalid("listen", "nobody can listen at %v: %v; write another port, or end the program that has it", at, cause(err))
		}
		listener, _ = opened.(*net.TCPListener) // what "tcp" makes
	}
	return &door{at: at, listener: listener}, nil
}

// cause is the system's error without the address, which the text has already.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// openDoor puts a door in the place of the one before and serves it.
func (c *Coordinator) openDoor(ctx context.Context, next *door) {
	if next == c.door {
		return
	}
	c.closeDoor()
	if c.door = next; next != nil {
		c.keep(next)
		life := context.WithoutCancel(ctx)
		c.running.Go(func() {
			if err := c.server.Serve(life, next.listener); err != nil {
				c.logger.Error("the proxy takes no connections any more", "err", err)
			}
		})
		c.logger.Info("the proxy listens", "address", next.listener.Addr().String())
	}
}

// closeDoor closes this instance's descriptor of the listener. If the host keeps
// another, connections wait there for the next instance.
func (c *Coordinator) closeDoor() {
	if c.door != nil {
		_ = c.door.listener.Close()
		c.door = nil
	}
}

// keptDoor begins the names under which the host keeps listeners.
const keptDoor = "listener "

// keep leaves the listener with the host: an instance that follows, after a crash
// or beside this one in a swap, accepts from the same queue, and nobody is
// refused meanwhile.
func (c *Coordinator) keep(d *door) {
	file, err := d.listener.File()
	if err == nil {
		err = sdk.Keep(keptDoor+d.at.String(), nil, file)
		_ = file.Close()
	}
	if err != nil && !errors.Is(err, sdk.ErrKeepUnavailable) {
		c.logger.Warn("the proxy's listener will not outlive a crash", "err", err)
	}
}

// keptListener returns the listener that the host keeps under a name, nil if
// there is none.
func keptListener(name string) (*net.TCPListener, error) {
	entries, err := sdk.Kept()
	if errors.Is(err, sdk.ErrKeepUnavailable) {
		return nil, nil //nolint:nilnil // then there is none
	}
	var found *net.TCPListener
	for _, entry := range entries {
		if entry.Name == name && len(entry.Files) == 1 {
			found, err = listenerOf(entry.Files[0])
		}
		_ = entry.Close()
	}
	return found, err
}

func listenerOf(file *os.File) (*net.TCPListener, error) {
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		_ = listener.Close()
		return nil, fmt.Errorf("what is kept is a %T", listener)
	}
	return tcp, nil
}

// forgetOthers lets the host close the listeners of other configs.
func forgetOthers(current *door) {
	entries, err := sdk.Kept()
	if err != nil {
		return // then nothing is kept
	}
	for _, entry := range entries {
		_ = entry.Close()
		if strings.HasPrefix(entry.Name, keptDoor) && (current == nil || entry.Name != keptDoor+current.at.String()) {
			_ = sdk.Forget(entry.Name)
		}
	}
}
