package egress

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// closed are the ranges that are not of the public internet, as IANA's
// registries write them: "IPv4 and IPv6 Special-Purpose Address Space" and those
// of multicast. What embeds IPv4 is not in it.
var closed = parsed(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/3", "2001::/23", "2001:db8::/32", "3fff::/20", "4000::/2", "8000::/1",
)

func parsed(texts ...string) (prefixes []netip.Prefix) {
	for _, text := range texts {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}

// isOpen reports whether an address is public, from the ranges and from the
// places at which IPv4 addresses stand in IPv6 ones.
func isOpen(addr netip.Addr) bool {
	inside := func(p netip.Prefix) bool { return p.Contains(addr) }
	if addr.Is4() {
		return !slices.ContainsFunc(closed, inside)
	}
	b := addr.As16()
	four := func(at int, mask byte) bool {
		return isOpen(netip.AddrFrom4([4]byte{b[at] ^ mask, b[at+1] ^ mask, b[at+2] ^ mask, b[at+3] ^ mask}))
	}
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr):
		return four(12, 0)
	case netip.MustParsePrefix("2001::/32").Contains(addr):
		return four(4, 0) && four(12, 0xff)
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return four(2, 0)
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe && !four(12, 0):
		return false
	}
	return !slices.ContainsFunc(closed, inside)
}

func TestPublicIsWhatTheRegistriesLeave(t *testing.T) {
	check := func(addr netip.Addr) {
		t.Helper()
		addr = addr.Unmap()
		if s := look(addr); (s.class == public) != isOpen(addr) {
			t.Fatalf("%v: it %s, and open is %v", addr, s.words, isOpen(addr))
		}
	}
	for _, p := range closed {
		check(p.Addr())
		check(last(p))
		for _, beyond := range []netip.Addr{p.Addr().Prev(), last(p).Next()} {
			if beyond.IsValid() {
				check(beyond)
			}
		}
	}
	random := rand.New(rand.NewPCG(7, 8))
	starts := parsed("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2001::/16", "2002::/16", "2a00::5efe:0:0/96", "2a00::200:5efe:0:0/96", "fe80::/10", "fc00::/7", "::ffff:0:0/96", "::/96", "2000::/3", "::/0")
	for range 100_000 {
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], random.Uint32())
		check(netip.AddrFrom4(four))
		p := starts[random.IntN(len(starts))]
		first, end := p.Addr().As16(), last(p).As16()
		for i := range first {
			first[i] |= byte(random.Uint32()) & (first[i] ^ end[i])
		}
		if inner := closed[random.IntN(16)].Addr().As4(); random.IntN(2) == 0 { // a closed IPv4 address at the end
			copy(first[12:], inner[:])
		}
		check(netip.AddrFrom16(first))
	}
}

// Go's own opinion of addresses, for what it has one about.
func TestNothingPublicIsWhatGoCallsOtherwise(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for range 100_000 {
		var sixteen [16]byte
		binary.BigEndian.PutUint64(sixteen[:8], random.Uint64())
		binary.BigEndian.PutUint64(sixteen[8:], random.Uint64())
		for _, a := range []netip.Addr{netip.AddrFrom16(sixteen), netip.AddrFrom4([4]byte(sixteen[:4]))} {
			s := look(a)
			if s.class == public && (!a.IsGlobalUnicast() || a.IsPrivate()) || s.class == loopback != a.IsLoopback() || s.class == private != a.IsPrivate() {
				t.Fatalf("%v %s", a, s.words)
			}
		}
	}
}
