package resolver

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	headerSize = 12
	maxChain   = 16  // CNAME records that are followed; BIND and unbound stop there or earlier
	maxRecords = 512 // of one answer; the largest sets in the wild have some 200

	// Without a SOA record a negative answer should not be kept (RFC 2308
	// section 5). Forwarders often leave it out, and are asked twice for each
	// connection then.
	bareNegative = 5 * time.Second
	maxNegative  = 5 * time.Minute // RFC 2308 allows 3 h: long for a name that was just made
)

// reader makes entries of what upstreams send.
type reader struct {
	minTTL, maxTTL, stale time.Duration
	options               Options
	wires                 bool // whether there is a listener that needs them
}

// answer is one message as it is read.
type answer struct {
	question dnsmessage.Question
	name     dnsmessage.Name // where CNAME records have led to so far
	answers  dnsmessage.Parser
	kept     []dnsmessage.Resource
	final    int // of kept, those of the type asked for
}

// read makes an entry of msg, the answer to key at now. Whatever is not about
// key is left out. The error says why msg is no answer.
func (r *reader) read(msg []byte, key string, now time.Duration) (*entry, error) {
	var p dnsmessage.Parser
	header, err := p.Start(msg)
	switch {
	case err != nil:
		return nil, errMalformed
	case header.Truncated:
		return nil, errTruncated
	case header.RCode != dnsmessage.RCodeSuccess && header.RCode != dnsmessage.RCodeNameError:
		return nil, refusal(header.RCode)
	}
	q, err := question(key)
	if err != nil || p.SkipAllQuestions() != nil {
		return nil, errMalformed
	}
	a := &answer{question: q, name: q.Name, answers: p}
	if err := a.follow(); err != nil {
		return nil, err
	}
	if header.RCode == dnsmessage.RCodeNameError && a.final > 0 {
		return nil, errMalformed
	}
	e := &entry{}
	m := dnsmessage.Message{Header: dnsmessage.Header{RCode: header.RCode}, Questions: []dnsmessage.Question{q}}
	if a.final > 0 {
		r.positive(e, a, now)
	} else if err := r.negative(e, a, &m, now); err != nil {
		return nil, err
	}
	if a.name != q.Name {
		e.canonical = printable(a.name)
	}
	m.Answers = a.kept
	return e, r.publish(e, key, &m)
}

// follow collects the records of the question, along CNAME records.
func (a *answer) follow() error {
	for range maxChain + 1 {
		target, err := a.collect()
		if err != nil || a.final > 0 || target == nil {
			return err
		}
		a.name = *target
	}
	return errChain
}

// collect keeps the records of a.name, and returns where a CNAME leads to if
// there are none of the type.
func (a *answer) collect() (target *dnsmessage.Name, err error) {
	for p := a.answers; ; {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return target, nil
		}
		if err != nil {
			return nil, errMalformed
		}
		lower(&h.Name)
		alias := h.Type == dnsmessage.TypeCNAME && target == nil && a.final == 0
		if h.Name != a.name || h.Class != dnsmessage.ClassINET || h.Type != a.question.Type && !alias {
			if p.SkipAnswer() != nil {
				return nil, errMalformed
			}
			continue
		}
		rr, err := p.Answer()
		if err != nil {
			return nil, errMalformed
		}
		if len(a.kept) == maxRecords {
			return nil, errRecords
		}
		lower(&rr.Header.Name)
		a.kept = append(a.kept, rr)
		if h.Type == a.question.Type {
			a.final++
		} else if cname, ok := rr.Body.(*dnsmessage.CNAMEResource); ok {
			lower(&cname.CNAME)
			target = &cname.CNAME
		}
	}
}

// positive fills in e from records that were found.
func (r *reader) positive(e *entry, a *answer, now time.Duration) {
	ttl := r.maxTTL
	for _, rr := range a.kept {
		ttl = min(ttl, seconds(rr.Header.TTL))
		if addr := address(rr.Body); addr.IsValid() {
			e.addrs = append(e.addrs, addr)
		}
	}
	e.live(max(ttl, r.minTTL), now)
	e.usable = e.expires + r.stale
	if e.ttl == 0 {
		e.usable = now // for the question in hand only
	}
}

// negative fills in e for a name that does not exist or has no record of the
// type. It is never served stale: what was made meanwhile is to be seen.
func (r *reader) negative(e *entry, a *answer, m *dnsmessage.Message, now time.Duration) error {
	e.err = ErrNotFound
	p, ttl := a.answers, bareNegative
	if p.SkipAllAnswers() != nil {
		return errMalformed
	}
	for {
		h, err := p.AuthorityHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return errMalformed
		}
		lower(&h.Name)
		if h.Type != dnsmessage.TypeSOA || !isBelow(a.name, h.Name) {
			if p.SkipAuthority() != nil {
				return errMalformed
			}
			continue
		}
		soa, err := p.SOAResource()
		if err != nil {
			return errMalformed
		}
		ttl = min(seconds(h.TTL), seconds(soa.MinTTL))
		m.Authorities = []dnsmessage.Resource{{Header: h, Body: &soa}}
		break
	}
	for _, rr := range a.kept {
		ttl = min(ttl, seconds(rr.Header.TTL))
	}
	e.live(min(max(ttl, r.minTTL), r.maxTTL, maxNegative), now)
	e.usable = e.expires
	return nil
}

// live says how long e is good.
func (e *entry) live(ttl, now time.Duration) { e.ttl, e.expires = ttl, now+ttl }

// publish makes e's wire, if programs that ask the listener may have it.
func (r *reader) publish(e *entry, key string, m *dnsmessage.Message) error {
	host := text(key)
	if !r.wires || r.options.Allow != nil && !r.options.Allow(host) {
		return nil
	}
	if r.options.AllowAddr != nil {
		public := m.Answers[:0:0]
		for _, rr := range m.Answers {
			if addr := address(rr.Body); addr.IsValid() && !r.options.AllowAddr(host, addr) {
				continue
			}
			r.hideHints(host, rr.Body)
			public = append(public, rr)
		}
		m.Answers = public
	}
	return e.setWire(m)
}

// hideHints takes addresses out of the records that have them beside names.
func (r *reader) hideHints(host string, body dnsmessage.ResourceBody) {
	var record *dnsmessage.SVCBResource
	switch b := body.(type) {
	case *dnsmessage.SVCBResource:
		record = b
	case *dnsmessage.HTTPSResource:
		record = &b.SVCBResource
	default:
		return
	}
	for key, size := range map[dnsmessage.SVCParamKey]int{dnsmessage.SVCParamIPv4Hint: 4, dnsmessage.SVCParamIPv6Hint: 16} {
		hints, _ := record.GetParam(key)
		for ; len(hints) >= size; hints = hints[size:] {
			if addr, _ := netip.AddrFromSlice(hints[:size]); !r.options.AllowAddr(host, addr) {
				record.DeleteParam(key)
				break
			}
		}
	}
}

// address is that of an A or AAAA record, and not valid for others.
func address(body dnsmessage.ResourceBody) netip.Addr {
	switch b := body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(b.A)
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(b.AAAA)
	}
	return netip.Addr{}
}

// seconds is a TTL. One with its first bit set is 0, RFC 2181 section 8.
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// isBelow reports whether name is zone or below it, both in lower case.
func isBelow(name, zone dnsmessage.Name) bool {
	n, z := name.Data[:name.Length], zone.Data[:zone.Length]
	rest, found := bytes.CutSuffix(n, z)
	return len(z) == 1 || found && (len(rest) == 0 || rest[len(rest)-1] == '.')
}
