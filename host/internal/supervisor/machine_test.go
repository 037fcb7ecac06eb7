package supervisor

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden parts of files")

var allStates = []State{Stopped, Starting, Ready, Backoff, Failed, Draining}

var allEvents = map[eventKind]string{
	begin: "begin", ready: "ready", exited: "exited", broken: "broken", timer: "timer", stop: "stop",
}

var testRules = rules{backoff: 200 * time.Millisecond, maxBackoff: 30 * time.Second, stableAfter: time.Minute}

// machineIn is a machine of generation 7 in a state, with one exit behind it.
func machineIn(s State) machine {
	return machine{rules: testRules, state: s, generation: 7, exits: 1, readySince: time.Unix(0, 0)}
}

func TestTheTableOfAllStatesAndEventsIsTheOneInTheDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString("| state |")
	for kind := range eventKind(len(allEvents)) {
		fmt.Fprintf(&b, " %s |", allEvents[kind])
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(allEvents)) + "\n")
	for _, s := range allStates {
		fmt.Fprintf(&b, "| **%s** |", s)
		for kind := range eventKind(len(allEvents)) {
			fmt.Fprintf(&b, " %s |", describe(s, kind))
		}
		b.WriteString("\n")
	}
	compareWithDocs(t, b.String())
}

// describe says what an event does to a machine in a state; "" means nothing.
func describe(s State, kind eventKind) string {
	m := machineIn(s)
	after, actions := m.next(event{kind: kind, generation: 7, at: time.Unix(1, 0)})
	if after == m && len(actions) == 0 {
		return ""
	}
	words := []string{after.state.String()}
	for _, a := range actions {
		words = append(words, [...]string{start: "start", wait: "wait", end: "end it"}[a.kind])
	}
	return strings.Join(words, ", ")
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
	for _, s := range allStates {
		for kind, name := range allEvents {
			m := machineIn(s)
			after, actions := m.next(event{kind: kind, generation: 6, at: time.Unix(1, 0)})
			if after != m || actions != nil {
				t.Errorf("%v in state %v: got %+v and %v, want no change", name, s, after, actions)
			}
		}
	}
}

func TestTheFirstRestartIsAtOnceAndThenTheWaitDoublesUpToItsBound(t *testing.T) {
	m := machine{rules: testRules, state: Stopped}
	m, _ = m.next(event{kind: begin})
	var got []time.Duration
	for range 12 {
		var actions []action
		m, actions = m.next(event{kind: exited, generation: m.generation})
		if len(actions) != 1 {
			t.Fatalf("got actions %v, want one", actions)
		}
		if actions[0].kind == wait {
			got = append(got, actions[0].wait)
			m, actions = m.next(event{kind: timer, generation: m.generation})
		}
		if actions[0].kind != start || m.state != Starting {
			t.Fatalf("got %v in state %v, want a start", actions, m.state)
		}
	}
	ms := time.Millisecond
	want := []time.Duration{
		200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 12800 * ms, 25600 * ms,
		30 * time.Second, 30 * time.Second, 30 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("longest waits (-want +got):\n%s", diff)
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
		m := machine{rules: testRules, state: Starting, generation: 3, exits: 4}
		m, _ = m.next(event{kind: ready, generation: 3, at: time.Unix(100, 0)})
		m, _ = m.next(event{kind: exited, generation: 3, at: time.Unix(100, 0).Add(tt.lived)})
		if m.state != tt.want {
			t.Errorf("after an exit %v into readiness: got state %v, want %v", tt.lived, m.state, tt.want)
		}
	}
}

func TestEveryLifeThatIsToldToStopEndsStopped(t *testing.T) {
	for _, s := range allStates {
		m, actions := machineIn(s).next(event{kind: stop, generation: 7})
		if m.state == Draining {
			if s != Draining && (len(actions) != 1 || actions[0].kind != end) {
				t.Errorf("stop in state %v: got actions %v, want the end of the instance", s, actions)
			}
			m, actions = m.next(event{kind: exited, generation: 7})
		}
		if m.state != Stopped || len(actions) != 0 && s == Stopped {
			t.Errorf("stop in state %v: ended in %v with %v, want stopped", s, m.state, actions)
		}
	}
}

func TestNoRuleOverflowsTheWait(t *testing.T) {
	r := rules{backoff: time.Nanosecond, maxBackoff: 1<<63 - 1}
	for exits := 2; exits < 200; exits++ {
		if w := r.wait(exits); w <= 0 {
			t.Fatalf("after %d exits: got wait %v", exits, w)
		}
	}
}
