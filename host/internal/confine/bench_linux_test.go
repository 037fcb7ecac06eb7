package confine

import (
	"os/exec"
	"testing"
)

// BenchmarkLaunch starts a program that does nothing and waits for it, bare and
// in a group of its own with all limits.
func BenchmarkLaunch(b *testing.B) {
	run := func(b *testing.B, launch func(cmd *exec.Cmd) error) {
		b.Helper()
		cmd := &exec.Cmd{Path: "/bin/true"}
		if err := launch(cmd); err != nil {
			b.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			run(b, (*exec.Cmd).Start)
		}
	})
	for name, wanted := range map[string]func(hierarchy) bool{
		"limited": anyHierarchy, "version-1": separate, "version-2": unified, "rlimits": noHierarchy,
	} {
		b.Run(name, func(b *testing.B) {
			c := confiner(b, wanted)
			for b.Loop() {
				g := c.Group("bench", Limits{Memory: 64 * mib, CPU: 2, Processes: 16, OpenFiles: 64})
				run(b, g.Launch)
				if err := g.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
