package lease

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestALockHoldsForItsPathAndBelow(t *testing.T) {
	now := time.Unix(1000, 0)
	table := NewTable(State{})
	held, err := table.Grant("a/b", "me", time.Minute, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, token string
		below       bool
		after       time.Duration
		held        bool
	}{
		{"a/b", "", false, 0, true},
		{"a/b/c", "", false, 0, true},
		{"a/b/c", "x", false, 0, true},
		{"a/b/c", held.Token, false, 0, false},
		{"a", "", false, 0, false},
		{"a", "", true, 0, true},
		{".", "", true, 0, true},
		{"a", held.Token, true, 0, false},
		{"a/bc", "", true, 0, false},
		{"a/b", "", true, time.Minute, false},
	} {
		err := table.Check(c.path, c.token, c.below, now.Add(c.after))
		if got, ok := errors.AsType[*Held](err); ok != c.held || ok && got.Lock != held {
			t.Errorf("Check(%q, %q, %v) after %v: got %v, want held %v", c.path, c.token, c.below, c.after, err, c.held)
		}
	}
	for _, path := range []string{"a", "a/b", "a/b/c", "."} {
		if _, err := table.Grant(path, "", time.Minute, now); err == nil {
			t.Errorf("Grant(%q): got a second lock", path)
		}
	}
}

func TestFencesGrowAcrossStatesAndClocks(t *testing.T) {
	table := NewTable(State{})
	first, err := table.Grant("a", "", time.Second, time.Unix(1000, 0))
	if err != nil {
		t.Fatal(err)
	}
	table = NewTable(table.State(time.Unix(1000, 0)))
	second, err := table.Grant("b", "", time.Second, time.Unix(10, 0)) // the clock was set back
	if err != nil || second.Fence != first.Fence+1 {
		t.Errorf("got %d, %v, want %d", second.Fence, err, first.Fence+1)
	}
	lost, err := NewTable(State{}).Grant("a", "", time.Second, time.Unix(2000, 0)) // the state is gone
	if err != nil || lost.Fence <= second.Fence {
		t.Errorf("got %d, %v, want more than %d", lost.Fence, err, second.Fence)
	}
}

func TestTheStateHasWhatHasNotExpired(t *testing.T) {
	now := time.Unix(1000, 0).UTC()
	table := NewTable(State{})
	for path, ttl := range map[string]time.Duration{"b": time.Minute, "a": time.Minute, "c": time.Second} {
		if _, err := table.Grant(path, "", ttl, now); err != nil {
			t.Fatal(err)
		}
	}
	changed := table.Changed()
	state := table.State(now.Add(time.Second))
	var paths []string
	for _, l := range state.Locks {
		paths = append(paths, l.Path)
	}
	if diff := cmp.Diff([]string{"a", "b"}, paths); diff != "" {
		t.Errorf("locks (-want +got):\n%s", diff)
	}
	if err := table.Release("a", "wrong", now); !errors.Is(err, ErrNotHeld) {
		t.Errorf("a wrong token: got %v", err)
	}
	if err := table.Release("a", state.Locks[0].Token, now); err != nil {
		t.Error(err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told that a lock was given back")
	}
}
