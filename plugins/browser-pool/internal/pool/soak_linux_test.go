package pool

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

// A thousand jobs of eight callers, with twenty kills of browsers and twenty of
// renderers among them: none fails, none has another's picture, nothing is left.
func TestSlowNoJobIsLostHoweverOftenBrowsersAreKilled(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes a minute: set GAIA_SLOW=1, or make test-slow")
	}
	const jobs, callers, kills = 1000, 8, 40
	address := colours(t)
	goroutines := runtime.NumGoroutine()
	p := New()
	if err := p.Configure(t.Context(), &browserv1.Config{Egress: loopback()}); err != nil {
		t.Skipf("no browser: %v", err)
	}
	home := p.running.home.Dir()
	var next, killed atomic.Int64
	var mu sync.Mutex
	var calm, hit []time.Duration // jobs without a kill meanwhile, and with one
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for n := next.Add(1); n <= jobs; n = next.Add(1) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				begin, before := time.Now(), killed.Load()
				if err := shoot(ctx, t, p, address, int(n), []string{"", "a", "b"}[n%3]); err != nil {
					t.Errorf("job %d: %v", n, err)
				}
				cancel()
				mu.Lock()
				if killed.Load() == before {
					calm = append(calm, time.Since(begin))
				} else {
					hit = append(hit, time.Since(begin))
				}
				mu.Unlock()
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		group.Wait()
	}()
	for n := int64(1); n <= kills && wait(finished, &next, n*jobs/(kills+2)); n++ {
		killed.Add(1)
		kill(t, n%2 == 0)
	}
	<-finished
	t.Logf("%d kills, %v jobs repeated; slowest job %v without a kill, %v with one", killed.Load(),
		metric(t, p, "gaia_browser_retries_total"), slices.Max(calm).Round(time.Millisecond), slices.Max(hit).Round(time.Millisecond))
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := children(t); len(got) > 0 {
		t.Errorf("processes: %v are left", got)
	}
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("profiles: got %v, want them gone", err)
	}
	eventually(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines+4 }) // of the test's server
}

// kill ends a browser or a renderer, the one whose turn the clock says.
func kill(t *testing.T, isBrowser bool) {
	t.Helper()
	pids := renderers(t)
	if isBrowser {
		pids = pids[:0]
		for pid := range children(t) {
			pids = append(pids, pid)
		}
	}
	if len(pids) > 0 {
		_ = syscall.Kill(pids[time.Now().UnixNano()%int64(len(pids))], syscall.SIGKILL) // ESRCH: it has ended by itself
	}
}

func TestSlowAHundredIsolatedTabsFitIntoTwoGigabytes(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes half a minute: set GAIA_SLOW=1, or make test-slow")
	}
	const tabs, limit = 100, 2 << 30
	p := start(t, &browserv1.Config{MaxTabs: tabs, MaxBrowsers: 8, Warm: new(uint32(0)), Memory: 4 << 30})
	address := colours(t)
	var group sync.WaitGroup
	work := make(chan int)
	for range 4 {
		group.Go(func() {
			for n := range work {
				s, err := p.running.slots.Acquire(t.Context(), slot.Need{Engine: p.running.slots.Default, Client: fmt.Sprint(n)})
				if err != nil {
					t.Error(err)
					continue
				}
				t.Cleanup(func() { p.running.slots.Release(s, slot.Strict) })
				if err := s.Tab.Open(t.Context(), address, nil, s.Outlet.Why); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range tabs {
		work <- n
	}
	close(work)
	group.Wait()
	var total uint64
	for _, processes := range new(engine.Sampler).Sample(children(t)) {
		for _, process := range processes {
			total += proportional(t, process.PID)
		}
	}
	c := p.running.slots.Counts()
	t.Logf("%d tabs in %d browsers: %d MiB", c.Tabs, c.Browsers, total>>20)
	if c.Tabs != tabs || total > limit {
		t.Errorf("got %d tabs and %d MiB, want %d and at most %d", c.Tabs, total>>20, tabs, limit>>20)
	}
}

// proportional is the set size of a process, in which what others share counts in
// part, as the kernel has it.
func proportional(t *testing.T, pid int) uint64 {
	t.Helper()
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rollup)) {
		var kilobytes uint64
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	t.Fatalf("process %d: no Pss in smaps_rollup", pid)
	return 0
}
