package egress

import (
	"encoding/binary"
	"net/netip"
)

// class is what an address is for, as one bit; a rule holds several in one.
type class uint8

const (
	public     class = 1 << iota // of the public internet
	private                      // of a network of one's own: RFC 1918, RFC 4193
	loopback                     // of this machine
	special                      // all others, such as those of cloud metadata
	everything = public | private | loopback | special
)

// subject is an address with all that rules ask about it.
type subject struct {
	addr  netip.Addr // never IPv4 in IPv6 form, no zone
	class class
	words string // what it is, such as "is a private address (10.0.0.0/8)"

	// IPv4 addresses that packets to addr may end at, by NAT64 or a tunnel.
	inner   [2]netip.Addr
	classes class // theirs
}

// look returns what rules ask about an address.
func look(addr netip.Addr) subject {
	s := subject{addr: addr.Unmap()}
	switch {
	case addr.Zone() != "": // which changes nothing of what it is
		return look(addr.WithZone(""))
	case s.addr.Is4():
		s.class, s.words = classify4(s.addr)
	case s.addr.Is6():
		s.look6()
	default:
		s.class, s.words = special, "is no address"
	}
	return s
}

// classify4 says what an IPv4 address is for, by IANA's registry of
// special-purpose addresses (RFC 6890) as of 2026 and that of multicast. The
// registry calls a few anycast addresses in 192.0.0.0/24 reachable; nobody has
// a web server there.
func classify4(addr netip.Addr) (class, string) {
	four := addr.As4()
	a := binary.BigEndian.Uint32(four[:])
	in := func(network uint32, bits int) bool { return (a^network)>>(32-bits) == 0 }
	switch {
	case in(0, 8):
		return special, "is an address of this machine (0.0.0.0/8)"
	case in(10<<24, 8):
		return private, "is a private address (10.0.0.0/8)"
	case in(100<<24|64<<16, 10):
		return special, "is a shared address of carriers and overlay networks (100.64.0.0/10)"
	case in(127<<24, 8):
		return loopback, "is a loopback address"
	case in(168<<24|63<<16|129<<8|16, 32):
		return special, "is an address of Azure's host, which serves it to its own machines"
	case in(169<<24|254<<16, 16):
		return special, "is a link-local address, where clouds serve metadata (169.254.0.0/16)"
	case in(172<<24|16<<16, 12):
		return private, "is a private address (172.16.0.0/12)"
	case in(192<<24, 24):
		return special, "is an address of protocols (192.0.0.0/24)"
	case in(192<<24|2<<8, 24), in(198<<24|51<<16|100<<8, 24), in(203<<24|113<<8, 24):
		return special, "is an address of documentation"
	case in(192<<24|88<<16|99<<8, 24):
		return special, "is an address of 6to4 relays (192.88.99.0/24)"
	case in(192<<24|168<<16, 16):
		return private, "is a private address (192.168.0.0/16)"
	case in(198<<24|18<<16, 15):
		return special, "is an address of benchmarks (198.18.0.0/15)"
	case in(224<<24, 4):
		return special, "is a multicast address"
	case a == 1<<32-1:
		return special, "is the broadcast address"
	case in(240<<24, 4):
		return special, "is a reserved address (240.0.0.0/4)"
	}
	return public, "is a public address"
}

// look6 fills in s for an IPv6 address, by the same registry for IPv6. Public
// is only what is in 2000::/3, which is all that has been given to networks,
// and NAT64.
func (s *subject) look6() {
	sixteen := s.addr.As16()
	hi, lo := binary.BigEndian.Uint64(sixteen[:8]), binary.BigEndian.Uint64(sixteen[8:])
	in := func(network uint64, bits int) bool { return (hi^network)>>(64-bits) == 0 }
	switch {
	case hi == 0 && lo == 0:
		s.class, s.words = special, "is the unspecified address, which leads to this machine"
	case hi == 0 && lo == 1:
		s.class, s.words = loopback, "is a loopback address"
	case hi == 0 && lo>>32 == 0: // ::/96
		s.class, s.words = special, "is an IPv4 address in the IPv6 form of old (::/96)"
		s.leadsTo(uint32(lo))
	case in(0x0064_ff9b<<32, 64) && lo>>32 == 0: // 64:ff9b::/96
		s.tunnel("NAT64 (64:ff9b::/96)", uint32(lo))
	case in(0x0064_ff9b_0001<<16, 48): // IPv4 stands at the end of it or around bit 64, RFC 6052 section 2.2
		s.class, s.words = special, "is an address of a network's own NAT64 (64:ff9b:1::/48)"
		s.leadsTo(uint32(lo), uint32(hi)<<16|uint32(lo>>40)&0xffff) //nolint:gosec // G115: these bits are what is meant
	case in(0x2001<<48, 32): // RFC 4380: server, flags and port, client with its bits inverted
		s.tunnel("Teredo (2001::/32)", uint32(hi), ^uint32(lo)) //nolint:gosec // G115: the low halves are what is meant
	case in(0x2002<<48, 16):
		s.tunnel("6to4 (2002::/16)", uint32(hi>>16)) //nolint:gosec // G115: the two words after 2002 are what is meant
	case lo>>32&^0x0200_0000 == 0x5efe: // RFC 5214, below any prefix
		s.tunnel("ISATAP", uint32(lo)) //nolint:gosec // G115: the low half is what is meant
		if c, words := range6(hi); c != public {
			s.class, s.words = c, words
		}
	default:
		s.class, s.words = range6(hi)
		if metadata := hi == 0xfd00_0ec2<<32 || hi == 0xfd20_00ce<<32; metadata && lo == 0x254 {
			s.class, s.words = special, "is an address where a cloud serves metadata"
		}
	}
}

// range6 says what the addresses of an IPv6 network are for that embed no IPv4
// address; hi is the upper half.
func range6(hi uint64) (class, string) {
	in := func(network uint64, bits int) bool { return (hi^network)>>(64-bits) == 0 }
	switch {
	case in(0xfc00<<48, 7):
		return private, "is a private address (fc00::/7)"
	case in(0xfe80<<48, 10):
		return special, "is a link-local address (fe80::/10)"
	case in(0xff00<<48, 8):
		return special, "is a multicast address"
	case in(0x2001_0db8<<32, 32), in(0x3fff<<48, 20):
		return special, "is an address of documentation"
	case in(0x2001<<48, 23):
		return special, "is an address of protocols (2001::/23)"
	case in(0x2000<<48, 3):
		return public, "is a public address"
	}
	return special, "is not of the public internet (2000::/3)"
}

// tunnel fills in s for an address whose packets go on to IPv4 addresses: it is
// public if all of them are.
func (s *subject) tunnel(by string, inner ...uint32) {
	s.leadsTo(inner...)
	if s.classes == public {
		s.class, s.words = public, "is a public address"
		return
	}
	for _, a := range s.inner {
		if a.IsValid() {
			if c, words := classify4(a); c != public {
				s.class, s.words = special, "leads to "+a.String()+" by "+by+", which "+words
				return
			}
		}
	}
}

// leadsTo notes the IPv4 addresses in an IPv6 address.
func (s *subject) leadsTo(inner ...uint32) {
	for i, a := range inner {
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], a)
		s.inner[i] = netip.AddrFrom4(four)
		c, _ := classify4(s.inner[i])
		s.classes |= c
	}
}
