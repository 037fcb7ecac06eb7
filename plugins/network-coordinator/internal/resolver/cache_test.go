package resolver

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"golang.org/x/net/dns/dnsmessage"
)

// cached is what a shard or a cache is filled with.
func cached(bytes int) *entry {
	return &entry{wire: make([]byte, bytes), expires: time.Hour, usable: time.Hour, ttl: time.Hour}
}

func key(i int) string {
	name, _ := appendName(nil, fmt.Sprintf("name%d.example", i))
	return string(appendType(name, dnsmessage.TypeA))
}

func TestAScanOfOneOffNamesDoesNotPushOutTheHotOnes(t *testing.T) {
	const hot = 300
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := newCache(512 << 10)
		ask := func(k string) bool {
			if c.get([]byte(k), 0).entry != nil {
				return true
			}
			c.put(k, cached(50+random.IntN(100)), 0)
			return false
		}
		for range 5 {
			for i := range hot {
				ask(key(i))
			}
		}
		for i := range 100_000 {
			ask(key(hot + i))
			if i%1000 == 0 { // hardly ever asked for meanwhile
				ask(key(random.IntN(hot)))
			}
		}
		kept := 0
		for i := range hot {
			if ask(key(i)) {
				kept++
			}
		}
		if kept < hot*95/100 {
			t.Errorf("seed %d: %d of %d hot names are left", seed, kept, hot)
		}
	}
}

func TestTheCacheTakesWhatItIsGiven(t *testing.T) {
	const size = 8 << 20
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	for _, bytes := range []int{40, 300, 4000} {
		before := heap()
		c := newCache(size)
		for i := range 60_000 {
			e := cached(bytes)
			e.addrs, e.ttls = addrs("192.0.2.1", "192.0.2.2"), []uint16{1, 2}
			c.put(key(i), e, 0)
		}
		took, counted := heap()-before, 0
		for i := range c.shards {
			s := &c.shards[i]
			counted += s.small.bytes + s.main.bytes
			if s.small.bytes+s.main.bytes > s.limit {
				t.Errorf("a shard has %d bytes, its limit is %d", s.small.bytes+s.main.bytes, s.limit)
			}
		}
		t.Logf("entries of %d bytes: %d bytes are counted, %d taken", bytes, counted, took)
		if took > size*5/4 {
			t.Errorf("a cache of %d bytes takes %d", size, took)
		}
		runtime.KeepAlive(c)
	}
}

func TestBytesAddUpWhateverIsPut(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := newShard(64 << 10)
	for range 100_000 {
		i := random.IntN(400)
		if n := s.nodes[uint64(i)]; n != nil && random.IntN(2) == 0 {
			n.freq = min(n.freq+1, maxFreq)
			continue
		}
		s.put(uint64(i), key(i), cached(random.IntN(5000)*random.IntN(5)))
		sum, count := 0, 0
		for _, q := range []*queue{&s.small, &s.main} {
			for n := q.first; n != nil; n = n.next {
				sum, count = sum+n.size, count+1
				if n.inMain != (q == &s.main) || s.nodes[n.hash] != n {
					t.Fatal("a node is not where it says")
				}
			}
		}
		if sum != s.small.bytes+s.main.bytes || sum > s.limit || count != len(s.nodes) {
			t.Fatalf("%d bytes in %d nodes; counted are %d in %d, limit %d", sum, count, s.small.bytes+s.main.bytes, len(s.nodes), s.limit)
		}
	}
}

// TestMostQuestionsAreHits is an hour of 10,000 names by Zipf's law at 20 a
// second, from an empty cache, with the TTLs of reference measurements.
func TestMostQuestionsAreHits(t *testing.T) {
	s := serve(t, mixed)
	r, clock := start(t, &networkv1.Resolver{}, Options{}, s)
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.08, 1, 9999)
	const rate, questions = 20, 72_000
	for range questions {
		_, _ = r.LookupNetIP(t.Context(), "ip4", fmt.Sprintf("name%d.example", zipf.Uint64()))
		clock.add(time.Second / rate)
	}
	got := r.Stats()
	ratio := float64(got.Hits) / questions
	t.Logf("%.1f %% hits, %d queries, %+v", 100*ratio, s.queries.Load(), got)
	if ratio < 0.8 {
		t.Errorf("%.1f %% hits", 100*ratio)
	}
	if s.queries.Load() > questions/2 {
		t.Errorf("upstream was asked %d times for %d questions", s.queries.Load(), questions)
	}
}

// mixed is a zone with TTLs as they are in the wild: 15 % of names 20 s, 35 % 60
// s, 30 % 300 s, 20 % 3600 s; 5 % do not exist.
func mixed(m *dnsmessage.Message) {
	owner := m.Questions[0].Name.String()
	var sum uint32
	for _, c := range []byte(owner) {
		if '0' <= c && c <= '9' {
			sum = sum*31 + uint32(c)
		}
	}
	if sum%20 == 19 {
		m.RCode, m.Authorities = dnsmessage.RCodeNameError, []dnsmessage.Resource{soa("example.", 300, 60)}
		return
	}
	ttl := uint32(20)
	switch part := sum / 20 % 100; {
	case part >= 80:
		ttl = 3600
	case part >= 50:
		ttl = 300
	case part >= 15:
		ttl = 60
	}
	has(a(owner, ttl, "192.0.2.1"))(m)
}
