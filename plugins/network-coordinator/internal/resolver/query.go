package resolver

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
)

// bufferSize is how large an answer by UDP may be: what passes all networks
// in one piece, DNS Flag Day 2020.
const bufferSize = 1232

// newQuery makes the question for key: id 0, recursion desired, EDNS(0).
func newQuery(key string) []byte {
	q := make([]byte, headerSize, headerSize+len(key)+2+11)
	q[2] = 1  // recursion desired
	q[5] = 1  // one question
	q[11] = 1 // one additional record
	q = append(q, key...)
	q = append(q, 0, 1) // class INET
	return append(q, 0, 0, 41, bufferSize>>8, bufferSize&0xff, 0, 0, 0, 0, 0, 0)
}

// questionOf returns the question of a query that newQuery made.
func questionOf(query []byte) []byte { return query[headerSize : len(query)-11] }

// disguise gives query an id and letters in upper case that nobody knows who
// does not see it. An answer that repeats them is no guess
// (draft-vixie-dnsext-dns0x20).
func disguise(query []byte) {
	var noise [2 + 32]byte
	_, _ = rand.Read(noise[:]) // never fails
	copy(query, noise[:2])
	name := questionOf(query)
	for i, c := range name[:len(name)-4] {
		// Lengths of labels are below 'a'.
		if 'a' <= c && c <= 'z' && noise[2+i/8]>>(i%8)&1 == 1 {
			name[i] = c - ('a' - 'A')
		}
	}
}

// fit is how well a message answers a query.
type fit int

const (
	fitsNot  fit = iota // it is not the answer
	fitsName            // it is, but for upper and lower case
	fitsAll
)

// fitOf says how well msg answers query.
func fitOf(msg, query []byte) fit {
	q := questionOf(query)
	if len(msg) < headerSize || !bytes.Equal(msg[:2], query[:2]) ||
		msg[2]&0xf8 != 0x80 { // a response, to a standard query
		return fitsNot
	}
	switch binary.BigEndian.Uint16(msg[4:]) {
	case 1:
	case 0: // some leave the question out of what they refuse
		if rcode := msg[3] & 0xf; rcode != 0 && rcode != 3 {
			return fitsAll
		}
		return fitsNot
	default:
		return fitsNot
	}
	if len(msg) < headerSize+len(q) {
		return fitsNot
	}
	got := msg[headerSize : headerSize+len(q)]
	if bytes.Equal(got, q) {
		return fitsAll
	}
	if equalFold(got, q) {
		return fitsName
	}
	return fitsNot
}

func equalFold(a, b []byte) bool {
	x, y := bytes.Clone(a), bytes.Clone(b)
	lowerBytes(x[:len(x)-4])
	lowerBytes(y[:len(y)-4])
	return bytes.Equal(x, y)
}
