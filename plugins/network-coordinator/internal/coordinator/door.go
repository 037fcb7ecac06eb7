package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/resolver"
	"github.com/gaia-go/gaia/sdk"
)

// The kinds of doors. The host keeps their sockets under the kind and the address.
const (
	doorProxy = "proxy"
	doorNames = "names"
)

// door is what others connect to: the sockets at an address. The host keeps
// duplicates, so that an instance that follows, after a crash or beside this one
// in a swap, accepts from the same queue, and nobody is refused meanwhile.
type door struct {
	name string         // under which the host keeps it
	at   netip.AddrPort // as it was asked for
	tcp  *net.TCPListener
	udp  *net.UDPConn // of doorNames
}

// open returns the door of a kind at an address: the one in use, one that an
// earlier instance has left with the host, or a new one.
func (c *Coordinator) open(ctx context.Context, kind string, at netip.AddrPort, inUse *door) (*door, error) {
	if inUse != nil && inUse.at == at {
		return inUse, nil
	}
	d := &door{name: kind + " " + at.String(), at: at}
	found, err := d.takeOver()
	if err != nil {
		c.logger.Warn("what an earlier instance has listened at cannot be taken over", "door", d.name, "err", err)
	}
	switch {
	case found:
	case kind == doorNames:
		d.tcp, d.udp, err = resolver.OpenSockets(ctx, at)
	default:
		config := net.ListenConfig{KeepAlive: -1} // idle_timeout finds dead clients
		var listener net.Listener
		if listener, err = config.Listen(ctx, "tcp", at.String()); err == nil {
			d.tcp, _ = listener.(*net.TCPListener) // it is one
		}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return nil, op.Err // without the address, which the text has already
	}
	if d.tcp == nil {
		return nil, err
	}
	return d, nil
}

// takeOver takes the sockets that the host keeps for the door, and reports
// whether there are any.
func (d *door) takeOver() (bool, error) {
	entries, err := sdk.Kept()
	if errors.Is(err, sdk.ErrKeepUnavailable) {
		return false, nil
	}
	for _, entry := range entries {
		if entry.Name == d.name {
			err = d.use(entry.Files)
		}
		_ = entry.Close()
	}
	return err == nil && d.tcp != nil, err
}

// use makes sockets of duplicates of files, as files returns them.
func (d *door) use(files []*os.File) error {
	for _, file := range files {
		if packets, err := net.FilePacketConn(file); err == nil {
			d.udp, _ = packets.(*net.UDPConn)
			continue
		}
		listener, err := net.FileListener(file)
		if err != nil {
			d.close()
			return fmt.Errorf("socket of %q: %w", d.name, err)
		}
		d.tcp, _ = listener.(*net.TCPListener)
	}
	return nil
}

// files returns duplicates of the sockets, which the caller closes.
func (d *door) files() ([]*os.File, error) {
	tcp, err := d.tcp.File()
	if err != nil || d.udp == nil {
		return []*os.File{tcp}, err
	}
	udp, err := d.udp.File()
	return []*os.File{tcp, udp}, err
}

// share returns duplicates of both sockets, which the caller closes.
func (d *door) share() (*net.TCPListener, *net.UDPConn, error) {
	files, err := d.files()
	defer closeFiles(files)
	if err != nil {
		return nil, nil, err
	}
	var shared door
	err = shared.use(files)
	return shared.tcp, shared.udp, err
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // a nil one is fine
	}
}

// keep leaves duplicates of the sockets with the host.
func (c *Coordinator) keep(d *door) {
	if d == nil {
		return
	}
	files, err := d.files()
	defer closeFiles(files)
	if err == nil {
		err = sdk.Keep(d.name, nil, files...)
	}
	if err != nil && !errors.Is(err, sdk.ErrKeepUnavailable) {
		c.logger.Warn("a listener will not outlive a crash", "door", d.name, "err", err)
	}
}

// keepOnly leaves these doors with the host, and no others.
func (c *Coordinator) keepOnly(doors ...*door) {
	wanted := map[string]bool{}
	for _, d := range doors {
		if d != nil {
			wanted[d.name] = true
		}
	}
	entries, err := sdk.Kept()
	if err != nil {
		return // then nothing is kept, or Keep says why
	}
	for _, entry := range entries {
		_ = entry.Close()
		if !wanted[entry.Name] {
			_ = sdk.Forget(entry.Name) // what is not wanted does no harm
		}
	}
}

// listens returns the address that is listened at; none for a nil door.
func (d *door) listens() []netip.AddrPort {
	if d == nil {
		return nil
	}
	at, _ := netip.ParseAddrPort(d.tcp.Addr().String())
	return []netip.AddrPort{at}
}

// closeUnless closes the sockets of this instance, unless other is the same door.
func (d *door) closeUnless(other *door) {
	if d != nil && d != other {
		d.close()
	}
}

func (d *door) close() {
	if d.tcp != nil {
		_ = d.tcp.Close()
	}
	if d.udp != nil {
		_ = d.udp.Close()
	}
}
