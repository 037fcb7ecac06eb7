package bench

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestARowHasTheMedianOfEachFigure(t *testing.T) {
	odd := []Figures{{"a": 3, "b": 10}, {"a": 1, "b": 30}, {"a": 2, "b": 20}}
	want := Row{What: "x", Figures: Figures{"a": 2, "b": 20}, Rounds: odd}
	if diff := cmp.Diff(want, medians("x", odd)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	even := medians("x", odd[:2])
	if got := even.Figures["a"]; got != 2 {
		t.Errorf("median of 3 and 1: got %v, want 2", got)
	}
}

func TestARatioIsThatOfTheSameRound(t *testing.T) {
	ours, peer := []Figures{{"n": 2}, {"n": 30}}, []Figures{{"n": 1}, {"n": 10}}
	ratios(ours, peer, "n")
	if ours[0]["ratio"] != 2 || ours[1]["ratio"] != 3 {
		t.Errorf("got %v, want 2 and 3", ours)
	}
}

func TestAQuantileIsASample(t *testing.T) {
	samples := []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 5, 0.99: 10, 1: 10} {
		if got := quantile(samples, q); got != want {
			t.Errorf("%v: got %v, want %v", q, got, want)
		}
	}
}

func TestNamesHaveTheSizeAskedForAndDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for i := range 512 {
		name := (load{size: 64}).name(i)
		if len(name) != 64 || seen[name] {
			t.Errorf("got %q, want 64 B that no other has", name)
		}
		seen[name] = true
	}
	if got := (load{size: 1}).name(11); got != "1" {
		t.Errorf("a name of one byte: got %q", got)
	}
}
