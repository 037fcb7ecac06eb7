package telemetry

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
)

// sloSeries are the series of an slo metric that a scrape shows, with their values.
func sloSeries(t *testing.T, m *Metrics, name string) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, series := range f.GetMetric() {
			got[series.GetLabel()[0].GetValue()] = series.GetGauge().GetValue()
		}
	}
	return got
}

// running is a host's metrics with Run under way until the test ends, and a
// subsystem that promises 99 %.
func running(t *testing.T) (*Metrics, *Subsystem) {
	t.Helper()
	m := New("dev")
	s := m.Subsystem("s")
	s.SetObjectives(Objectives{Success: .99, P95: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return m, s
}

func TestCurrentIsAboutTheLastFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := running(t)
		do := s.Method("/p.v1.S/Do")
		check := func(after time.Duration, want ...float64) {
			t.Helper()
			time.Sleep(after) //nolint:forbidigo // on synctest's clock
			synctest.Wait()
			got, found := sloSeries(t, m, "gaia_slo_current")["success"]
			if found != (len(want) > 0) || found && got != want[0] {
				t.Errorf("got %v, %t; want %v", got, found, want)
			}
		}
		check(time.Hour) // no calls are neither good nor bad
		do.Observe(codes.OK, time.Millisecond)
		do.Observe(codes.OK, time.Millisecond)
		do.Observe(codes.InvalidArgument, time.Millisecond) // the caller's mistake
		do.Observe(codes.Internal, time.Millisecond)
		check(0, .75) // at once: a scrape need not wait for a snapshot
		check(3*time.Minute, .75)
		for range 4 {
			do.ObserveRejected(codes.ResourceExhausted)
		}
		check(0, 3./8)
		check(110*time.Second, 3./8) // 4m50s
		check(20*time.Second, 0)     // 5m10s: what is left are the rejected ones
		check(2*time.Minute+40*time.Second, 0)
		check(20 * time.Second)
	})
}

// Between two snapshots the window is at most half an interval too long or too
// short.
func TestTheSnapshotNearestToFiveMinutesAgoCounts(t *testing.T) {
	const calls = 60 // a second apart
	start := time.Now()
	h := newHistory(start)
	for i := 1; i <= 10*calls; i++ {
		if i%10 == 0 {
			h.add(snapshot{at: start.Add(time.Duration(i) * time.Second), counted: ofOK(i)})
		}
		now := start.Add(time.Duration(i) * time.Second)
		window := i - int(h.nearest(now.Add(-currentWindow)).byCode[codes.OK])
		if want := min(i, 300); window < want-5 || window > want+5 {
			t.Errorf("after %d s the window is %d s", i, window)
		}
	}
	if len(h.snapshots) != historySize {
		t.Errorf("%d snapshots are kept, want %d", len(h.snapshots), historySize)
	}
}

func ofOK(n int) counts {
	var c counts
	c.byCode[codes.OK] = uint64(n)
	return c
}

func TestCurrentP95IsReckonedFromForwardedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := running(t)
		if got := sloSeries(t, m, "gaia_slo_current"); len(got) != 0 {
			t.Errorf("without calls: %v", got)
		}
		for range 10 { // two methods count together
			s.Method("/p.v1.S/A").Observe(codes.OK, 80*time.Millisecond)
			s.Method("/p.v1.S/B").Observe(codes.OK, 80*time.Millisecond)
		}
		for range 1000 {
			s.Method("/p.v1.S/A").ObserveRejected(codes.ResourceExhausted)
			s.Method("/p.v1.S/W").ObserveStream(codes.OK, time.Hour)
		}
		if got := sloSeries(t, m, "gaia_slo_current")["p95"]; got != .0975 {
			t.Errorf("got %v, want 0.0975", got)
		}
	})
}

func TestObjectivesChangeAndVanish(t *testing.T) {
	m := New("dev")
	s := m.Subsystem("s")
	s.Method("/p.v1.S/Do").Observe(codes.OK, 80*time.Millisecond)
	for _, step := range []struct {
		given                    Objectives
		wantObjective, wantToday string // "name value", sorted
	}{
		{Objectives{}, "", ""},
		{Objectives{Success: .99, P95: 120 * time.Millisecond, InFlight: 450}, "in_flight 450, p95 0.12, success 0.99", "p95 0.0975, success 1"},
		{Objectives{Success: .95}, "success 0.95", "success 1"},
		{Objectives{InFlight: 10}, "in_flight 10", ""}, // nobody has said what is in flight
		{Objectives{}, "", ""},
	} {
		s.SetObjectives(step.given)
		if got := listed(sloSeries(t, m, "gaia_slo_objective")); got != step.wantObjective {
			t.Errorf("%+v: objectives %q, want %q", step.given, got, step.wantObjective)
		}
		if got := listed(sloSeries(t, m, "gaia_slo_current")); got != step.wantToday {
			t.Errorf("%+v: current %q, want %q", step.given, got, step.wantToday)
		}
	}
	s.SetObjectives(Objectives{InFlight: 10})
	s.Bind(Live{InFlight: func() int { return 11 }})
	if got := listed(sloSeries(t, m, "gaia_slo_current")); got != "in_flight 11" {
		t.Errorf("got %q", got)
	}
}

func listed(series map[string]float64) string {
	var all []string
	for name, value := range series {
		all = append(all, name+" "+number(value))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// A code that counts as a failure must be on the page before its first call:
// increase() and rate() do not see the first value of a series.
func TestFailuresHaveSeriesFromTheBeginning(t *testing.T) {
	for _, code := range failureCodes() {
		if !slices.Contains(presetCodes(), code) {
			t.Errorf("%v has none", code)
		}
	}
}
