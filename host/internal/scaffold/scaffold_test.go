package scaffold

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gaia-go/gaia/host/internal/protoc"
)

// checkout is the tree that this test lies in.
func checkout(t *testing.T) string {
	t.Helper()
	dir, err := CheckCheckout("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "PWD="+dir)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, output)
	}
}

func TestAPluginInGoIsFormattedBuildsAndPassesItsTests(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "word-counter")
	result, err := New(t.Context(), Options{Name: "word-counter", Lang: "go", Dir: dir, Checkout: checkout(t)})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Complete {
		t.Error("it is not complete, with a checkout")
	}
	want := []string{
		".gitignore", "README.md", "config.hcl", "descriptors.binpb", "go.mod", "go.sum", "main.go",
		"proto/word_counter/v1/doc.go", "proto/word_counter/v1/word_counter.pb.go", "proto/word_counter/v1/word_counter.proto", "proto/word_counter/v1/word_counter_grpc.pb.go",
		"service.go", "service_test.go",
	}
	if diff := cmp.Diff(want, result.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if output, err := exec.CommandContext(t.Context(), "gofmt", "-l", dir).CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("gofmt: %v, not formatted: %s", err, output)
	}
	run(t, dir, "go", "vet", "./...")
	run(t, dir, "go", "test", "./...")
}

func TestAPluginInPythonPassesItsTests(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.CommandContext(t.Context(), python, "-c", "import grpc").Run(); err != nil {
		t.Skip("no grpcio: apt-get install python3-grpcio")
	}
	dir := filepath.Join(t.TempDir(), "word-counter")
	if _, err := New(t.Context(), Options{Name: "word-counter", Lang: "python", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	run(t, dir, python, "test_service.py")
}

func TestWithoutACheckoutThePluginRequiresTheRelease(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hello")
	result, err := New(t.Context(), Options{Name: "hello", Lang: "go", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), "replace") || result.Complete {
		t.Errorf("complete is %v, want false; go.mod is\n%s", result.Complete, content)
	}
	// The release is not there yet; with it, these commands are what is printed.
	run(t, dir, "go", "mod", "edit", "-replace=github.com/gaia-go/gaia/sdk="+checkout(t)+"/sdk", "-replace=github.com/gaia-go/gaia/proto="+checkout(t)+"/proto")
	run(t, dir, "go", "mod", "tidy")
	if _, err := protoc.Generate(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "go", "mod", "tidy")
	run(t, dir, "go", "build", "-o", filepath.Join(t.TempDir(), "hello"), ".")
}

func TestNothingHalfWrittenStays(t *testing.T) {
	parent := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // go mod tidy does not get far
	_, err := New(ctx, Options{Name: "hello", Lang: "go", Dir: filepath.Join(parent, "hello"), Checkout: checkout(t)})
	if err == nil {
		t.Error("a plugin was written though its module could not be tidied")
	}
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAFolderThatExistsStaysAsItIs(t *testing.T) {
	dir := t.TempDir()
	_, err := New(t.Context(), Options{Name: "hello", Lang: "go", Dir: dir})
	if err == nil || !strings.Contains(err.Error(), dir+" exists") {
		t.Errorf("got %v, want that %s exists", err, dir)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("written: %v", left)
	}
}

func TestACheckoutMayLieInAFolderWithASpace(t *testing.T) {
	link := filepath.Join(t.TempDir(), "my checkout")
	if err := os.Symlink(checkout(t), link); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "hello") + "/"
	result, err := New(t.Context(), Options{Name: "hello", Lang: "go", Dir: dir, Checkout: link})
	if err != nil {
		t.Fatal(err)
	}
	run(t, result.Dir, "go", "build", ".")
}

func TestANameIsCheckedAndABetterOneProposed(t *testing.T) {
	for name, want := range map[string]string{
		"word-counter":          "",
		"a":                     "",
		"x2-y3":                 "",
		"WordCounter":           `"word-counter"`,
		"word_counter":          `"word-counter"`,
		"2words":                `"words"`,
		"-words-":               `"words"`,
		"a--b":                  `"a-b"`,
		"../etc":                `"etc"`,
		"":                      "begins with a letter",
		"日本":                    "begins with a letter",
		"func":                  "keyword of Go",
		"plugin":                "taken",
		"host":                  "taken",
		"for-windows":           `"for-windows-plugin"`,
		"x-arm64":               "Go would build its files for that alone",
		"windows":               "",
		strings.Repeat("a", 41): "at most 40",
	} {
		err := CheckName(name)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: got %v, want no error", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
}

func TestACheckoutIsFoundFromAProgramInIt(t *testing.T) {
	root := checkout(t)
	if got := FindCheckout(filepath.Join(root, "Makefile")); got != root {
		t.Errorf("got %q, want %q", got, root)
	}
	if got := FindCheckout("/bin/sh"); got != "" {
		t.Errorf("of /bin/sh: got %q, want none", got)
	}
	if _, err := CheckCheckout(t.TempDir()); err == nil {
		t.Error("an empty folder was taken for a checkout")
	}
}

// TestThePythonOfPluginsIsThatOfTheExample keeps the copy in templates, which is
// embedded, like its original; `make generate` copies it.
func TestThePythonOfPluginsIsThatOfTheExample(t *testing.T) {
	original, err := os.ReadFile("../../../examples/hello-python/gaia_plugin.py")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := templates.ReadFile("templates/python/gaia_plugin.py")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(original), string(ours)); diff != "" {
		t.Errorf("gaia_plugin.py (-example +template), make generate copies it:\n%s", diff)
	}
}
