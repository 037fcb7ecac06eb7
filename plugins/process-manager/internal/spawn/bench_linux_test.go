package spawn_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
)

// static builds a program that does nothing and needs no loader.
func static(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "true")
	cmd := exec.CommandContext(b.Context(), "cc", "-static", "-x", "c", "-o", path, "-")
	cmd.Stdin = strings.NewReader("int main(void) { return 0; }")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Skipf("no C compiler: %v: %s", err, out)
	}
	return path
}

// BenchmarkStart starts a program that does nothing and waits for it, as many at
// once as there are cores.
func BenchmarkStart(b *testing.B) {
	path := static(b)
	for _, bench := range []struct {
		name   string
		config spawn.Config
		limits *tree.Limits
	}{
		{"bare", spawn.Config{NewPrivileges: true}, nil},
		{"no-new-privs", spawn.Config{}, nil},
		{"landlock", spawn.Config{Read: []string{"/usr"}, Write: []string{"/tmp"}}, nil},
		{"open-files", spawn.Config{OpenFiles: 64}, nil},
		{"group", spawn.Config{}, &tree.Limits{}},
		{"limits", spawn.Config{}, &tree.Limits{Memory: 64 << 20, Processes: 16, CPU: 2}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			f := forest(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := once(b, f, path, bench.config, bench.limits); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func once(b *testing.B, f *tree.Forest, path string, c spawn.Config, l *tree.Limits) error {
	b.Helper()
	c.Path = path
	if l != nil {
		g, err := f.New(fmt.Sprint(rand.Int64()), *l)
		if err != nil {
			return err
		}
		defer func() {
			if err := g.Remove(); err != nil {
				b.Error(err)
			}
		}()
		c.Group = g
	}
	p, err := spawn.Start(c)
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = p.Wait(b.Context())
	return err
}
