package spawn_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
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

// BenchmarkWaiting tells what a process costs this program that runs and is
// waited for: its share of the memory that is in use.
func BenchmarkWaiting(b *testing.B) {
	const many = 500
	f := forest(b)
	for b.Loop() {
		before := inUse()
		processes := make([]*spawn.Process, 0, many)
		groups := make([]*tree.Group, 0, many)
		for n := range many {
			g, err := f.New(strconv.Itoa(n), tree.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			p, err := spawn.Start(spawn.Config{Path: "/bin/sleep", Args: []string{"1000"}, Group: g})
			if err != nil {
				b.Fatal(err)
			}
			processes, groups = append(processes, p), append(groups, g)
		}
		b.ReportMetric(float64(inUse()-before)/many, "B/process")
		for i, p := range processes {
			if err := groups[i].Kill(b.Context()); err != nil {
				b.Error(err)
			}
			if _, err := p.Wait(b.Context()); err != nil {
				b.Error(err)
			}
			if err := errors.Join(p.Close(), groups[i].Remove()); err != nil {
				b.Error(err)
			}
		}
	}
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
