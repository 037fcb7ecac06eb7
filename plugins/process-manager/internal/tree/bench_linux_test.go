package tree_test

import (
	"testing"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
)

// BenchmarkKill kills a process that has started 200 others, each of which has
// started a daemon.
func BenchmarkKill(b *testing.B) {
	for name, use := range kinds() {
		b.Run(name, func(b *testing.B) {
			f := open(b, use)
			b.StopTimer()
			for range b.N {
				g, err := f.New("bench", tree.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				s := run(b, g, `i=0; while [ $i -lt 200 ]; do sh -c 'setsid sleep 1000 & exec sleep 1000' & i=$((i+1)); done; echo ready; wait`)
				s.line(b)
				soon(b, "all run", func() bool { return g.Usage().Processes > 400 })
				b.StartTimer()
				if err := g.Kill(b.Context()); err != nil {
					b.Error(err)
				}
				b.StopTimer()
				s.gone(b)
				if err := g.Remove(); err != nil {
					b.Error(err)
				}
			}
		})
	}
}
