package cli_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite docs/cli.md")

func TestDocsOfCommandsAreUpToDate(t *testing.T) {
	t.Parallel()
	got := runCommand(t.Context(), nil, strings.NewReader(""), "docs", "reference")
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	const path = "../../../docs/cli.md"
	if *update {
		if err := os.WriteFile(path, []byte(got.stdout), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.stdout); diff != "" {
		t.Errorf("docs/cli.md is out of date; make generate (-docs +commands):\n%s", diff)
	}
}

func TestEachCommandHasAManPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got := runCommand(t.Context(), nil, strings.NewReader(""), "docs", "man", dir); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	for _, page := range []string{"gaia.1", "gaia-call.1", "gaia-top.1", "gaia-plugin-info.1"} {
		content, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !strings.Contains(string(content), ".SH SYNOPSIS") {
			t.Errorf("%s: %v\n%s", page, err, content)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "gaia-docs.1")); err == nil {
		t.Error("a hidden command has a page")
	}
}
