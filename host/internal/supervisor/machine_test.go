package supervisor

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden parts of files")

var testRules = rules{
	backoff: 200 * time.Millisecond, maxBackoff: 30 * time.Second, stableAfter: time.Minute,
	loopExits: 5, loopWithin: 5 * time.Minute,
}

// epoch is when the machines of these tests begin.
var epoch = time.Unix(1000, 0)

// drive feeds a machine with events, each given as its kind and generation,
// one second apart.
type drive struct {
	t       *testing.T
	machine machine
	now     time.Time
}

func newDrive(t *testing.T, r rules) *drive {
	t.Helper()
	d := &drive{t: t, machine: machine{rules: r, state: Stopped}, now: epoch}
	d.send(begin, 0, "starting: start 1")
	return d
}

// send sends an event and compares the new state and the actions, in words. The
// end of a wait is that of the one that counts.
func (d *drive) send(kind eventKind, generation uint64, want string) {
	d.t.Helper()
	switch kind {
	case timer:
		generation = d.machine.nextWait
	case respare:
		generation = d.machine.spareWait
	default:
	}
	d.now = d.now.Add(time.Second)
	var actions []action
	d.machine, actions = d.machine.next(event{kind: kind, generation: generation, at: d.now})
	if got := inWords(d.machine, actions); got != want {
		d.t.Errorf("event %d of generation %d: got %q, want %q", kind, generation, got, want)
	}
}

func inWords(m machine, actions []action) string {
	words := make([]string, 0, len(actions))
	for _, a := range actions {
		switch a.kind {
		case start:
			words = append(words, fmt.Sprintf("start %d", a.generation))
		case end:
			words = append(words, fmt.Sprintf("end %d", a.generation))
		case wait:
			words = append(words, fmt.Sprintf("wait %v", a.wait))
		case waitSpare:
			words = append(words, fmt.Sprintf("wait %v for a spare", a.wait))
		}
	}
	return strings.TrimSuffix(m.state.String()+": "+strings.Join(words, ", "), ": ")
}

// docStates are machines in each state, with one exit behind them: generation
// 7 serves, or was the last one, and 8 is a candidate that is ready.
func docStates() []machine {
	with := func(s State, members ...member) machine {
		return machine{
			rules: testRules, state: s, last: 8, exits: 1, recent: []time.Time{epoch}, waits: 8, nextWait: 8,
			members: append(members, member{generation: 8, role: candidate, ready: true, since: epoch}),
		}
	}
	stopped, draining := with(Stopped), with(Draining, member{generation: 7, role: ending})
	stopped.members, draining.members = nil, draining.members[:1]
	return []machine{
		stopped,
		with(Starting, member{generation: 7}),
		with(Ready, member{generation: 7, ready: true, since: epoch}),
		with(Backoff), with(Quarantined), with(Failed),
		draining,
	}
}

func TestTheTableOfAllStatesAndEventsIsTheOneInTheDocs(t *testing.T) {
	columns := []struct {
		name       string
		kind       eventKind
		generation uint64
	}{
		{"begin", begin, 0}, {"7 ready", ready, 7}, {"7 exited", exited, 7}, {"7 broken", broken, 7},
		{"timer", timer, 8}, {"propose", propose, 0}, {"commit 8", commit, 8}, {"withdraw 8", withdraw, 8},
		{"renew", renew, 0}, {"stop", stop, 0},
	}
	var b strings.Builder
	b.WriteString("| state |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(columns)) + "\n")
	for _, m := range docStates() {
		fmt.Fprintf(&b, "| **%s** |", m.state)
		for _, c := range columns {
			after, actions := m.next(event{kind: c.kind, generation: c.generation, at: epoch.Add(time.Second)})
			words := inWords(after, actions)
			if cmp.Equal(after, m, cmp.AllowUnexported(machine{}, rules{}, member{})) && len(actions) == 0 {
				words = ""
			}
			fmt.Fprintf(&b, " %s |", words)
		}
		b.WriteString("\n")
	}
	compareWithDocs(t, b.String())
}

// compareWithDocs compares a table with the one between the markers in
// docs/architecture.md.
func compareWithDocs(t *testing.T, table string) {
	t.Helper()
	const begin, end = "<!-- machine:begin -->\n", "<!-- machine:end -->"
	path := filepath.Join("..", "..", "..", "docs", "architecture.md")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q … %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(old, table); diff != "" {
		t.Errorf("the table in %s is not that of the code; go test -update rewrites it (-docs +code):\n%s", path, diff)
	}
}

func TestAnEventOfAnEarlierLifeChangesNothing(t *testing.T) {
	for _, m := range docStates() {
		for _, kind := range []eventKind{ready, exited, broken, timer, respare, commit, withdraw} {
			after, actions := m.next(event{kind: kind, generation: 6, at: epoch})
			if !cmp.Equal(after, m, cmp.AllowUnexported(machine{}, rules{}, member{})) || actions != nil {
				t.Errorf("event %d in state %v: got %+v and %v, want no change", kind, m.state, after, actions)
			}
		}
	}
}

func TestTheFirstRestartIsAtOnceAndThenTheWaitDoublesUpToItsBound(t *testing.T) {
	r := testRules
	r.loopExits = 0
	d := newDrive(t, r)
	d.send(exited, 1, "starting: start 2")
	generation := uint64(2)
	for _, want := range []string{
		"200ms", "400ms", "800ms", "1.6s", "3.2s", "6.4s", "12.8s", "25.6s", "30s", "30s", "30s",
	} {
		d.send(exited, generation, "backoff: wait "+want)
		d.send(timer, generation, fmt.Sprintf("starting: start %d", generation+1))
		generation++
	}
}

func TestAnInstanceThatWasStableWipesOutEarlierExits(t *testing.T) {
	for _, tt := range []struct {
		lived time.Duration
		want  State
	}{
		{testRules.stableAfter - 1, Backoff},
		{testRules.stableAfter, Starting},
	} {
		m := machine{rules: testRules, state: Starting, last: 3, exits: 4, members: []member{{generation: 3}}}
		m, _ = m.next(event{kind: ready, generation: 3, at: epoch})
		m, _ = m.next(event{kind: exited, generation: 3, at: epoch.Add(tt.lived)})
		if m.state != tt.want {
			t.Errorf("after an exit %v into readiness: got state %v, want %v", tt.lived, m.state, tt.want)
		}
	}
}

func TestACrashLoopEndsInQuarantineWithTrialsFarApart(t *testing.T) {
	d := newDrive(t, testRules)
	d.send(ready, 1, "ready")
	d.send(exited, 1, "starting: start 2")
	d.send(exited, 2, "backoff: wait 200ms")
	d.send(timer, 2, "starting: start 3")
	d.send(exited, 3, "backoff: wait 400ms")
	d.send(timer, 3, "starting: start 4")
	d.send(exited, 4, "backoff: wait 800ms")
	d.send(timer, 4, "starting: start 5")
	d.send(exited, 5, "quarantined: wait 1m0s")
	d.send(timer, 5, "starting: start 6")
	d.send(ready, 6, "ready")
	d.send(exited, 6, "quarantined: wait 2m0s") // the trial came to nothing
	generation := uint64(6)
	for _, want := range []string{"4m0s", "8m0s", "10m0s", "10m0s"} {
		d.send(timer, generation, fmt.Sprintf("starting: start %d", generation+1))
		generation++
		d.send(exited, generation, "quarantined: wait "+want)
	}
	d.send(timer, generation, fmt.Sprintf("starting: start %d", generation+1))
	d.send(ready, generation+1, "ready")
	d.now = d.now.Add(testRules.stableAfter)
	d.send(exited, generation+1, fmt.Sprintf("starting: start %d", generation+2)) // it was stable: out of quarantine
}

func TestExitsThatAreFarApartAreNoCrashLoop(t *testing.T) {
	r := testRules
	r.stableAfter = time.Hour // so that nothing else wipes them out
	d := newDrive(t, r)
	generation := uint64(1)
	for range 20 {
		d.send(ready, generation, "ready")
		d.now = d.now.Add(r.loopWithin / 4)
		d.machine.exits = 0 // no backoff, which is not what this is about
		d.send(exited, generation, fmt.Sprintf("starting: start %d", generation+1))
		generation++
	}
}

func TestACrashLoopCanDisableTheSubsystemUntilAnOperatorComes(t *testing.T) {
	r := testRules
	r.loopExits, r.disable = 2, true
	d := newDrive(t, r)
	d.send(exited, 1, "starting: start 2")
	d.send(exited, 2, "failed")
	d.send(timer, 2, "failed")
	d.send(propose, 0, "failed: start 3")
	d.send(ready, 3, "failed")
	d.send(commit, 3, "ready")
	d.send(exited, 3, "starting: start 4") // all is forgiven
}

func TestASpareTakesOverAtOnceAndIsReplaced(t *testing.T) {
	r := testRules
	r.standby = 1
	d := newDrive(t, r)
	d.send(ready, 1, "ready: start 2")
	d.send(ready, 2, "ready")
	d.send(exited, 1, "ready: wait 100ms for a spare")
	d.send(respare, 2, "ready: start 3")
	if got := d.machine.active(); got != 2 {
		t.Errorf("generation %d serves, want the spare, 2", got)
	}
	d.send(exited, 2, "backoff: wait 200ms") // 3 is not ready yet
	d.send(ready, 3, "ready: wait 100ms for a spare")
	d.send(respare, 3, "ready: start 4")
	if got := d.machine.active(); got != 3 {
		t.Errorf("generation %d serves, want 3, which does not wait for the backoff", got)
	}
	d.send(ready, 4, "ready")
	d.send(exited, 4, "ready: wait 200ms for a spare")
	d.send(respare, 4, "ready: start 5")
	d.send(exited, 5, "ready: wait 400ms for a spare")
	d.send(respare, 5, "ready: start 6")
	d.send(ready, 6, "ready")
	d.machine.rules.standby = 0
	d.send(adopt, 0, "ready: end 6")
	d.send(exited, 6, "ready")
}

func TestASwapStartsTheNextOneFirstAndThenEndsTheOldOne(t *testing.T) {
	r := testRules
	r.standby = 1
	d := newDrive(t, r)
	d.send(ready, 1, "ready: start 2")
	d.send(ready, 2, "ready")
	d.send(propose, 0, "ready: start 3")
	d.send(commit, 3, "ready") // it is not ready yet
	d.send(ready, 3, "ready")
	d.send(commit, 3, "ready: end 1, end 2, start 4")
	if got := d.machine.active(); got != 3 {
		t.Errorf("generation %d serves, want 3", got)
	}
	d.send(exited, 1, "ready")
	d.send(exited, 2, "ready")
	d.send(ready, 4, "ready")
}

func TestACandidateThatDoesNotStartLeavesTheOldOneAlone(t *testing.T) {
	d := newDrive(t, testRules)
	d.send(ready, 1, "ready")
	d.send(propose, 0, "ready: start 2")
	d.send(broken, 2, "ready")
	d.send(propose, 0, "ready: start 3")
	d.send(exited, 3, "ready")
	d.send(propose, 0, "ready: start 4")
	d.send(ready, 4, "ready")
	d.send(withdraw, 4, "ready: end 4")
	d.send(exited, 4, "ready")
	d.send(commit, 4, "ready")
	if d.machine.active() != 1 || len(d.machine.members) != 1 {
		t.Errorf("got %+v, want generation 1 alone", d.machine.members)
	}
}

func TestAnExclusiveInstanceEndsBeforeTheNextOneStarts(t *testing.T) {
	d := newDrive(t, testRules)
	d.send(ready, 1, "ready")
	d.send(renew, 0, "starting: end 1")
	d.send(exited, 1, "starting: start 2")
	d.send(ready, 2, "ready")
	d.send(exited, 2, "starting: start 3")
	d.send(broken, 3, "failed")
	d.send(renew, 0, "starting: start 4") // nothing has to end first
}

func TestEveryLifeThatIsToldToStopEndsStopped(t *testing.T) {
	for _, m := range docStates() {
		state := m.state
		m, _ = m.next(event{kind: stop})
		for _, i := range m.members {
			if i.role != ending {
				t.Errorf("stop in state %v: generation %d is not told to end", state, i.generation)
			}
			m, _ = m.next(event{kind: exited, generation: i.generation, at: epoch})
		}
		if m.state != Stopped || len(m.members) != 0 {
			t.Errorf("stop in state %v: ended in %v with %v, want stopped", state, m.state, m.members)
		}
	}
}

// Whatever happens in whatever order, what is said of the state is true of the
// members, nobody is forgotten, and next leaves its receiver as it was.
func TestNoOrderOfEventsMakesTheMachineContradictItself(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		r := testRules
		r.standby, r.loopExits, r.disable = random.IntN(3), random.IntN(4), random.IntN(2) == 0
		m, _ := machine{rules: r, state: Stopped}.next(event{kind: begin, at: epoch})
		now, pending := epoch, uint64(0) // the wait for the next start that is under way
		for range 60 {
			now = now.Add(time.Duration(random.IntN(int(90 * time.Second))))
			ev := event{kind: eventKind(random.IntN(int(stop))) + 1, generation: uint64(random.IntN(int(m.last) + 2)), at: now}
			switch {
			case ev.kind == stop && random.IntN(10) > 0:
				continue
			case ev.kind == timer:
				ev.generation, pending = pending, 0
			}
			before := fmt.Sprintf("%+v", m)
			next, actions := m.next(ev)
			if after := fmt.Sprintf("%+v", m); after != before {
				t.Fatalf("event %+v changed its receiver from %s to %s", ev, before, after)
			}
			m = next
			for _, a := range actions {
				if a.kind == wait {
					pending = a.generation
				}
			}
			checkMachine(t, m, ev, actions)
			if waits := m.state == Backoff || m.state == Quarantined; waits && (pending == 0 || pending != m.nextWait) {
				t.Fatalf("after %+v: %v, and no wait is under way that ends it", ev, m.state)
			}
		}
	}
}

func checkMachine(t *testing.T, m machine, ev event, actions []action) {
	t.Helper()
	servers := 0
	for _, i := range m.members {
		if i.role == serving {
			servers++
		}
	}
	for _, a := range actions {
		i := m.find(a.generation)
		if a.kind == start && i < 0 || a.kind == end && (i < 0 || m.members[i].role != ending) {
			t.Fatalf("after %+v: action %+v with members %+v", ev, a, m.members)
		}
	}
	var ok bool
	switch m.state {
	case Ready:
		ok = servers == 1 && m.active() != 0
	case Starting:
		ok = m.active() == 0 && (servers == 1 || servers == 0 && m.anyEnding())
	case Stopped:
		ok = len(m.members) == 0
	case Draining:
		ok = !slices.ContainsFunc(m.members, func(i member) bool { return i.role != ending })
	case Backoff, Quarantined, Failed:
		ok = servers == 0
	}
	if !ok {
		t.Fatalf("after %+v: %v with members %+v", ev, m.state, m.members)
	}
}

func TestNoRuleOverflowsTheWait(t *testing.T) {
	r := rules{backoff: time.Nanosecond, maxBackoff: 1<<63 - 1}
	for exits := 2; exits < 200; exits++ {
		if w, tw := r.wait(exits), r.trialWait(exits); w <= 0 || tw <= 0 {
			t.Fatalf("after %d exits: got waits %v and %v", exits, w, tw)
		}
	}
}
