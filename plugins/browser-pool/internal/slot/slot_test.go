package slot

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/outlet"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tally is a Meter that counts.
type tally struct {
	mu       sync.Mutex
	recycled map[string]int
	started  int
}

func (m *tally) Started(time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.started++
}

func (m *tally) Recycled(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recycled[reason]++
}

func (m *tally) of(reason string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recycled[reason]
}

func (*tally) Made(time.Duration)  {}
func (*tally) Wiped(time.Duration) {}
func (*tally) Crashed(string)      {}
func (*tally) Sampled(uint64)      {}

// open returns a pool of both engines, or of the headless shell alone where there
// is no other. Without that the test is skipped.
func open(t *testing.T, change func(*Options)) (*Pool, *tally) {
	t.Helper()
	home, err := engine.OpenHome("") // a short path: Chromium has a socket in it
	if err != nil {
		t.Fatal(err)
	}
	meter := &tally{recycled: make(map[string]int)}
	o := Options{
		Programs: make(map[Engine]engine.Program), Default: browserv1.Engine_HEADLESS_SHELL,
		Launch: engine.Options{Home: home}, Outlets: &outlet.Rules{},
		MaxBrowsers: 1, MaxTabs: 1, MaxUses: 100, MaxAge: time.Hour, IdleTimeout: time.Hour, Memory: 8 << 30, MaxTabMemory: 1 << 30,
		Log: func(message string, args ...any) { t.Log(append([]any{message}, args...)...) }, Meter: meter,
	}
	for _, kind := range []Engine{browserv1.Engine_HEADLESS_SHELL, browserv1.Engine_CHROMIUM} {
		if program, err := engine.Find(t.Context(), kind, ""); err == nil {
			o.Programs[kind] = program
		}
	}
	if _, ok := o.Programs[o.Default]; !ok {
		t.Skip("no headless shell is installed here")
	}
	if change != nil {
		change(&o)
	}
	p := New(o)
	t.Cleanup(func() {
		p.Close()
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, meter
}

func hold(t *testing.T, p *Pool, n Need) *Slot {
	t.Helper()
	s, err := p.Acquire(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// waiting returns when so many wait.
func waiting(t *testing.T, p *Pool, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d wait", n), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.line.Len() == n
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// order notes who was served.
type order struct {
	mu    sync.Mutex
	names []string
}

func (o *order) add(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names = append(o.names, name)
}

// last is how many were served until the last of a name was.
func (o *order) last(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, served := range slices.Backward(o.names) {
		if served == name {
			return i + 1
		}
	}
	return 0
}

func TestOneClientsQueueDoesNotHoldUpAnother(t *testing.T) {
	p, _ := open(t, nil)
	shell := browserv1.Engine_HEADLESS_SHELL
	first := hold(t, p, Need{Engine: shell, Client: "many", Reset: true})
	var served order
	var group sync.WaitGroup
	job := func(client string) {
		group.Go(func() {
			s, err := p.Acquire(t.Context(), Need{Engine: shell, Client: client, Reset: true})
			if err != nil {
				t.Error(err)
				return
			}
			served.add(client)
			p.Release(s, Reset) // which fits the next one of the client: it would always win
		})
	}
	for range 30 {
		job("many")
	}
	waiting(t, p, 30)
	job("one")
	waiting(t, p, 31)
	p.Release(first, Reset)
	group.Wait()
	if got := served.last("one"); got < 1 || got > 3 {
		t.Errorf("the only job of a client was the %dth to be served, want one of the first", got)
	}
	if n := p.Counts().Tabs; n != 1 {
		t.Errorf("tabs: got %d, want 1", n)
	}
}

// Both engines need the same browser's place, so that one of each kind has to end
// for the other.
func TestNobodyStarvesWhateverOthersFit(t *testing.T) {
	p, meter := open(t, func(o *Options) { o.MaxTabs, o.Warm = 3, 1 })
	shell, chromium := browserv1.Engine_HEADLESS_SHELL, browserv1.Engine_CHROMIUM
	if _, ok := p.Programs[chromium]; !ok {
		t.Skip("no Chromium is installed here")
	}
	ctx, stop := context.WithCancel(t.Context())
	var load, group sync.WaitGroup
	for i := range 8 { // of clients whose slots fit them well, without a pause
		load.Go(func() {
			need := Need{Engine: shell, Client: fmt.Sprint("load", i%2), Reset: true}
			for ctx.Err() == nil {
				s, err := p.Acquire(ctx, need)
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				p.Release(s, Outcome(i%2))
			}
		})
	}
	limit, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i := range 6 {
		group.Go(func() {
			s, err := p.Acquire(limit, Need{Engine: []Engine{chromium, shell}[i%2], Client: fmt.Sprint("rare", i)})
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			p.Release(s, Strict)
		})
	}
	group.Wait()
	stop()
	load.Wait()
	if c := p.Counts(); c.Browsers > 1 || c.Tabs > 3 {
		t.Errorf("got %+v, want 1 browser and 3 tabs at most", c)
	}
	t.Logf("%d browsers were started, recycled: %v", meter.started, meter.recycled)
}

func TestWhoGivesUpWaitingLeavesThePlaceToOthers(t *testing.T) {
	p, _ := open(t, nil)
	need := Need{Engine: browserv1.Engine_HEADLESS_SHELL, Client: "a"}
	first := hold(t, p, need)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if s, err := p.Acquire(ctx, need); err == nil {
				p.Release(s, Strict) // it came in the same moment
			} else if status.Code(err) != codes.ResourceExhausted && status.Code(err) != codes.Canceled {
				t.Errorf("got %v, want ResourceExhausted", err)
			}
		})
	}
	waiting(t, p, 20)
	p.Release(first, Reset)
	cancel()
	group.Wait()
	p.Release(hold(t, p, need), Strict)
	eventually(t, "no tab is left", func() bool { return p.Counts().Tabs == 0 })
}

func TestWithoutMemoryIdleSlotsGoFirstAndThenNewOnesAreRefused(t *testing.T) {
	p, meter := open(t, func(o *Options) { o.MaxTabs = 10 })
	shell := browserv1.Engine_HEADLESS_SHELL
	held := hold(t, p, Need{Engine: shell, Client: "a"})
	p.Release(hold(t, p, Need{Engine: shell, Client: "a", Reset: true}), Reset)
	eventually(t, "one is idle", func() bool { return p.Counts().Wiped == 1 })
	p.mu.Lock()
	p.Memory = p.used() // as if it had been found used up
	p.memory, p.since = p.Memory+1, 0
	p.mu.Unlock()
	next := hold(t, p, Need{Engine: shell, Client: "b"}) // in the place of the idle one
	if got := meter.of("memory"); got != 1 {
		t.Errorf("thrown away for memory: got %d, want 1", got)
	}
	p.mu.Lock()
	p.memory, p.since = p.Memory+1, 0
	p.mu.Unlock()
	if _, err := p.Acquire(t.Context(), Need{Engine: shell, Client: "c"}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want ResourceExhausted", err)
	}
	p.Release(held, Strict)
	p.Release(next, Strict)
}
