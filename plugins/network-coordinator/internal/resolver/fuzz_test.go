package resolver

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// FuzzAnswer reads what a server may send. Whatever it is, it is refused or it
// makes an entry that can be served.
func FuzzAnswer(f *testing.F) {
	k := key2("www.example", dnsmessage.TypeA)
	query := newQuery(k)
	for _, z := range []zone{
		everything, many(3), failing, func(*dnsmessage.Message) {},
		has(cname("www.example.", 300, "web.example."), a("web.example.", 60, "192.0.2.1")),
		has(cname("www.example.", 300, "www.example.")),
		func(m *dnsmessage.Message) { m.Authorities = []dnsmessage.Resource{soa("example.", 300, 30)} },
	} {
		f.Add(packed(query, z), uint16(dnsmessage.TypeA))
	}
	f.Add([]byte("\x00\x00\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x09\x00\x05\x01\x02\x03\x04\x05"), uint16(1))
	r := &reader{maxTTL: time.Hour, stale: time.Hour, wires: true}
	f.Fuzz(func(t *testing.T, msg []byte, qtype uint16) {
		k := string(appendType([]byte(keyName(k)), dnsmessage.Type(qtype)))
		if fitOf(msg, newQuery(k)) == fitsNot {
			return
		}
		e, err := r.read(msg, k, 0)
		if err != nil {
			return
		}
		if len(e.addrs) > maxRecords || e.ttl > time.Hour || e.ttl < 0 {
			t.Errorf("%+v", e)
		}
		var q asked
		if code, ok := q.read(newQuery(k)); code != 0 || !ok {
			return
		}
		for _, limit := range []int{minUDP, bufferSize, maxTCPAnswer} {
			answer := q.appendAnswer(nil, e, time.Second, limit)
			var m dnsmessage.Message
			if err := m.Unpack(answer); err != nil {
				t.Errorf("%v in %x, made of %x", err, answer, msg)
			}
			if len(answer) > limit {
				t.Errorf("%d bytes, limit %d", len(answer), limit)
			}
		}
	})
}

// FuzzQuery reads what a program may send. Whatever it is, it is answered in
// proportion, or not at all.
func FuzzQuery(f *testing.F) {
	f.Add(ask("www.example.", dnsmessage.TypeA, 0))
	f.Add(ask("www.example.", dnsmessage.TypeHTTPS, 4096))
	f.Add(ask(".", dnsmessage.TypeNS, 512))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, msg []byte) {
		var q asked
		before := bytes.Clone(msg)
		code, ok := q.read(msg)
		if !bytes.Equal(msg, before) {
			t.Error("the query has been written to")
		}
		if !ok {
			return
		}
		if code == 0 && len(q.key) != len(q.question)-2 {
			t.Errorf("key %q of question %q", q.key, q.question)
		}
		answer := q.appendError(nil, code)
		if len(answer) > headerSize+len(q.question)+11 || len(answer) > minUDP {
			t.Errorf("%d bytes in answer to %d", len(answer), len(msg))
		}
		if code == 0 {
			text(q.key)
		}
	})
}

// FuzzName tells that a name becomes a key that reads as the name.
func FuzzName(f *testing.F) {
	for _, name := range []string{"www.example", "WWW.Example.", "a..b", "1.2.3.4", "-_-", "", "."} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, ok := appendName(nil, host)
		if !ok {
			return
		}
		k := appendType(name, dnsmessage.TypeA)
		again, ok := appendName(nil, text(k))
		if !ok || !bytes.Equal(again, keyName(k)) || len(k) > maxKey {
			t.Errorf("%q became %q", host, text(k))
		}
		if _, err := question(string(k)); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	})
}
