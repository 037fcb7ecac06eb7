package gate

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/status"
)

func TestTheExactOverrideWinsAndThenTheLongestSuffix(t *testing.T) {
	quota := func(n uint64) Quota { return Quota{Events: n, Per: time.Second, Burst: 1} }
	o := newOverrides([]Override{
		{"*.com", quota(1)}, {"*.example.com", quota(2)}, {"api.example.com", quota(3)}, {"*.b.example.com", quota(4)}, {"", quota(5)}, {"*", quota(6)},
	}, `rate["r"]`)
	for value, want := range map[string]uint64{
		"api.example.com":   3,
		"www.example.com":   2,
		"a.b.example.com":   4,
		"x.a.b.example.com": 4,
		"b.example.com":     2,
		"example.com":       1,
		".example.com":      2,
		"com":               0,
		"xexample.com":      1,
		"example.org":       0,
		"api.example.com.":  0,
		"":                  5,
		"*":                 6,
		"any":               0,
	} {
		var got uint64
		if p := o.find(value); p != nil {
			got = p.Events
		}
		if got != want {
			t.Errorf("%q: override %d, want %d", value, got, want)
		}
	}
}

func TestAnOverriddenValueIsHeldToItsOwnLimit(t *testing.T) {
	g := New(Config{Rates: []Rate{{
		Name: "r", Key: "domain", Quota: Quota{1, time.Hour, 1},
		Overrides: []Override{{"*.example.com", Quota{1, time.Hour, 3}}},
	}}}, nil)
	for _, c := range []struct {
		domain string
		want   int
	}{{"a.example.com", 3}, {"B.Example.com", 3}, {"other.org", 1}} {
		admitted := 0
		for range 10 {
			err := try(t, g, c.domain)
			if err == nil {
				admitted++
			} else if c.want == 3 && !strings.Contains(status.Convert(err).Message(), `raise rate["r"].override["*.example.com"].limit`) {
				t.Errorf("%s: the remedy is missing: %v", c.domain, err)
			}
		}
		if admitted != c.want {
			t.Errorf("%s: %d admitted, want %d", c.domain, admitted, c.want)
		}
	}
}

// FuzzOverrides compares the look-up with the definition.
func FuzzOverrides(f *testing.F) {
	f.Add("*.example.com\n*.com\nexample.com", "www.example.com")
	f.Add("*.\n*\n\n*..", "..")
	f.Add("*.a.a\n*.a", "a.a.a")
	f.Fuzz(func(t *testing.T, lines, value string) {
		all := []Override{}
		seen := map[string]bool{}
		for i, pattern := range strings.Split(lines, "\n") {
			if !seen[pattern] { // config.hcl has each once
				seen[pattern] = true
				all = append(all, Override{pattern, Quota{Events: uint64(i + 1), Per: time.Second}})
			}
		}
		var want uint64
		longest := -1
		for _, o := range all {
			suffix, isSuffix := strings.CutPrefix(o.Pattern, "*")
			isSuffix = isSuffix && strings.HasPrefix(suffix, ".")
			switch {
			case !isSuffix && o.Pattern == value:
				want, longest = o.Events, len(value)+1
			case isSuffix && strings.HasSuffix(value, suffix) && len(suffix) > longest:
				want, longest = o.Events, len(suffix)
			}
		}
		var got uint64
		if p := newOverrides(all, "").find(value); p != nil {
			got = p.Events
		}
		if got != want {
			t.Errorf("%q in %q: override %d, want %d", value, lines, got, want)
		}
	})
}
