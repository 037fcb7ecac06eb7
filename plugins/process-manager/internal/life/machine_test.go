package life

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// epoch is when everything begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// rules that restart always, with a probe and a timeout.
func rules() Rules {
	return Rules{
		When: Always, Backoff: 100 * time.Millisecond, MaxBackoff: time.Second, StableAfter: 10 * time.Second,
		Exits: 5, Within: time.Minute, HasReady: true, Timeout: time.Hour, Grace: 10 * time.Second,
	}
}

// machines are one in each state, all of generation 3.
func machines() []struct {
	name string
	Machine
} {
	base := Machine{Generation: 3, Restarts: 2, InRow: 1, Recent: []time.Time{at(0)}, Began: at(0), Since: at(time.Second)}
	with := func(s State, change func(*Machine)) Machine {
		m := base
		m.State = s
		change(&m)
		return m
	}
	alive := func(m *Machine) { m.Alive = true }
	return []struct {
		name string
		Machine
	}{
		{"new", Machine{}},
		{"starting", with(Starting, func(*Machine) {})},
		{"starting, first", with(Starting, func(m *Machine) { m.Fresh = true })},
		{"not ready", with(Starting, alive)},
		{"running", with(Running, alive)},
		{"backoff", with(Backoff, func(m *Machine) { m.NextStart = at(2 * time.Second) })},
		{"stopping", with(Stopping, func(m *Machine) { m.Alive, m.KillAt, m.Stop = true, at(3*time.Second), Reason{Cause: CauseRequested} })},
		{"stopping to restart", with(Stopping, func(m *Machine) {
			m.Alive, m.KillAt, m.Stop, m.Again = true, at(3*time.Second), Reason{Cause: CauseRequested}, true
		})},
		{"unhealthy", with(Stopping, func(m *Machine) { m.Alive, m.KillAt, m.Stop = true, at(3*time.Second), Reason{Cause: CauseUnhealthy} })},
		{"killed", with(Stopping, func(m *Machine) { m.Alive, m.Killed, m.Stop = true, true, Reason{Cause: CauseRequested} })},
		{"exited", with(Exited, func(*Machine) {})},
		{"failed", with(Failed, func(*Machine) {})},
	}
}

// events are one of each kind, 5 seconds later.
func events() []struct {
	name string
	Event
} {
	now := at(5 * time.Second)
	return []struct {
		name string
		Event
	}{
		{"begin", Event{Kind: Begin, At: now}},
		{"started", Event{Kind: Started, At: now, Generation: 3}},
		{"not started", Event{Kind: NotStarted, At: now, Generation: 3, Exit: Exit{Cause: CauseNotStarted, Code: -1}}},
		{"ready", Event{Kind: Ready, At: now, Generation: 3}},
		{"unhealthy", Event{Kind: Unhealthy, At: now, Generation: 3, Grace: time.Second}},
		{"ended", Event{Kind: Ended, At: now, Generation: 3, Exit: Exit{Code: 1}}},
		{"tick", Event{Kind: Tick, At: now}},
		{"stop", Event{Kind: Stop, At: now, Grace: time.Second}},
		{"restart", Event{Kind: Restart, At: now, Grace: time.Second}},
		{"adopt", Event{Kind: Adopt, At: now}},
	}
}

func (a Action) String() string { return [...]string{"start", "ask", "kill"}[a] }

// TestEveryEventInEveryState compares what happens with testdata/machine.md, which
// is the documentation of it; GAIA_UPDATE=1 rewrites it.
func TestEveryEventInEveryState(t *testing.T) {
	var table strings.Builder
	table.WriteString("| state | event | next state | to be done |\n| --- | --- | --- | --- |\n")
	for _, m := range machines() {
		for _, ev := range events() {
			next, actions := m.Next(rules(), ev.Event)
			if cmp.Equal(next, m.Machine) && len(actions) == 0 {
				continue // it means nothing here
			}
			fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", m.name, ev.name, shown(next), strings.Trim(fmt.Sprint(actions), "[]"))
		}
	}
	const golden = "testdata/machine.md"
	if os.Getenv("GAIA_UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(table.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), table.String()); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func shown(m Machine) string {
	text := m.State.String()
	if m.Generation != 3 {
		text += fmt.Sprintf(", generation %d", m.Generation)
	}
	if m.Again {
		text += ", then again"
	}
	if m.Killed {
		text += ", killed"
	}
	if m.Stop.Cause != CauseUnknown {
		text += ", " + m.Stop.Cause.String()
	}
	return text
}

func TestAnEventOfAnotherGenerationMeansNothing(t *testing.T) {
	for _, m := range machines() {
		for _, ev := range events() {
			if ev.Generation == 0 {
				continue
			}
			ev.Generation = 2
			if next, actions := m.Next(rules(), ev.Event); !cmp.Equal(next, m.Machine) || len(actions) > 0 {
				t.Errorf("%s: %s of generation 2: got %+v, %v", m.name, ev.name, next, actions)
			}
		}
	}
}

// runOnce lets a running process end and, if it waits then, start again.
func runOnce(m Machine, r Rules, ran time.Duration, now *time.Time) Machine {
	if m.State == Backoff {
		*now = m.NextStart
		m, _ = m.Next(r, Event{Kind: Tick, At: *now})
	}
	m, _ = m.Next(r, Event{Kind: Started, At: *now, Generation: m.Generation})
	*now = now.Add(ran)
	m, _ = m.Next(r, Event{Kind: Ended, At: *now, Generation: m.Generation, Exit: Exit{Code: 1}, Jitter: .5})
	return m
}

func TestTheFirstRestartIsAtOnceAndThenTheWaitDoublesUpToABound(t *testing.T) {
	r := rules()
	r.Exits = 0
	now := at(0)
	m, _ := Machine{}.Next(r, Event{Kind: Begin, At: now})
	var waits []time.Duration
	for range 8 {
		m = runOnce(m, r, 0, &now)
		wait := time.Duration(0)
		if m.State == Backoff {
			wait = m.NextStart.Sub(now)
		}
		waits = append(waits, wait/time.Millisecond)
	}
	if want := []time.Duration{0, 100, 200, 400, 800, 1000, 1000, 1000}; !cmp.Equal(waits, want) {
		t.Errorf("waits in ms: got %d, want %d", waits, want)
	}
	m = runOnce(m, r, r.StableAfter, &now)
	if m.State != Starting || m.InRow != 1 {
		t.Errorf("after a stable run: got %+v, want a start at once", m)
	}
}

func TestAWaitIsJitteredByAFifthAndNeverAboveItsBound(t *testing.T) {
	r := rules()
	for _, test := range []struct {
		exits  int
		random float64
		want   time.Duration
	}{
		{2, 0, 80 * time.Millisecond},
		{2, .5, 100 * time.Millisecond},
		{2, 1, 120 * time.Millisecond},
		{1000, 0, 800 * time.Millisecond},
		{1000, 1, time.Second},
	} {
		if got := r.wait(test.exits, test.random); got != test.want {
			t.Errorf("wait(%d, %v): got %v, want %v", test.exits, test.random, got, test.want)
		}
	}
}

func TestACrashLoopIsSoManyExitsWithinATime(t *testing.T) {
	r := rules() // 5 within a minute
	now := at(0)
	m, _ := Machine{}.Next(r, Event{Kind: Begin, At: now})
	exits := 0
	for !m.State.Ended() && exits < 100 {
		m = runOnce(m, r, 0, &now)
		exits++
	}
	if m.State != Failed || exits != 5 || m.Restarts != 4 {
		t.Errorf("got %v after %d exits and %d restarts", m.State, exits, m.Restarts)
	}
	r.StableAfter, r.Within = time.Hour, 30*time.Second
	now = at(0)
	m, _ = Machine{}.Next(r, Event{Kind: Begin, At: now})
	for range 50 { // never 5 within half a minute
		if m = runOnce(m, r, 9*time.Second, &now); m.State.Ended() {
			t.Fatalf("got %+v", m)
		}
	}
}

func TestARequestedEndIsNeverFollowedByARestart(t *testing.T) {
	for _, m := range machines() {
		next, _ := m.Next(rules(), Event{Kind: Stop, At: at(time.Second), Grace: time.Second})
		if next.Alive {
			next, _ = next.Next(rules(), Event{Kind: Ended, At: at(2 * time.Second), Generation: 3, Exit: Exit{Code: 1}})
		}
		if m.State != New && !next.State.Ended() && m.name != "starting" && m.name != "starting, first" {
			t.Errorf("%s, stopped: got %+v", m.name, next)
		}
	}
}

func TestALaterStopMayOnlyShortenTheGrace(t *testing.T) {
	m := Machine{State: Running, Generation: 1, Alive: true}
	m, _ = m.Next(rules(), Event{Kind: Stop, At: at(0), Grace: 10 * time.Second})
	m, _ = m.Next(rules(), Event{Kind: Stop, At: at(0), Grace: time.Minute})
	if !m.KillAt.Equal(at(10 * time.Second)) {
		t.Errorf("after a longer grace: %v", m.KillAt)
	}
	m, _ = m.Next(rules(), Event{Kind: Stop, At: at(0), Grace: time.Second})
	if !m.KillAt.Equal(at(time.Second)) || !m.Deadline(rules()).Equal(at(time.Second)) {
		t.Errorf("after a shorter grace: %v", m.KillAt)
	}
}

func TestNobodyRanForLessThanNothing(t *testing.T) {
	m := Machine{State: Running, Generation: 1, Alive: true, Since: at(time.Hour)}
	m, _ = m.Next(Rules{}, Event{Kind: Ended, Generation: 1, At: at(0), Exit: Exit{Code: 3}})
	if m.Exit.Message != "exit code 3 after 0s" {
		t.Errorf("got %q", m.Exit.Message)
	}
}
