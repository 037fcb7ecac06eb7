package pool

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

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
