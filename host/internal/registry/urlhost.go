package registry

import (
	"bytes"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// urlHost returns the host that net/http would go to for a URL, so that all
// spellings of a destination are one: in lower case, without port, user,
// trailing dots or an IPv6 address's brackets and zone, names in their ASCII
// form (RFC 5891), addresses as netip writes them. It is empty for what
// net/url does not take for a URL with a host.
//
// Only scheme and authority matter: what follows cannot lead elsewhere, and a
// client that overlooks a fault in it goes to the same host.
func urlHost(text, scratch []byte) []byte {
	if host, ok := plainHost(text); ok {
		return lower(host, scratch)
	}
	return append(scratch[:0], parsedHost(text)...)
}

// plainHost finds the host of an ordinary URL: http or https, a name or an IPv4
// address, perhaps a port. It reports false for everything else.
func plainHost(text []byte) (host []byte, ok bool) {
	rest, ok := cutScheme(text)
	if !ok {
		return nil, false
	}
	end := 0
	for end < len(rest) && isNameByte(rest[end]) {
		end++
	}
	host, rest = rest[:end], rest[end:]
	for len(host) > 0 && host[len(host)-1] == '.' {
		host = host[:len(host)-1]
	}
	if len(rest) > 0 && rest[0] == ':' {
		rest = bytes.TrimLeft(rest[1:], "0123456789")
	}
	return host, len(host) > 0 && (len(rest) == 0 || strings.IndexByte(authorityEnds, rest[0]) >= 0)
}

// cutScheme takes "http://" or "https://", in any case, off a URL.
func cutScheme(text []byte) (rest []byte, ok bool) {
	const scheme, slashes = "http", "://"
	if len(text) < len(scheme) || !isHTTP([4]byte(text)) {
		return nil, false
	}
	rest = text[len(scheme):]
	if len(rest) > 0 && rest[0]|0x20 == 's' {
		rest = rest[1:]
	}
	if len(rest) < len(slashes) || string(rest[:len(slashes)]) != slashes {
		return nil, false
	}
	return rest[len(slashes):], true
}

// isHTTP compares with "http" in any case. No other bytes become these letters
// by the bit that makes lower case of upper case.
func isHTTP(b [4]byte) bool {
	return b[0]|0x20 == 'h' && b[1]|0x20 == 't' && b[2]|0x20 == 't' && b[3]|0x20 == 'p'
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' || isUpper(c)
}

// authorityEnds is what begins a path, a query or a fragment.
const authorityEnds = "/?#"

// parsedHost is for the URLs that are out of the ordinary.
func parsedHost(text []byte) string {
	u, err := url.Parse(string(upToPath(text)))
	if err != nil {
		return ""
	}
	return canonicalHost(u.Hostname())
}

// upToPath cuts a URL off behind its authority.
func upToPath(text []byte) []byte {
	// No scheme has a slash, so the first two slashes are the authority's or
	// there is no authority.
	slashes := bytes.Index(text, []byte("//"))
	if slashes < 0 {
		return text
	}
	end := bytes.IndexAny(text[slashes+2:], authorityEnds)
	if end < 0 {
		return text
	}
	return text[:slashes+2+end]
}

// canonicalHost spells a host as its name is looked up or its address dialled.
func canonicalHost(host string) string {
	if !isASCII(host) {
		host = asciiHost(host)
	}
	host = strings.TrimRight(strings.ToLower(host), ".")
	if address, err := netip.ParseAddr(host); err == nil {
		// ::ffff:192.0.2.1 is dialled as 192.0.2.1, and a zone has several names.
		return address.Unmap().WithZone("").String()
	}
	return host
}

// maxName is the longest name that can be looked up, with a trailing dot
// (RFC 1035). The time that a conversion takes grows with the square of the
// length: half a millisecond for this one.
const maxName = 254

// asciiHost converts a name with characters beyond ASCII as net/http does
// before it dials. Where that is an error, net/http dials the name as it is,
// to no avail; the result as far as it goes is then as good a key as any, and
// the better one should another version be more lenient.
func asciiHost(host string) string {
	if utf8.RuneCountInString(host) > maxName {
		// The conversion drops and composes characters, so that a longer text
		// may be a name. Other texts lead nowhere.
		host = norm.NFKC.String(strings.Map(dropIgnored, host))
		if utf8.RuneCountInString(host) > maxName {
			return host
		}
	}
	ascii, _ := idna.Lookup.ToASCII(host) // see above
	return ascii
}

// dropIgnored is for strings.Map.
func dropIgnored(r rune) rune {
	if unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
		return -1
	}
	return r
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}
