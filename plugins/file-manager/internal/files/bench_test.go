package files

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
)

func BenchmarkReadFile4K(b *testing.B) {
	m, dir := benchManager(b, filev1.Durability_NONE)
	if err := os.MkdirAll(filepath.Join(dir, "a/b/c/d"), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a/b/c/d/f"), make([]byte, 4096), 0o644); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := m.ReadFile(b.Context(), &filev1.ReadFileRequest{Root: "r", Path: "a/b/c/d/f"}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// 500 callers replace files in one directory, where ext4 makes them wait for each
// other.
func BenchmarkWriteFile4K(b *testing.B) {
	for _, durability := range []filev1.Durability{filev1.Durability_FSYNC, filev1.Durability_NONE} {
		for _, callers := range []int{2, 500} {
			b.Run(fmt.Sprintf("%v/%d", durability, callers), func(b *testing.B) {
				m, _ := benchManager(b, durability)
				content := bytes.Repeat([]byte("x"), 4096)
				next := atomic.Int64{}
				b.SetParallelism(callers / 2)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					path := fmt.Sprintf("f%d", next.Add(1))
					for pb.Next() {
						_, err := m.WriteFile(b.Context(), &filev1.WriteFileRequest{Root: "r", Path: path, Content: content})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

func benchManager(b *testing.B, durability filev1.Durability) (*Manager, string) {
	b.Helper()
	dir := b.TempDir()
	m := New()
	err := m.Configure(b.Context(), &filev1.Config{Root: map[string]*filev1.Root{
		"r": {Path: dir, Mode: filev1.Mode_RW, Durability: durability},
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Shutdown(b.Context()); err != nil {
			b.Error(err)
		}
	})
	return m, dir
}
