package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of DNS names in bytes, RFC 1035 section 2.3.4. A name of 253 bytes is
// 255 on the wire.
const (
	maxName  = 253
	maxLabel = 63
)

// Host is what a caller asked for, a name or an address, in its one spelling:
// two Hosts that mean the same are ==. Only ParseHost makes one.
type Host struct {
	Name string     // lower case, ASCII, no dot at the end; "" where it is an address
	Addr netip.Addr // without zone, never an IPv4 address in IPv6 form
}

// String returns the name, or the address without brackets. ParseHost reads it
// back.
func (h Host) String() string {
	if h.Addr.IsValid() {
		return h.Addr.String()
	}
	return h.Name
}

// ParseHost reads one host, without port. Whatever browsers or C libraries take
// for an address is one: "127.1", "0x7f.0.0.1", "017700000001", "2130706433",
// "[::1]", "::ffff:127.0.0.1" and all of these in full-width digits. What only
// looks like one, such as "256.1.1.1" or "1.2.3.4.5", is an error and no name.
func ParseHost(text string) (Host, error) {
	h, err := parseHost(text)
	if err != nil {
		return Host{}, fmt.Errorf("host %.80q: %w", text, err)
	}
	return h, nil
}

// parseHost is ParseHost without the host in its errors.
func parseHost(text string) (Host, error) {
	if strings.ContainsAny(text, ":[]") {
		return parseIPv6(text)
	}
	name, err := toASCII(text)
	if err != nil {
		return Host{}, err
	}
	name = strings.TrimSuffix(name, ".")
	if err := checkName(name); err != nil {
		return Host{}, err
	}
	if !endsInNumber(name) {
		return Host{Name: name}, nil
	}
	addr, err := parseIPv4(name)
	return Host{Addr: addr}, err
}

// parseIPv6 reads an IPv6 address, in brackets or without.
func parseIPv6(text string) (Host, error) {
	inner := text
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		inner = text[1 : len(text)-1]
	}
	addr, err := netip.ParseAddr(inner)
	switch {
	case err != nil && strings.Count(text, ":") == 1:
		return Host{}, errors.New("write the host alone, without a port or a scheme")
	case err != nil || !addr.Is6():
		return Host{}, errors.New("it is no IPv6 address; write one like 2001:db8::1 or [2001:db8::1]")
	case addr.Zone() != "":
		return Host{}, errors.New("an address with a zone is not reached; write it without %")
	}
	return Host{Addr: addr.Unmap()}, nil
}

// toASCII returns a name in lower case and, as browsers do it (UTS 46), in
// ASCII: "BÜCHER.example" is "xn--bcher-kva.example", "１２７。１" is "127.1".
func toASCII(text string) (string, error) {
	plain := true
	for i := range len(text) {
		plain = plain && text[i] < 0x80
	}
	lower := text
	if plain {
		lower = strings.ToLower(text)
		if !strings.HasPrefix(lower, "xn--") && !strings.Contains(lower, ".xn--") {
			return lower, nil
		}
	}
	if !utf8.ValidString(text) {
		return "", errors.New("it is not UTF-8")
	}
	if len(text) > 4*maxName { // the longest way to write it: every letter in four bytes
		return "", fmt.Errorf("%d bytes are too long for a name, %d is the limit", len(text), maxName)
	}
	// Hyphens and underscores are where real names have them; the rest of
	// ASCII is looked at by checkName.
	profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.CheckHyphens(false))
	ascii, err := profile.ToASCII(lower)
	if err != nil {
		return "", fmt.Errorf("it is no internationalized name: %w", err)
	}
	return ascii, nil
}

// checkName returns an error for what cannot be a name in DNS.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty; write a name or an address")
	case len(name) > maxName:
		return fmt.Errorf("a name of %d bytes is too long, %d is the limit", len(name), maxName)
	}
	label := 0
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '.' && label == 0:
			return errors.New("a part between dots is empty")
		case c == '.':
			label = 0
			continue
		case !isNameByte(c):
			return wrongByte(c)
		}
		if label++; label > maxLabel {
			return fmt.Errorf("a part between dots is longer than %d bytes", maxLabel)
		}
	}
	if label == 0 {
		return errors.New("a part between dots is empty")
	}
	return nil
}

// isNameByte reports whether c stands in names. The underscore does not in
// those of hosts, strictly, but many have it.
func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// wrongByte says what is wrong with a byte that is in no name.
func wrongByte(c byte) error {
	switch c {
	case '@':
		return errors.New("user and password do not belong to a host")
	case '%':
		return errors.New("percent-encoding is not read; write the characters themselves")
	case '/', '\\', '?', '#':
		return errors.New("write the host alone, without a scheme or a path")
	case '*':
		return errors.New("a pattern is no host")
	}
	return fmt.Errorf("%q is in no name; letters, digits, '-', '_' and '.' are", rune(c))
}
