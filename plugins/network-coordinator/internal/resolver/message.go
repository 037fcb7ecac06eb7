package resolver

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Bits of the header's flags.
const (
	bitResponse  = 1 << 15
	bitTruncated = 1 << 9
	bitRecursion = 1 << 8 // desired
	bitAvailable = 1 << 7 // recursion
	bitChecking  = 1 << 4 // disabled; validators ask for it, we check nothing
	maskOpcode   = 0xf << 11
)

const (
	minUDP     = 512 // bytes that each program takes, RFC 1035 section 2.3.4
	badVersion = 16  // of EDNS, RFC 6891 section 9
)

// asked is a question of a program to the listener.
type asked struct {
	head     [headerSize]byte // of the query
	question []byte           // as it was asked, within the query
	key      []byte           // within buf
	size     int              // of the longest answer that may be sent
	edns     bool
	secure   bool // whether DNSSEC records are wanted; there are none here
	buf      [maxKey]byte
}

// read reads a query of which nothing is kept but what asked points to. It
// returns the response code for what is wrong with it. There is no answer to
// what is no query at all: ok is false.
func (q *asked) read(msg []byte) (code dnsmessage.RCode, ok bool) {
	if len(msg) < headerSize || msg[2]&0x80 != 0 {
		return 0, false
	}
	copy(q.head[:], msg)
	q.question, q.size, q.edns, q.secure = nil, minUDP, false, false
	if msg[2]&(maskOpcode>>8) != 0 {
		return dnsmessage.RCodeNotImplemented, true
	}
	// One question, no answers: who knows what else is meant.
	if !bytes.Equal(msg[4:10], []byte{0, 1, 0, 0, 0, 0}) {
		return dnsmessage.RCodeFormatError, true
	}
	end := q.readName(msg)
	if end == 0 || len(msg) < end+4 {
		return dnsmessage.RCodeFormatError, true
	}
	q.key = append(q.key, msg[end], msg[end+1])
	q.question = msg[headerSize : end+4]
	if code := q.readAdditional(msg[end+4:]); code != 0 {
		return code, true
	}
	// 128 to 255 are no types but operations, such as a transfer of a zone.
	if t, class := keyType(q.key), msg[end+2:end+4]; class[0] != 0 || class[1] != 1 || t>>7 == 1 || t == 0 || t == dnsmessage.TypeOPT {
		return dnsmessage.RCodeNotImplemented, true
	}
	return 0, true
}

// readName reads the question's name into q.key and returns where it ends, 0 for
// what is none. A dot within a label would make two names look the same.
func (q *asked) readName(msg []byte) (end int) {
	q.key = q.buf[:0]
	for i := headerSize; i < len(msg); {
		n := int(msg[i])
		if n > 63 || i+1+n > len(msg) || len(q.key)+1+n > maxName {
			return 0
		}
		q.key = append(q.key, byte(n))
		for _, c := range msg[i+1 : i+1+n] {
			switch {
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			case c == '.':
				return 0
			}
			q.key = append(q.key, c)
		}
		if i += n + 1; n == 0 {
			return i
		}
	}
	return 0
}

// readAdditional looks for EDNS in what follows the question. Signatures of
// queries, cookies and the like are not looked at.
func (q *asked) readAdditional(rest []byte) dnsmessage.RCode {
	for range binary.BigEndian.Uint16(q.head[10:]) {
		if len(rest) < 11 || rest[0] != 0 { // the root's name, as OPT and TSIG have it, or another's
			break
		}
		length := 11 + int(binary.BigEndian.Uint16(rest[9:]))
		if length > len(rest) {
			return dnsmessage.RCodeFormatError
		}
		if binary.BigEndian.Uint16(rest[1:]) == uint16(dnsmessage.TypeOPT) {
			if q.edns {
				return dnsmessage.RCodeFormatError // RFC 6891 section 6.1.1
			}
			q.edns = true
			q.size = max(minUDP, int(binary.BigEndian.Uint16(rest[3:])))
			q.secure = rest[7]&0x80 != 0
			if rest[6] != 0 {
				return badVersion
			}
		}
		rest = rest[length:]
	}
	return 0
}

// appendError appends the answer that there is none.
func (q *asked) appendError(dst []byte, code dnsmessage.RCode) []byte {
	return q.appendShort(dst, 0, code)
}

// appendShort appends an answer without records.
func (q *asked) appendShort(dst []byte, flags uint16, code dnsmessage.RCode) []byte {
	start := len(dst)
	dst = append(dst, q.head[0], q.head[1])
	dst = binary.BigEndian.AppendUint16(dst, q.flags()|flags|uint16(code&0xf))
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	if q.question != nil {
		dst[start+5] = 1
		dst = append(dst, q.question...)
	}
	return q.appendEDNS(dst, start, code)
}

// flags are those of an answer, but for its code.
func (q *asked) flags() uint16 {
	return bitResponse | bitAvailable | binary.BigEndian.Uint16(q.head[2:])&(maskOpcode|bitRecursion|bitChecking)
}

// appendEDNS appends to the answer that begins at start what a query with EDNS
// gets, and no other.
func (q *asked) appendEDNS(dst []byte, start int, code dnsmessage.RCode) []byte {
	if !q.edns {
		return dst
	}
	dst[start+11]++
	secure := byte(0)
	if q.secure {
		secure = 0x80 // repeated, RFC 3225 section 3
	}
	return append(dst, 0, 0, byte(dnsmessage.TypeOPT), bufferSize>>8, bufferSize&0xff, byte(code>>4&0xff), 0, secure, 0, 0, 0)
}

// appendAnswer appends e, which is not refused, as the answer at now, in at most
// limit bytes.
func (q *asked) appendAnswer(dst []byte, e *entry, now time.Duration, limit int) []byte {
	const edns = 11
	switch {
	case e.wire == nil:
		return q.appendError(dst, dnsmessage.RCodeServerFailure)
	case len(e.wire)+edns > limit && (q.edns || len(e.wire) > limit):
		return q.appendShort(dst, bitTruncated, 0)
	}
	start := len(dst)
	dst = append(dst, e.wire...)
	answer := dst[start:]
	answer[0], answer[1] = q.head[0], q.head[1]
	binary.BigEndian.PutUint16(answer[2:], q.flags()|uint16(e.wire[3]&0xf))
	copy(answer[headerSize:], q.question) // with its upper and lower case
	left := e.left(now)
	for _, at := range e.ttls {
		binary.BigEndian.PutUint32(answer[at:], left)
	}
	return q.appendEDNS(dst, start, 0)
}
