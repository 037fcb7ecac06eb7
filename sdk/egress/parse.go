package egress

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parsePattern reads a host of a rule, or what stands after "*." in one.
func parsePattern(text string, isPattern bool) (Host, error) {
	if !isPattern {
		switch _, err := netip.ParsePrefix(text); {
		case err == nil:
			return Host{}, errors.New("a range of addresses stands in addresses, not in hosts")
		case text == "*":
			return Host{}, errors.New("leave hosts out for all hosts")
		case strings.Contains(text, "*"):
			return Host{}, errors.New(`"*" stands only at the start, as in "*.example.com"`)
		}
	}
	host, err := parseHost(text)
	switch {
	case err != nil && strings.Count(text, ":") == 1:
		return Host{}, fmt.Errorf("%w; ports stand in ports", err)
	case err == nil && isPattern && host.Addr.IsValid():
		return Host{}, errors.New("nothing lies below an address")
	}
	return host, err
}

// parseWord returns the addresses that a word stands for, none for another.
func parseWord(text string) class {
	switch text {
	case "public":
		return public
	case "private":
		return private
	case "loopback":
		return loopback
	case "any":
		return everything
	}
	return 0
}

// parsePrefix reads an address or a range of them.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, errors.New(`write an address such as "192.0.2.7", a range such as "10.1.0.0/16", "public", "private", "loopback" or "any"`)
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("the address has bits that are not in the range; write %q", prefix.Masked())
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, errors.New(`write ranges of IPv4 addresses as such: "0.0.0.0/0"`)
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix, nil
}

// last returns the last address of a range.
func last(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// classesOf returns the classes that addresses of a range may have: its own, if
// all of it lies within one of the ranges of a class, else all.
func classesOf(p netip.Prefix) class {
	for _, r := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8"} {
		if of := netip.MustParsePrefix(r); of.Bits() <= p.Bits() && of.Contains(p.Addr()) {
			return look(p.Addr()).class
		}
	}
	if p.IsSingleIP() {
		return look(p.Addr()).class
	}
	return everything
}

// parsePorts reads a port or a range of them.
func parsePorts(text string) (span[port], error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err := cmp.Or(err, err2); err != nil || from == 0 || to < from {
		return span[port]{}, errors.New(`write a port from 1 to 65535, or a range such as "8000-8999"`)
	}
	return span[port]{port(from), port(to)}, nil
}
