package resolver

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// entry is the answer to one question. Nobody writes to it once it is made.
// Its times are on the resolver's clock.
type entry struct {
	addrs     []netip.Addr // of A and AAAA questions, all there are
	canonical string       // where CNAME records led to; "" without any
	err       error        // why there are no addrs; nil also for other types that have records

	// wire is the answer for programs that ask the listener: id 0, the question
	// in lower case, without addresses that nobody may connect to. nil if it is
	// not for them.
	wire []byte
	ttls []uint16 // where in wire TTLs are

	ttl     time.Duration // how long it is good, from its beginning
	expires time.Duration // when it stops to be
	usable  time.Duration // until when it is served although it is stale
}

// overhead is what an entry takes beside its bytes: itself, its node, their
// place in the map. TestTheCacheTakesWhatItIsGiven measures it.
const overhead = 360

// size is what e takes in memory together with its key.
func (e *entry) size(key string) int {
	n := overhead + len(key) + len(e.canonical) + len(e.wire) + 2*len(e.ttls) + 24*len(e.addrs)
	if e.err != nil {
		n += 64
	}
	return n
}

// left is how long e may still be used at now, in whole seconds for the wire.
// A stale one is used for 30 s, RFC 8767 section 4.
func (e *entry) left(now time.Duration) uint32 {
	switch {
	case e.ttl == 0:
		return 0
	case now >= e.expires:
		return 30
	}
	return uint32((e.expires - now) / time.Second) //nolint:gosec // a week at most
}

// refused reports whether there is an answer, but not for programs that ask the
// listener.
func (e *entry) refused() bool {
	return e.wire == nil && (e.err == nil || errors.Is(e.err, ErrNotFound))
}

// setWire packs m, which answers key, as e's wire.
func (e *entry) setWire(m *dnsmessage.Message) error {
	m.Response, m.RecursionDesired, m.RecursionAvailable = true, true, true
	wire, err := m.AppendPack(make([]byte, 0, 512))
	if err != nil || len(wire) > 1<<16-1 {
		return errMalformed
	}
	e.wire = append(make([]byte, 0, len(wire)), wire...)
	at := skipName(wire, headerSize) + 4
	for range len(m.Answers) + len(m.Authorities) {
		at = skipName(wire, at) + 4         // type, class
		e.ttls = append(e.ttls, uint16(at)) //nolint:gosec // within wire, see above
		at += 4
		at += 2 + int(binary.BigEndian.Uint16(wire[at:]))
	}
	return nil
}

// skipName returns where the name at off ends, in a message that is sound.
func skipName(msg []byte, off int) int {
	for {
		switch n := int(msg[off]); {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			return off + 2
		default:
			off += n + 1
		}
	}
}

// question is key's as dnsmessage has it.
func question(key string) (dnsmessage.Question, error) {
	name, err := dnsmessage.NewName(text(key) + ".")
	return dnsmessage.Question{Name: name, Type: keyType(key), Class: dnsmessage.ClassINET}, err
}
