package search

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/google/go-cmp/cmp"
)

// ignoreTree has what gitignore(5) speaks of.
func ignoreTree(t *testing.T) testRoot {
	t.Helper()
	names := []string{
		"a.log", "keep.log", "sub/a.log", "sub/keep.log", "sub/deep/a.log", "build/out/x", "src/build/y", "src/build.go",
		"doc/frotz/a", "a/doc/frotz/b", "foo/bar/baz", "foo/x", "x/foo/bar", "abc/1/2/def", "abc/def", "abcdef",
		"logs/debug.log", "logs/mon/debug.log", "#hash", "!bang", "trail ", "trail", "br{a,b}ce", "brace", "class-a", "class-1", "class-]",
		"tab\t", "dir/only", "only", "vendor/keep/a", "vendor/drop/a", "deep/one/two/three.tmp", "deep/three.tmp", "star**star", "starxstar",
		`back\slash`, "q1", "qq", "nested/a.txt", "nested/b.txt", "nested/sub/b.txt", "nested/sub/keep.txt", "a?c", "sp ace",
	}
	files := map[string]string{
		".gitignore": "\uFEFF# comment\n*.log\n!keep.log\nbuild/\r\ndoc/frotz\n/foo/bar\nabc/**/def\nlogs/**\n!logs/mon/\n" +
			"\\#hash\n\\!bang\ntrail\\ \nbr{a,b}ce\nclass-[[:alpha:]]\nclass-[]x]\nonly/\nvendor/*\n!vendor/keep\n**/two/*.tmp\n" +
			"star**star\nback\\\\slash\nq?\n[\n\\\n\n/\nun*   \na\\?c\nsp ace",
		"nested/.gitignore":     "*.txt\n!b.txt\n/a.txt\nsub/*\n!sub/keep.txt\n",
		"nested/sub/.gitignore": "b.txt\n",
		"foo/.gitignore":        "!bar\n",
	}
	for _, name := range names {
		files[name] = "text"
	}
	return tree(t, files)
}

// notIgnored compares what a search finds with what git does not ignore.
func notIgnored(t *testing.T, root testRoot) {
	t.Helper()
	git := func(input string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "core.excludesFile=/dev/null", "-C", root.Name()}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
			err = nil // nothing is ignored
		}
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		return string(out)
	}
	git("", "init", "-q")
	var all []string
	if err := filepath.WalkDir(root.Name(), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.Contains(path, "/.git/") {
			name, _ := filepath.Rel(root.Name(), path)
			all = append(all, name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ignored := strings.Split(git(strings.Join(all, "\x00"), "check-ignore", "-z", "--stdin"), "\x00")
	want := slices.DeleteFunc(all, func(name string) bool { return slices.Contains(ignored, name) })
	got, _ := run(t, root, &filev1.SearchRequest{Content: ".", Gitignore: true, MaxResults: maxResults})
	names := []string{}
	for _, match := range got {
		name, _, _ := strings.Cut(match, ":")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		rules, _ := root.ReadFile(".gitignore")
		t.Errorf("what is not ignored (-git +here):\n%s\n%q", diff, rules)
	}
}

func TestGitignoreIsReadAsGitDoes(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	notIgnored(t, ignoreTree(t))
}

func TestRandomGitignoreIsReadAsGitDoes(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	pieces := []string{"a", "b", "ab", "*", "**", "?", "/", "/", "[ab]", "[!a]", "[^b-z]", `\a`, "[[:lower:]]", "{a,b}", ".", "a*", "*b", "[", "]", "[]a]", `\`, "-"}
	names := []string{"a", "b", "ab", "ba", "x", "a.b", "{a,b}", "-", "]", "["}
	random := rand.New(rand.NewPCG(8, 9))
	for range 40 {
		var lines strings.Builder
		for range 1 + random.IntN(4) {
			if random.IntN(4) == 0 {
				lines.WriteByte('!')
			}
			for range 1 + random.IntN(5) {
				lines.WriteString(pieces[random.IntN(len(pieces))])
			}
			lines.WriteString([]string{"\n", "/\n", " \n", "\r\n"}[random.IntN(4)])
		}
		files := map[string]string{".gitignore": lines.String()}
		for range 60 {
			name := "d"
			for range 1 + random.IntN(3) {
				name += "/" + names[random.IntN(len(names))]
			}
			files[name[2:]+"/f"], files[name[2:]+"/ac"] = "text", "text"
		}
		notIgnored(t, tree(t, files))
	}
}

func TestRulesAboveTheDirectorySearchedCount(t *testing.T) {
	root := tree(t, map[string]string{".gitignore": "*.log\n/a/b/x\n", "a/.gitignore": "!y.log", "a/b/x": "", "a/b/y.log": "", "a/b/z.log": "", "a/b/c": ""})
	got, _ := run(t, root, &filev1.SearchRequest{Path: "a/b", Gitignore: true})
	expect(t, got, "a/b/c", "a/b/y.log")
}

func TestARepositoryWithinIsNotSubjectToTheRulesAbove(t *testing.T) {
	root := tree(t, map[string]string{".gitignore": "*.log", "repo/.git/config": "", "repo/a.log": "", "b.log": ""})
	got, _ := run(t, root, &filev1.SearchRequest{Gitignore: true})
	expect(t, got, ".gitignore", "repo", "repo/a.log")
	got, _ = run(t, root, &filev1.SearchRequest{Path: "repo", Gitignore: true})
	expect(t, got, "repo/a.log")
}

func FuzzGitignoreLinesDoNotPanic(f *testing.F) {
	f.Add("[[:alpha:]]**/x\\ ", "a/x")
	f.Fuzz(func(_ *testing.T, line, path string) {
		parseRules([]byte(line), "", nil).ignored(path, true)
	})
}
