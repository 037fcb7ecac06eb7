package glob

import (
	"strings"
	"testing"
)

func TestPatternsMatchWholePaths(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		match   string // paths, separated by spaces
		miss    string
	}{
		{"*.go", "a.go .go", "a.c a/b.go"},
		{"**/*.go", "a.go a/b.go a/b/c.go", "a.go/b go a/go"},
		{"**", "a a/b", ""},
		{"src/**", "src/a src/a/b", "srca a/src"},
		{"src/*/x?.txt", "src/a/x1.txt", "src/x1.txt src/a/b/x1.txt src/a/x.txt"},
		{"[a-c]x", "ax cx", "dx x"},
		{"[!a-c]x", "dx", "ax"},
		{"a[!b]c", "a.c", "abc a/c"},
		{`[!\]]\[[^x]*`, "a[b", "][b a[x a[/b"},
		{"{a,b}/*.{go,md}", "a/x.go b/x.md", "c/x.go a/x.c"},
		{"{a,b{c,d}}", "a bc bd", "b c"},
		{"{a/b,c}/d", "a/b/d c/d", "a/d"},
		{`\{a\}`, "{a}", "a"},
		{`a\*`, "a*", "ab"},
		{"[{,}]", "{ } ,", "a"},
		{"**/.env", ".env a/.env", "a/x.env"},
		{"**/*ä", "ä a/bä", "a"},
	} {
		p, err := Compile(tt.pattern)
		if err != nil {
			t.Errorf("Compile(%q): %v", tt.pattern, err)
			continue
		}
		for name := range strings.FieldsSeq(tt.match) {
			if !p.Match(name) {
				t.Errorf("%q does not match %q", tt.pattern, name)
			}
			for dir := range parents(name) {
				if !p.MayMatchBelow(dir) {
					t.Errorf("%q may not match below %q, but matches %q", tt.pattern, dir, name)
				}
			}
		}
		for name := range strings.FieldsSeq(tt.miss) {
			if p.Match(name) {
				t.Errorf("%q matches %q", tt.pattern, name)
			}
		}
	}
}

// parents yields the directories that a path is in.
func parents(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range name {
			if c == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}

func TestDirectoriesWithoutMatchesNeedNotBeEntered(t *testing.T) {
	for pattern, dirs := range map[string]string{
		"*.go":          "a a/b",
		"src/*.go":      "doc src/a",
		"src/**/*.go":   "doc srca",
		"{a,b/c}/*.txt": "a/b c b/d",
	} {
		p, err := Compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for dir := range strings.FieldsSeq(dirs) {
			if p.MayMatchBelow(dir) {
				t.Errorf("%q may match below %q", pattern, dir)
			}
		}
	}
}

func TestErrorsSayWhereAPatternIsWrong(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                          "empty",
		"a[b":                       `"[" at byte 2`,
		"a[b/c]":                    `"[" at byte 2`,
		"a{b,{c}":                   `"{" at byte 2`,
		"ab}":                       `"}" at byte 3`,
		`a\`:                        "backslash at byte 2",
		"/etc":                      `write "etc"`,
		"a/":                        `write "a"`,
		"./a":                       `write "a"`,
		"../a":                      `".." part`,
		"a//b":                      `write "a/b"`,
		strings.Repeat("{a,b}", 30): "more than 256",
		strings.Repeat("a", 2000):   "2000 bytes",
	} {
		if _, err := Compile(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Compile(%q): %v, want %q", pattern, err, want)
		}
	}
}

func FuzzWhatCompilesMatchesWithoutPanic(f *testing.F) {
	f.Add("**/{a,[b-c]}*/?", "a/b/c")
	f.Add(`[!]-]\{**`, "]")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := Compile(pattern)
		if err != nil {
			return
		}
		if p.Match(name) && strings.Contains(name, "/") {
			dir := name[:strings.LastIndex(name, "/")]
			if dir != "" && !strings.Contains(name, "//") && !p.MayMatchBelow(dir) {
				t.Errorf("%q matches %q, but not below %q", pattern, name, dir)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, pattern := range []string{"**/*.go", "**/x*.go", "{a,b}/**/*.{go,md}"} {
		p, err := Compile(pattern)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(pattern, func(b *testing.B) {
			for b.Loop() {
				p.Match("a/some/path/to/a/file.txt")
			}
		})
	}
}
