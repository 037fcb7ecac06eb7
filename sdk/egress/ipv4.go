package egress

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// endsInNumber reports whether the last part of a name is a number, so that
// browsers read the whole as an IPv4 address, or as an error; never as a name.
// https://url.spec.whatwg.org/#ends-in-a-number-checker
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return isDigits(last) || isHex(last)
}

// parseIPv4 reads an address of one to four parts as inet_aton does: each part
// is decimal, octal after a 0 or hexadecimal after 0x, and the last one fills
// all the bytes that are left.
func parseIPv4(name string) (netip.Addr, error) {
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return netip.Addr{}, fmt.Errorf("it ends in a number, so it is an IPv4 address, but has %d parts instead of 4", len(parts))
	}
	var sum uint64
	for i, part := range parts {
		limit := uint64(1) << 8
		if i == len(parts)-1 {
			limit = 1 << (8 * (5 - len(parts)))
		}
		n, err := parsePart(part)
		if err != nil || n >= limit {
			return netip.Addr{}, fmt.Errorf("it ends in a number, so it is an IPv4 address, but %.40q is no number from 0 to %d", part, limit-1)
		}
		if i == len(parts)-1 {
			sum |= n
		} else {
			sum |= n << (8 * (3 - i))
		}
	}
	var four [4]byte
	binary.BigEndian.PutUint32(four[:], uint32(sum))
	return netip.AddrFrom4(four), nil
}

// parsePart reads one part, in lower case. "0x" alone is 0, for browsers.
func parsePart(part string) (uint64, error) {
	switch {
	case part == "0x":
		return 0, nil
	case isHex(part):
		return strconv.ParseUint(part[2:], 16, 64)
	case !isDigits(part): // strconv takes more, such as "+1" and "1_0"
		return 0, strconv.ErrSyntax
	case len(part) > 1 && part[0] == '0':
		return strconv.ParseUint(part[1:], 8, 64)
	}
	return strconv.ParseUint(part, 10, 64)
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func isHex(s string) bool {
	return strings.HasPrefix(s, "0x") && strings.Trim(s[2:], "0123456789abcdef") == ""
}
