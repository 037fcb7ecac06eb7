package resolver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// A key is how a question is known here: its name as on the wire, in lower
// case, and its type. 257 bytes at most. The class is always INET.
const (
	maxName = 255 // bytes on the wire, RFC 1035 section 3.1
	maxKey  = maxName + 2
)

// appendName appends host as on the wire. It does not for what needs a closer
// look: what is no plain ASCII name of a host, or might be an address.
func appendName(dst []byte, host string) ([]byte, bool) {
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	if len(host) == 0 || len(host) > maxName-2 {
		return dst, false
	}
	label := len(dst)
	dst = append(dst, 0)
	for i := range len(host) {
		c := host[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_':
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '.':
			if !endLabel(dst, label) {
				return dst, false
			}
			label, c = len(dst), 0
		default:
			return dst, false
		}
		dst = append(dst, c)
	}
	if !endLabel(dst, label) || '0' <= dst[label+1] && dst[label+1] <= '9' {
		return dst, false // no top-level domain begins with a digit, addresses do
	}
	return append(dst, 0), true
}

// endLabel writes the length of the label that begins at start and ends where
// name does, if it may have it.
func endLabel(name []byte, start int) bool {
	n := len(name) - start - 1
	name[start] = byte(n) //nolint:gosec // looked at below
	return n > 0 && n <= 63
}

func appendType(name []byte, t dnsmessage.Type) []byte {
	return binary.BigEndian.AppendUint16(name, uint16(t))
}

// keyName is the part of a key before its type.
func keyName[K string | []byte](key K) K { return key[:len(key)-2] }

func keyType[K string | []byte](key K) dnsmessage.Type {
	return dnsmessage.Type(key[len(key)-2])<<8 | dnsmessage.Type(key[len(key)-1])
}

// text is the name of a key as people write it, without a dot at the end.
func text[K string | []byte](key K) string {
	name := keyName(key)
	var b strings.Builder
	for i := 0; i < len(name) && name[i] != 0; i += int(name[i]) + 1 {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(string(name[i+1 : i+1+int(name[i])]))
	}
	return b.String()
}

// isLocal reports whether a key's name is localhost or below it. These are
// nobody else's business, RFC 6761 section 6.3.
func isLocal(key []byte) bool {
	return bytes.HasSuffix(keyName(key), []byte("\x09localhost\x00"))
}

// printable is a name that a server made up, fit for logs and for strings of
// protobuf.
func printable(name dnsmessage.Name) string {
	plain := strings.TrimSuffix(name.String(), ".")
	if !strings.ContainsFunc(plain, func(r rune) bool { return r < '!' || r > '~' }) {
		return plain
	}
	var b strings.Builder
	for _, c := range []byte(plain) {
		if c < '!' || c > '~' {
			fmt.Fprintf(&b, `\%03d`, c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// lower makes name the one that all its spellings share.
func lower(name *dnsmessage.Name) {
	lowerBytes(name.Data[:name.Length])
}

func lowerBytes(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
}
