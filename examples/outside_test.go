package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestAnExampleBuildsAndPassesOutsideThisTree copies examples/hello away, as
// somebody does who starts a plugin from it, and builds and tests the copy
// against the sdk, without the workspace.
func TestAnExampleBuildsAndPassesOutsideThisTree(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "hello"), os.DirFS("hello")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"mod", "edit", "-replace=github.com/gaia-go/gaia/proto=" + root + "/proto", "-replace=github.com/gaia-go/gaia/sdk=" + root + "/sdk"},
		{"build", "-o", filepath.Join(dir, "bin"), "./hello"},
		{"test", "./hello"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "PWD="+dir)
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, output)
		}
	}
}
