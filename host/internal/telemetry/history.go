package telemetry

import (
	"context"
	"sync"
	"time"
)

const (
	// currentWindow is what gaia_slo_current looks back on: the shortest window
	// of the alerts.
	currentWindow = 5 * time.Minute
	// snapshotEvery bounds how much longer or shorter than that the window is:
	// by half of it.
	snapshotEvery = 10 * time.Second
	// historySize keeps the snapshot that is nearest to the beginning of the
	// window until the one after it is nearer.
	historySize = int(currentWindow/snapshotEvery) + 2
)

// history is what a subsystem had counted at moments of the last minutes. Safe
// for concurrent use; never empty.
type history struct {
	mu        sync.Mutex
	snapshots []snapshot // the oldest first; at most historySize
}

type snapshot struct {
	at      time.Time
	counted counts
}

// newHistory begins with the moment at which nothing had been counted.
func newHistory(now time.Time) *history {
	return &history{snapshots: append(make([]snapshot, 0, historySize), snapshot{at: now})}
}

func (h *history) add(s snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.snapshots) == historySize {
		copy(h.snapshots, h.snapshots[1:])
		h.snapshots = h.snapshots[:historySize-1]
	}
	h.snapshots = append(h.snapshots, s)
}

// nearest is what had been counted at the snapshot nearest to t.
func (h *history) nearest(t time.Time) counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	best := 0
	for i, s := range h.snapshots {
		if s.at.Sub(t).Abs() < h.snapshots[best].at.Sub(t).Abs() {
			best = i
		}
	}
	return h.snapshots[best].counted
}

// Run remembers every ten seconds what each subsystem has counted, until ctx
// ends; it returns nil. gaia_slo_current needs it: without Run, "the last five
// minutes" began when the subsystem was added.
func (m *Metrics) Run(ctx context.Context) error {
	ticker := time.NewTicker(snapshotEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			for _, s := range m.all() {
				s.history.add(snapshot{at: time.Now(), counted: s.counted()})
			}
		}
	}
}

// counted is what all methods have counted until now.
func (s *Subsystem) counted() counts {
	var all counts
	for _, m := range *s.methods.Load() {
		all.add(m.tally.read())
	}
	return all
}

// recent is what was counted in the last five minutes, or since the subsystem
// was added if that is less.
func (s *Subsystem) recent(now time.Time) counts {
	before := s.history.nearest(now.Add(-currentWindow))
	return s.counted().since(before)
}
