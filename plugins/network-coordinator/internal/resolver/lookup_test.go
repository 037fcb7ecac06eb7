package resolver

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk/egress"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/protobuf/types/known/durationpb"
)

var _ egress.Resolver = (*Resolver)(nil)

// want fails the test unless r says this about www.example.
func want(t *testing.T, r *Resolver, family Family, want Answer) {
	t.Helper()
	got, err := r.Lookup(t.Context(), "www.example", family)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(sameAddr)); diff != "" {
		t.Fatalf("-want +got\n%s", diff)
	}
}

// wantError fails the test unless r says this error about www.example.
func wantError(t *testing.T, r *Resolver, want error) {
	t.Helper()
	if got, err := r.Lookup(t.Context(), "www.example", IPv4); !errors.Is(err, want) {
		t.Fatalf("got %v and error %v, want %v", got, err, want)
	}
}

// asked fails the test unless s has been asked n times.
func (s *nameserver) asked(t *testing.T, n int64) {
	t.Helper()
	if got := s.queries.Load(); got != n {
		t.Fatalf("upstream has been asked %d times, want %d", got, n)
	}
}

func TestANameIsAskedForOnceAndKeptForItsTTL(t *testing.T) {
	s := serve(t, has(a("www.example.", 60, "192.0.2.1"), a("www.example.", 300, "192.0.2.2"), a("www.example.", 60, "2001:db8::1")))
	r, clock := start(t, &networkv1.Resolver{}, Options{}, s)
	all := addrs("2001:db8::1", "192.0.2.1", "192.0.2.2")
	want(t, r, Both, Answer{Addrs: all, TTL: time.Minute})
	clock.add(45 * time.Second)
	want(t, r, Both, Answer{Addrs: all, TTL: 15 * time.Second, FromCache: true})
	want(t, r, IPv4, Answer{Addrs: all[1:], TTL: 15 * time.Second, FromCache: true})
	s.asked(t, 2) // A and AAAA
}

func TestAllSpellingsOfANameAreOneName(t *testing.T) {
	s := serve(t, everything)
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	for _, host := range []string{"bücher.example", "BÜCHER.example.", "xn--bcher-kva.example", "XN--BCHER-KVA.EXAMPLE"} {
		if _, err := r.LookupNetIP(t.Context(), "ip4", host); err != nil {
			t.Error(err)
		}
	}
	s.asked(t, 1)
}

func TestAddressesAreNotAskedFor(t *testing.T) {
	s := serve(t, everything)
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	for host, want := range map[string]string{"192.0.2.1": "192.0.2.1", "0x7f.1": "127.0.0.1", "[2001:db8::1]": "2001:db8::1", "::ffff:10.0.0.1": "10.0.0.1"} {
		got, err := r.Lookup(t.Context(), host, Both)
		if err != nil || len(got.Addrs) != 1 || got.Addrs[0].String() != want {
			t.Errorf("%s: %v, %v", host, got, err)
		}
	}
	if _, err := r.Lookup(t.Context(), "192.0.2.1", IPv6); !errors.Is(err, ErrNotFound) {
		t.Errorf("an IPv4 address as IPv6: %v", err)
	}
	for _, host := range []string{"", ".", "a..b", "a b", "user@host", "1.2.3.4.5", "host:80", string(make([]byte, 300))} {
		if _, err := r.Lookup(t.Context(), host, Both); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", host, err)
		}
	}
	s.asked(t, 0)
}

func TestTheShortestTTLOfAChainCounts(t *testing.T) {
	s := serve(t, has(
		cname("www.example.", 300, "Edge.Example.NET."), cname("edge.example.net.", 20, "pop.example.net."),
		a("pop.example.net.", 600, "192.0.2.1")))
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), CanonicalName: "pop.example.net", TTL: 20 * time.Second})
}

func TestTTLsAreKeptWithinBounds(t *testing.T) {
	s := serve(t, has(a("www.example.", 1, "192.0.2.1"), a("www.example.", 1<<31, "2001:db8::1")))
	r, _ := start(t, &networkv1.Resolver{MinTtl: durationpb.New(10 * time.Second), MaxTtl: durationpb.New(time.Minute)}, Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: 10 * time.Second})
	want(t, r, IPv6, Answer{Addrs: addrs("2001:db8::1"), TTL: 10 * time.Second}) // the first bit set is 0
	s.become(has(a("www.example.", 3600, "192.0.2.1")))
	r.Flush()
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
}

func TestAnAnswerWithoutTTLIsForWhoAskedOnly(t *testing.T) {
	s := serve(t, has(a("www.example.", 0, "192.0.2.1")))
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1")})
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1")})
	s.asked(t, 2)
}

func TestAStaleAnswerComesAtOnceAndIsRefreshedBehind(t *testing.T) {
	s := serve(t, has(a("www.example.", 60, "192.0.2.1")))
	r, clock := start(t, &networkv1.Resolver{}, Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
	clock.add(time.Minute)
	s.become(has(a("www.example.", 60, "192.0.2.2")))
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), FromCache: true, Stale: true})
	eventually(t, "it has been refreshed", func() bool {
		got, err := r.Lookup(t.Context(), "www.example", IPv4)
		return err == nil && !got.Stale
	})
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.2"), TTL: time.Minute, FromCache: true})
	s.asked(t, 2)
	if got := r.Stats(); got.Stale == 0 || got.Misses != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAStaleAnswerIsServedWhileUpstreamFails(t *testing.T) {
	s := serve(t, has(a("www.example.", 60, "192.0.2.1")))
	r, clock := start(t, &networkv1.Resolver{Stale: durationpb.New(10 * time.Minute)}, Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
	s.become(failing)
	clock.add(2 * time.Minute)
	for range 3 {
		want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), FromCache: true, Stale: true})
		eventually(t, "upstream has failed", func() bool { return r.Stats().Failures == 1 })
	}
	s.asked(t, 2) // not for each of them
	got, err := r.Refresh(t.Context(), "www.example", IPv4)
	if diff := cmp.Diff(Answer{Addrs: addrs("192.0.2.1"), Stale: true}, got, cmp.Comparer(sameAddr)); err != nil || diff != "" {
		t.Error(err, diff)
	}
	clock.add(9 * time.Minute)
	wantError(t, r, ErrUnavailable)
}

func TestThatANameIsGoneEndsStaleAnswers(t *testing.T) {
	s := serve(t, has(a("www.example.", 60, "192.0.2.1")))
	r, clock := start(t, &networkv1.Resolver{}, Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
	s.become(func(m *dnsmessage.Message) {
		m.RCode, m.Authorities = dnsmessage.RCodeNameError, []dnsmessage.Resource{soa("example.", 300, 30)}
	})
	clock.add(2 * time.Minute)
	_, _ = r.Refresh(t.Context(), "www.example", IPv4)
	wantError(t, r, ErrNotFound)
	clock.add(29 * time.Second)
	wantError(t, r, ErrNotFound)
	s.asked(t, 2)
	clock.add(2 * time.Second) // the SOA's minimum is over: no stale denials
	wantError(t, r, ErrNotFound)
	s.asked(t, 3)
}

func TestNoSuchRecordIsKeptAsLongAsTheZoneSays(t *testing.T) {
	for name, test := range map[string]struct {
		soa  []dnsmessage.Resource
		want time.Duration
	}{
		"minimum":      {[]dnsmessage.Resource{soa("example.", 100, 40)}, 40 * time.Second},
		"TTL":          {[]dnsmessage.Resource{soa("example.", 20, 3600)}, 20 * time.Second},
		"at most 5m":   {[]dnsmessage.Resource{soa("example.", 86400, 86400)}, 5 * time.Minute},
		"without":      {nil, 5 * time.Second},
		"another zone": {[]dnsmessage.Resource{soa("example.net.", 100, 40)}, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(m *dnsmessage.Message) { m.Authorities = test.soa })
			r, clock := start(t, &networkv1.Resolver{}, Options{}, s)
			wantError(t, r, ErrNotFound)
			clock.add(test.want - time.Second)
			wantError(t, r, ErrNotFound)
			s.asked(t, 1)
			clock.add(time.Second)
			wantError(t, r, ErrNotFound)
			s.asked(t, 2)
		})
	}
}

func TestAFailureIsRememberedForAMoment(t *testing.T) {
	s := serve(t, failing)
	r, clock := start(t, &networkv1.Resolver{}, Options{}, s)
	for range 5 {
		wantError(t, r, ErrUnavailable)
	}
	s.asked(t, 1)
	clock.add(failureTTL)
	s.become(everything)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
}

func TestAHotNameIsAskedForBeforeItsTimeIsOver(t *testing.T) {
	s := serve(t, everything)
	r, clock := start(t, &networkv1.Resolver{}, Options{}, s)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
	clock.add(50 * time.Minute)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: 10 * time.Minute, FromCache: true})
	clock.add(5 * time.Minute)
	s.asked(t, 1)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: 5 * time.Minute, FromCache: true})
	eventually(t, "it has been asked for again", func() bool {
		got, err := r.Lookup(t.Context(), "www.example", IPv4)
		return err == nil && got.TTL == time.Hour
	})
	s.asked(t, 2)
	if got := r.Stats().Prefetched; got != 1 {
		t.Errorf("%d names prefetched, want 1", got)
	}
}

func TestAThousandEqualMissesMakeOneQuery(t *testing.T) {
	held := make(chan struct{})
	s := serve(t, func(m *dnsmessage.Message) {
		<-held
		everything(m)
	})
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Lookup(impatient, "www.example", IPv4); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if got, err := r.LookupNetIP(t.Context(), "ip4", "www.example"); err != nil || len(got) != 1 {
				t.Error(got, err)
			}
		})
	}
	close(held)
	wg.Wait()
	s.asked(t, 1)
}

func TestQuestionsUnderWayAreBounded(t *testing.T) {
	s := serve(t, silent)
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	busy := 0
	for i := range maxFlights + 10 {
		if _, err := r.Lookup(impatient, "name"+string(rune('a'+i%26))+string(rune('a'+i/26))+".example", IPv4); errors.Is(err, ErrBusy) {
			busy++
		}
	}
	if busy != 10 || r.Stats().Busy != 10 {
		t.Errorf("%d were refused, want 10; %+v", busy, r.Stats())
	}
}

func TestWhatACallerDoesToItsAnswerChangesNoOther(t *testing.T) {
	s := serve(t, everything)
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	for range 2 {
		for _, look := range []func() ([]netip.Addr, error){
			func() ([]netip.Addr, error) {
				got, err := r.Lookup(t.Context(), "www.example", Both)
				return got.Addrs, err
			},
			func() ([]netip.Addr, error) { return r.LookupNetIP(t.Context(), "ip", "www.example") },
		} {
			got, err := look()
			if diff := cmp.Diff(addrs("2001:db8::1", "192.0.2.1"), got, cmp.Comparer(sameAddr)); diff != "" || err != nil {
				t.Fatal(err, diff)
			}
			clear(got)
		}
	}
}

func TestAHitAllocatesNothing(t *testing.T) {
	s := serve(t, everything)
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	dst := make([]netip.Addr, 0, 8)
	ctx := t.Context()
	allocs := testing.AllocsPerRun(1000, func() {
		if _, err := r.AppendLookup(ctx, dst, "www.example", Both); err != nil {
			t.Error(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestOneFamilyIsEnough(t *testing.T) {
	s := serve(t, func(m *dnsmessage.Message) {
		if m.Questions[0].Type == dnsmessage.TypeAAAA {
			failing(m)
			return
		}
		everything(m)
	})
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	want(t, r, Both, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
	if _, err := r.Lookup(t.Context(), "www.example", IPv6); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

func TestNamesOfTheHostsFileComeFirst(t *testing.T) {
	s := serve(t, everything)
	path := filepath.Join(t.TempDir(), "hosts")
	write(t, path, "# comment\n10.0.0.7 www.Example alias # more\nfe80::1%eth0 www.example\nnonsense\n")
	r, clock := start(t, &networkv1.Resolver{}, Options{HostsFile: path}, s)
	want(t, r, Both, Answer{Addrs: addrs("fe80::1", "10.0.0.7"), FromCache: true})
	if got, err := r.LookupNetIP(t.Context(), "ip6", "alias"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a name of IPv4 only as IPv6: %v, %v", got, err)
	}
	s.asked(t, 0)
	write(t, path, "10.0.0.8 www.example\n")
	clock.add(2 * time.Second)
	want(t, r, Both, Answer{Addrs: addrs("10.0.0.8"), FromCache: true})
	write(t, path, "")
	clock.add(2 * time.Second)
	want(t, r, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
	off, _ := start(t, &networkv1.Resolver{HostsFile: new(bool)}, Options{HostsFile: path}, s)
	write(t, path, "10.0.0.8 www.example\n")
	want(t, off, IPv4, Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
}

func TestLocalhostNeverLeaves(t *testing.T) {
	s := serve(t, everything)
	r, _ := start(t, &networkv1.Resolver{}, Options{}, s)
	for _, host := range []string{"localhost", "LOCALHOST.", "a.b.localhost"} {
		got, err := r.LookupNetIP(t.Context(), "ip", host)
		if diff := cmp.Diff(addrs("::1", "127.0.0.1"), got, cmp.Comparer(sameAddr)); diff != "" || err != nil {
			t.Error(host, err, diff)
		}
	}
	s.asked(t, 0)
	if _, err := r.LookupNetIP(t.Context(), "ip4", "notlocalhost"); err != nil {
		t.Error(err)
	}
	s.asked(t, 1)
}
