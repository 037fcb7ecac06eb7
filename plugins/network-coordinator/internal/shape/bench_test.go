package shape

import "testing"

func BenchmarkTake(b *testing.B) {
	const fast = 1e15 // nobody waits
	for name, rules := range map[string]Rules{
		"unlimited":   {},
		"total":       {Total: Limits{Up: fast}},
		"three lines": {Total: Limits{Up: fast}, PerClient: Limits{Up: fast}, PerHost: Limits{Up: fast}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			s := New()
			s.Set(rules)
			f := s.Join("c", "h")
			for b.Loop() {
				if _, err := f.Up.Take(b.Context(), 64<<10); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJoinAndLeave(b *testing.B) {
	b.ReportAllocs()
	s := New()
	for range 2000 {
		s.Join("c", "h")
	}
	for b.Loop() {
		s.Join("c", "host.example").Leave()
	}
}
