package search

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
)

// BenchmarkTree searches a tree of 50,000 files and 300 MB, in memory by the second
// round, beside grep, and ripgrep where it is installed.
func BenchmarkTree(b *testing.B) {
	root := largeTree(b)
	for name, flags := range map[string]string{"needle2718": "-F", "fu[n]c +needle": "-E", "NEEDLE2718": "-Fi", "[0-9]{12}": "-E"} {
		b.Run(name+"/gaia", func(b *testing.B) {
			for b.Loop() {
				run(b, root, &filev1.SearchRequest{Content: name, IgnoreCase: flags == "-Fi"})
			}
		})
		for _, tool := range [][]string{{"grep", "-rn", flags}, {"rg", "-n", "-uuu", flags}} {
			if _, err := exec.LookPath(tool[0]); err != nil || tool[0] == "rg" && flags == "-E" {
				continue
			}
			b.Run(name+"/"+tool[0], func(b *testing.B) {
				for b.Loop() {
					cmd := exec.CommandContext(b.Context(), tool[0], append(tool[1:], name, root.Name())...)
					if exit, ok := errors.AsType[*exec.ExitError](cmd.Run()); ok && exit.ExitCode() > 1 {
						b.Fatal(exit)
					}
				}
			})
		}
	}
	b.Run("names/gaia", func(b *testing.B) {
		for b.Loop() {
			run(b, root, &filev1.SearchRequest{Glob: []string{"**/*99.go"}, MaxResults: maxResults})
		}
	})
	b.Run("names/find", func(b *testing.B) {
		for b.Loop() {
			if err := exec.CommandContext(b.Context(), "find", root.Name(), "-name", "*99.go").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func largeTree(b *testing.B) testRoot {
	b.Helper()
	dir := b.TempDir()
	random := rand.New(rand.NewPCG(1, 1))
	for d := range 1000 {
		sub := filepath.Join(dir, fmt.Sprint(d%10), fmt.Sprint(d%100), fmt.Sprint(d))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range 50 {
			var text bytes.Buffer
			for size := random.IntN(12_000); text.Len() < size; {
				fmt.Fprintf(&text, "\tif err := thing%d.Do(ctx, %d); err != nil { return err } // and so on\n", random.IntN(1000), f)
			}
			if d == 500 && f == 25 {
				text.WriteString("func needle2718() {}\n")
			}
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file%d.go", f)), text.Bytes(), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	return newRoot(b, dir)
}
