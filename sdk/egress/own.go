package egress

import (
	"net"
	"net/netip"
)

// Listeners makes a Dialer's Own of the addresses at which a program listens.
// One that listens at 0.0.0.0 or [::] is met through every address of the
// machine, and who connects to 0.0.0.0 or [::] comes out at a loopback address.
func Listeners(at ...netip.AddrPort) func(netip.AddrPort) bool {
	return func(to netip.AddrPort) bool {
		addr := to.Addr().Unmap()
		for _, l := range at {
			listens := l.Addr().Unmap()
			switch {
			case l.Port() != to.Port():
			case listens == addr, addr.IsUnspecified(), listens.IsUnspecified() && isOurs(addr):
				return true
			}
		}
		return false
	}
}

// isOurs reports whether an address is one of this machine; when in doubt it
// is.
func isOurs(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	ours, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, a := range ours {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == addr {
			return true
		}
	}
	return false
}
