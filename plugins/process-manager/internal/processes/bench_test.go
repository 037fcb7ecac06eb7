package processes

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
)

// staticTrue builds a program that does nothing, with nothing to load.
func staticTrue(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	source, binary := filepath.Join(dir, "true.c"), filepath.Join(dir, "true")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.CommandContext(b.Context(), "cc", "-static", "-O2", "-o", binary, source).CombinedOutput(); err != nil {
		b.Skipf("no C compiler: %v\n%s", err, out)
	}
	return binary
}

// BenchmarkRun is a call of Run beside a bare start and wait, at 8 callers.
func BenchmarkRun(b *testing.B) {
	path := staticTrue(b)
	b.Run("Run", func(b *testing.B) {
		m := New()
		if err := m.Configure(b.Context(), &processv1.Config{LogDir: b.TempDir(), Command: map[string]*processv1.Command{"true": {Path: path}}}); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = m.Shutdown(b.Context()) })
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r, err := m.Run(b.Context(), &processv1.RunRequest{Spec: &processv1.Spec{Command: "true"}})
				if err != nil || r.GetExit().GetCode() != 0 {
					b.Error(r, err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	})
	b.Run("exec", func(b *testing.B) {
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := exec.CommandContext(b.Context(), path).Run(); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	})
}
