package nearest

import (
	"slices"
	"testing"
)

func TestNameFindsWhatWasMeant(t *testing.T) {
	candidates := []string{"concurrency", "queue", "timeout", "URL", "HOLD", "hold", "host"}
	for _, tt := range []struct {
		given string
		want  string // "" means none
	}{
		{"concurrency", "concurrency"},
		{"concurency", "concurrency"},
		{"conccurrency", "concurrency"},
		{"cnocurrency", "concurrency"},
		{"quue", "queue"},
		{"qeueu", "queue"},
		{"timeuot", "timeout"},
		{"Timeout", "timeout"},
		{"url", "URL"},
		{"hold", "hold"},
		{"ur", "URL"},
		{"hots", "host"},
		{"hols", "HOLD"}, // one edit from hold, two from host
		{"hosd", "HOLD"}, // equally near: the alphabetically first
		{"time", ""},
		{"x", ""},
		{"", ""},
		{"concurrencyyyy", ""},
		{"quéue", "queue"},
	} {
		got, ok := Name(tt.given, candidates)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Name(%q) = %q, %v, want %q", tt.given, got, ok, tt.want)
		}
	}
}

func TestNameDoesNotDependOnTheOrderOfCandidates(t *testing.T) {
	candidates := []string{"card", "cart", "care"}
	for range 3 {
		if got, _ := Name("carx", candidates); got != "card" {
			t.Errorf("Name with %q = %q, want %q", candidates, got, "card")
		}
		candidates = append(candidates[1:], candidates[0])
	}
	if !slices.Equal(candidates, []string{"card", "cart", "care"}) {
		t.Errorf("Name changed its argument to %q", candidates)
	}
}

func TestNameOfNoCandidatesIsNone(t *testing.T) {
	if got, ok := Name("queue", nil); ok {
		t.Errorf("Name = %q, want none", got)
	}
}

func TestEditsCountsSwapsOfNeighboursOnce(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"abcd", "badc", 2},
		{"kitten", "sitting", 3},
	} {
		if got := edits([]rune(tt.a), []rune(tt.b)); got != tt.want {
			t.Errorf("edits(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
