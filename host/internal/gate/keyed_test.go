package gate

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tally is a keyed policy that admits everything and counts.
type tally struct {
	busy   *atomic.Bool // it may not be forgotten
	inside atomic.Int64
	seen   atomic.Int64
}

func (p *tally) Admit(context.Context, *Call) (Ticket, error) {
	p.inside.Add(1)
	p.seen.Add(1)
	return Ticket{}, nil
}

func (p *tally) Done(*Call, Ticket, Outcome) { p.inside.Add(-1) }

func (p *tally) isIdle(instant) bool { return p.inside.Load() == 0 && !p.busy.Load() }

func (k *keyed) pass(t *testing.T, value string, at ...time.Duration) {
	t.Helper()
	c := newCall()
	for _, d := range at {
		c.now = c.now.add(d)
	}
	c.Keys = domain(value)
	ticket, err := k.Admit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	k.Done(c, ticket, Success)
}

func TestAValueThatIsIdleIsForgottenAndOneThatIsNotIsKept(t *testing.T) {
	var busy atomic.Bool
	k := newKeyed("domain", func(string) keyedPolicy { return &tally{busy: &busy} })
	const many = 10 * keyShards * firstSweep
	for i := range many {
		k.pass(t, fmt.Sprint(i))
	}
	if got := k.count.Load(); got > 2*keyShards*firstSweep {
		t.Errorf("%d of %d values are kept, though all were idle", got, many)
	}
	busy.Store(true)
	k.pass(t, "kept")
	kept := k.peek([]byte("kept"))
	for i := range many / 5 {
		k.pass(t, fmt.Sprint("more", i))
	}
	if k.peek([]byte("kept")) != kept || kept.(*tally).seen.Load() != 1 {
		t.Error("a value that is not idle was forgotten")
	}
}

func TestValuesForWhichThereIsNoRoomShareOnePolicy(t *testing.T) {
	busy := new(atomic.Bool)
	busy.Store(true)
	k := newKeyed("domain", func(string) keyedPolicy { return &tally{busy: busy} })
	for i := range maxKeyStates + 1000 {
		k.pass(t, fmt.Sprint(i))
	}
	shared := k.shared.policy.(*tally)
	if got := k.count.Load(); got != maxKeyStates || shared.seen.Load() != 1000 {
		t.Errorf("%d values are kept and %d calls shared a policy, want %d and 1000", got, shared.seen.Load(), maxKeyStates)
	}
	busy.Store(false)
	k.pass(t, "later", 2*fullSweepEvery) // there is room again for who needs it
	if shared.seen.Load() != 1000 {
		t.Error("a value shared the policy though there was room")
	}
}

func TestAValueThatTheOperatorNamedAlwaysHasItsOwn(t *testing.T) {
	k := ratePolicy(Rate{Name: "each", Key: "domain", Quota: Quota{100, time.Hour, 100}, Overrides: []Override{{"small.example", Quota{1, time.Hour, 1}}}}).(*keyed)
	k.count.Store(maxKeyStates)
	k.pass(t, "other.example")
	k.pass(t, "Small.example")
	if k.peek([]byte("Small.example")) == nil || k.peek([]byte("other.example")) != nil {
		t.Error("the named value must have tokens of its own, the other one not")
	}
}

// While values come and go from all sides, no call is ever inside a policy that
// was forgotten: a new one for the same value would not know of it.
func TestNoCallIsInsideAPolicyThatWasForgotten(t *testing.T) {
	busy := new(atomic.Bool)
	var mu sync.Mutex
	current := make(map[string]*tally)
	k := newKeyed("domain", func(value string) keyedPolicy {
		p := &tally{busy: busy}
		mu.Lock()
		defer mu.Unlock()
		if old := current[value]; old != nil && old.inside.Load() > 0 {
			// Somebody is in the old one, or on the way to find out that it is gone.
			for old.inside.Load() > 0 {
				runtime.Gosched()
			}
		}
		current[value] = p
		return p
	})
	var calls sync.WaitGroup
	for worker := range 8 {
		calls.Go(func() {
			for i := range 20_000 {
				c := newCall()
				c.Keys = domain(fmt.Sprint((i*7 + worker) % 50_000))
				ticket, err := k.Admit(t.Context(), c)
				if err != nil {
					t.Error(err)
					return
				}
				if ticket.state.forgotten.Load() && k.peek(c.Keys.(domain)) != ticket.state.policy {
					t.Errorf("inside a policy that was forgotten")
				}
				k.Done(c, ticket, Success)
			}
		})
	}
	calls.Wait()
}

func TestLongValuesAreToldApartByTheirBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Rates: []Rate{{Name: "each", Key: "domain", Quota: Quota{1, time.Hour, 1}}}}, nil)
		long := make([]byte, 100_000)
		if err := g.Do(t.Context(), &Call{Keys: domain(long)}, answered); err != nil {
			t.Fatal(err)
		}
		long[longestKey] = 'x'
		if g.Do(t.Context(), &Call{Keys: domain(long)}, answered) == nil {
			t.Error("another end made another value")
		}
		long[0] = 'x'
		if err := g.Do(t.Context(), &Call{Keys: domain(long)}, answered); err != nil {
			t.Errorf("another beginning: %v", err)
		}
	})
}

func TestAKeyIsReadOncePerCall(t *testing.T) {
	c := shipped()
	c.Breakers = []Breaker{{Key: "domain", Failures: 1, Within: time.Second, OpenFor: time.Second}}
	c.PerKey = []KeyLimit{{Key: "domain", Concurrency: 1}}
	g := New(c, nil)
	reads := 0
	if err := g.Do(t.Context(), &Call{Keys: reading(func() { reads++ })}, answered); err != nil || reads != 1 {
		t.Errorf("read %d times, error %v; want once", reads, err)
	}
}

type reading func()

func (r reading) Key(string) ([]byte, bool) { r(); return []byte("x"), true }
