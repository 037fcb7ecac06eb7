package gate

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func valueOf(seed maphash.Seed, text string) *keyValue {
	return &keyValue{bytes: []byte(text), hash: maphash.String(seed, text), state: present}
}

// perDomain is a gate with a rate for each domain, and its table.
func perDomain(q Quota) (*Gate, *table[bucket]) {
	g := New(Config{Rates: []Rate{{Name: "r", Key: "domain", Quota: q}}}, nil)
	return g, g.chain.Load().steps[0].policy.(*rate).keyed //nolint:forcetypeassert // it was just made
}

func TestIdleValuesAreForgottenAsNewOnesCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, table := perDomain(Quota{1, time.Second, 1})
		most := int64(0)
		for i := range 100_000 {
			if err := try(t, g, fmt.Sprint("host-", i)); err != nil {
				t.Fatal(err)
			}
			most = max(most, table.size.Load())
			if i%10 == 9 {
				pause(t.Context(), 10*time.Millisecond)
			}
		}
		// 1000 a second, of which each is idle after a second and dropped after
		// linger at the earliest.
		if most < 10_000 || most > 25_000 {
			t.Errorf("at most %d states at once", most)
		}
		pause(t.Context(), time.Hour)
		for i := range 5000 {
			_ = try(t, g, fmt.Sprint("new-", i))
		}
		if got := table.size.Load(); got > 6000 {
			t.Errorf("%d states are left", got)
		}
		chains := 0
		for i := range table.shards {
			chains += len(table.shards[i].chains.Load().first)
		}
		if chains > 40_000 {
			t.Errorf("%d chains for %d states", chains, table.size.Load())
		}
	})
}

func TestAValueInUseIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := perDomain(Quota{1, 24 * time.Hour, 1})
		if err := try(t, g, "x"); err != nil {
			t.Fatal(err)
		}
		for i := range 50_000 {
			_ = try(t, g, fmt.Sprint("host-", i))
			if i%1000 == 0 {
				pause(t.Context(), time.Minute)
			}
		}
		if err := try(t, g, "x"); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("got %v", err)
		}
	})
}

func TestBeyondTheBoundValuesShareOneStateUntilThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, table := perDomain(Quota{2, time.Hour, 2})
		table.limit = 100
		for i := range 100 {
			if err := try(t, g, fmt.Sprint("host-", i)); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range []codes.Code{codes.OK, codes.OK, codes.ResourceExhausted, codes.ResourceExhausted} {
			if err := try(t, g, fmt.Sprint("more-", i)); status.Code(err) != want {
				t.Errorf("the %dth beyond the bound: got %v, want %v", i, err, want)
			}
		}
		if err := try(t, g, "host-7"); err != nil {
			t.Errorf("a value with a state: %v", err)
		}
		if got := table.size.Load(); got != 100 {
			t.Errorf("%d states, bound 100", got)
		}

		pause(t.Context(), 30*time.Minute) // one token each, of the shared state, too
		for i := range 100 {
			_ = try(t, g, fmt.Sprint("other-", i)) // each looks for room
		}
		pause(t.Context(), 30*time.Minute) // those with one call are idle
		admitted := 0
		for range 5 {
			if try(t, g, "more-0") == nil {
				admitted++
			}
		}
		if admitted != 1 && admitted != 2 {
			t.Errorf("%d calls of a value that had no room", admitted)
		}
		pause(t.Context(), time.Hour)
		for i := range 50 {
			for range 2 {
				if err := try(t, g, fmt.Sprint("again-", i)); err != nil {
					t.Errorf("there is room again: %v", err)
				}
			}
		}
	})
}

func TestAValueGainsNothingByGettingAStateOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, table := perDomain(Quota{1, time.Hour, 3})
		table.limit = 0
		for range 3 {
			if err := try(t, g, "x"); err != nil {
				t.Fatal(err)
			}
		}
		table.limit = 10
		if err := try(t, g, "x"); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("got %v", err)
		}
		pause(t.Context(), time.Hour)
		if err := try(t, g, "x"); err != nil {
			t.Error(err)
		}
		if table.size.Load() != 1 {
			t.Errorf("%d states", table.size.Load())
		}
	})
}

func TestPermitsOfAValueAreNotDoubledByAStateOfItsOwn(t *testing.T) {
	g := New(Config{PerKey: []KeyLimit{{Key: "domain", Concurrency: 1}}}, nil)
	table := g.chain.Load().steps[0].policy.(*bulkhead).keyed //nolint:forcetypeassert // it was just made
	table.limit = 0
	release := hold(t, g, callFor("x"))
	table.limit = 10
	if err := try(t, g, "x"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
	release()
	if err := try(t, g, "x"); err != nil || table.size.Load() != 1 {
		t.Errorf("got %v, %d states", err, table.size.Load())
	}
}

// tally is a state that is idle when nobody is inside. It counts those who
// entered, so that none may be inside a state that was dropped.
type tally struct{ inside atomic.Int64 }

func (s *tally) enter() bool {
	n := s.inside.Load()
	return n >= 0 && s.inside.CompareAndSwap(n, n+1)
}

type tallies struct {
	spare tally
	gone  atomic.Int64
}

func (*tallies) start(string, *tally, int64) bool { return true }
func (o *tallies) shared(string) *tally           { return &o.spare }
func (o *tallies) retire(s *tally, _ int64) bool {
	if !s.inside.CompareAndSwap(0, dropped) {
		return false
	}
	o.gone.Add(1)
	return true
}

// TestNoStateIsDroppedWhileSomebodyIsInside has many goroutines enter the
// states of a few values while these are dropped all the time. Two of them must
// never be inside different states of one value.
func TestNoStateIsDroppedWhileSomebodyIsInside(t *testing.T) {
	const values, workers, rounds = 64, 8, 20_000
	owner := &tallies{}
	seed := maphash.MakeSeed()
	table := newTable[tally](owner, seed)
	table.limit = 48 // some find no room
	var holders [values]struct {
		state atomic.Pointer[tally]
		n     atomic.Int64
	}
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 3))
			for range rounds {
				i := random.IntN(values)
				k := valueOf(seed, fmt.Sprint("value-", i))
				s := table.enter(k, never)
				for !s.enter() {
					s = table.enter(k, never)
				}
				if s != &owner.spare { // while somebody is inside, it is the state of the value
					if again := table.find(k); again != s {
						t.Errorf("inside a state of %q that is not the one in the table", k.bytes)
					}
				}
				holders[i].n.Add(1)
				s.inside.Add(-1)
				if random.IntN(50) == 0 {
					table.sweep(never, sweepFull)
				}
			}
		})
	}
	wg.Wait()
	if owner.gone.Load() == 0 {
		t.Error("none was dropped: the test proves nothing")
	}
	n := int64(0)
	table.each(func(*tally) { n++ })
	if n != table.size.Load() {
		t.Errorf("%d states, counted %d", n, table.size.Load())
	}
}

func TestAValueIsFoundWhileTheTableGrowsAndShrinks(t *testing.T) {
	owner := &tallies{}
	seed := maphash.MakeSeed()
	table := newTable[tally](owner, seed)
	var known []*keyValue
	for i := range 200 {
		k := valueOf(seed, fmt.Sprint("known-", i))
		for !table.enter(k, 0).enter() {
		}
		known = append(known, k)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 100_000 {
			table.enter(valueOf(seed, fmt.Sprint("passing-", i)), never)
			if i%20_000 == 19_999 {
				table.sweep(never, 1<<20)
			}
		}
	})
	for {
		for _, k := range known {
			if table.find(k) == nil {
				t.Fatalf("%q is missing", k.bytes)
			}
		}
		select {
		case <-done:
			wg.Wait()
			return
		default:
		}
	}
}
