package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// repository is the root of this tree, seen from the folder of these tests.
const repository = "../../.."

// fenced is a block between fences of a page, and what a comment just before it says.
type fenced struct {
	line    int    // of the opening fence
	lang    string // "sh", "hcl", "text", …; may be empty
	text    string
	comment string // of "<!-- … -->" on the line before; may be empty
}

var (
	fence       = regexp.MustCompile("^```([a-z]*)$")
	htmlComment = regexp.MustCompile(`^<!-- (.*) -->$`)
)

// blocks returns the fenced blocks of a Markdown file in their order.
func blocks(t testing.TB, path string) []fenced {
	t.Helper()
	var all []fenced
	var open *fenced
	var comment string
	for i, line := range strings.Split(readText(t, path), "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case open != nil && line == "```":
			all = append(all, *open)
			open, comment = nil, ""
		case open != nil:
			open.text += line + "\n"
		case m != nil:
			open = &fenced{line: i + 1, lang: m[1], comment: comment}
		default:
			comment = ""
			if c := htmlComment.FindStringSubmatch(line); c != nil {
				comment = c[1]
			}
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: a block that does not end", path, open.line)
	}
	return all
}

// prose returns a Markdown file without its fenced blocks.
func prose(t testing.TB, path string) string {
	t.Helper()
	var text strings.Builder
	inside := false
	for line := range strings.Lines(readText(t, path)) {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "```") {
			inside = !inside
			continue
		}
		if !inside {
			text.WriteString(line)
		}
	}
	return text.String()
}

func readText(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// markdownFiles lists the Markdown files of the tree, without what tools and runs leave.
func markdownFiles(t testing.TB) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(repository, func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == "bin" || name == "data" || name == "dist" || name == "node_modules" || strings.HasPrefix(name, ".") && name != ".." && path != repository):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".md"):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestNoLinkOfADocumentIsDead follows every relative link of every Markdown
// file to a file, and to a heading in it where it names one.
func TestNoLinkOfADocumentIsDead(t *testing.T) {
	for _, path := range markdownFiles(t) {
		for _, m := range link.FindAllStringSubmatch(prose(t, path), -1) {
			target, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: link %q: %v", path, m[1], err)
				continue
			}
			if target.Scheme != "" {
				continue // the rest of the world
			}
			file := path
			if target.Path != "" {
				file = filepath.Join(filepath.Dir(path), filepath.FromSlash(target.Path))
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link to %s: there is no such file", path, m[1])
			} else if target.Fragment != "" && !slices.Contains(anchors(t, file), target.Fragment) {
				t.Errorf("%s: link to %s: there is no such heading", path, m[1])
			}
		}
	}
}

// anchors of a page's headings, as GitHub makes them.
func anchors(t testing.TB, path string) []string {
	t.Helper()
	var all []string
	for _, m := range heading.FindAllStringSubmatch(prose(t, path), -1) {
		text := dropped.ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(text, " ", "-"))
	}
	return all
}

var (
	digits = regexp.MustCompile(`[0-9]+`)
	// unit is what age and time are printed with; which one depends on the machine.
	unit = regexp.MustCompile(`#(\.#)?(ms|µs|s|KiB|MiB|GiB)\b`)
)

// loosely is a line without what differs from run to run: numbers, their units
// and the width of columns.
func loosely(line string) string {
	line = digits.ReplaceAllString(strings.Join(strings.Fields(line), " "), "#")
	return unit.ReplaceAllString(line, "#")
}

// missing returns the first line of want that got does not have, in order,
// where "…" stands for anything; "" if there is none. JSON is indented for people
// and on one line for programs, such as this one.
func missing(want, got string) string {
	lines := strings.Split(got, "\n")
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(want)) == nil {
		want = compact.String()
	}
	for wanted := range strings.Lines(want) {
		wanted = strings.TrimSpace(wanted)
		if wanted == "" || wanted == "…" {
			continue
		}
		parts := strings.Split(loosely(wanted), "…")
		for i, part := range parts {
			parts[i] = regexp.QuoteMeta(part)
		}
		like := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		at := slices.IndexFunc(lines, func(line string) bool { return like.MatchString(loosely(line)) })
		if at < 0 {
			return wanted
		}
		lines = lines[at+1:]
	}
	return ""
}

// TestOutputIsComparedLoosely guards the comparison itself: one that let
// everything pass would not be noticed.
func TestOutputIsComparedLoosely(t *testing.T) {
	got := "SUBSYSTEM   STATE  PID\napi  ready  4711\nfiles  failed  -\n{\"a\":2}\n"
	for want, lacks := range map[string]string{
		"SUBSYSTEM STATE PID\napi ready 1\n": "",
		"api …\n":                            "",
		"…\nfiles failed -\n":                "",
		"files ready 1\n":                    "files ready 1",
		"files failed -\napi ready 1\n":      "api ready 1",
		"{\n  \"a\": 1\n}\n":                 "",
		"{\n  \"b\": 1\n}\n":                 `{"b":1}`,
	} {
		if missed := missing(want, got); missed != lacks {
			t.Errorf("%q: got %q missing, want %q", want, missed, lacks)
		}
	}
}

// documented are the pages whose commands are run: those that tell somebody to
// paste them.
func documented(t testing.TB) []string {
	t.Helper()
	pages := []string{"README.md", "docs/tutorial.md", "docs/writing-a-plugin.md", "docs/operations.md"}
	howTos, err := filepath.Glob(filepath.Join(repository, "docs/how-to/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range howTos {
		pages = append(pages, filepath.Join("docs/how-to", filepath.Base(path)))
	}
	return slices.DeleteFunc(pages, func(p string) bool {
		_, err := os.Stat(filepath.Join(repository, p))
		return err != nil
	})
}

// TestEveryPageIsInTheIndex keeps docs/README.md whole.
func TestEveryPageIsInTheIndex(t *testing.T) {
	index := readText(t, filepath.Join(repository, "docs/README.md"))
	for _, path := range markdownFiles(t) {
		name, err := filepath.Rel(filepath.Join(repository, "docs"), path)
		if err != nil || strings.HasPrefix(name, "..") || name == "README.md" {
			continue
		}
		if !strings.Contains(index, "("+filepath.ToSlash(name)+")") {
			t.Errorf("docs/README.md has no link to %s", name)
		}
	}
}

// TestTheMapOfTheTreeNamesEachPackage keeps docs/architecture.md whole.
func TestTheMapOfTheTreeNamesEachPackage(t *testing.T) {
	page := readText(t, filepath.Join(repository, "docs/architecture.md"))
	for _, folder := range []string{"host/internal", "sdk"} {
		entries, err := os.ReadDir(filepath.Join(repository, folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			named := regexp.MustCompile(`(?m)\b` + e.Name() + ` +[a-zA-Z]`)
			if e.IsDir() && e.Name() != "internal" && !named.MatchString(page) {
				t.Errorf("docs/architecture.md does not say what %s/%s is", folder, e.Name())
			}
		}
	}
}

// TestEachTextOfTroubleshootingIsSaid looks for the texts in the sources: what is
// quoted and no longer said helps nobody.
func TestEachTextOfTroubleshootingIsSaid(t *testing.T) {
	sources := sourceText(t)
	rows := 0
	for line := range strings.Lines(readText(t, filepath.Join(repository, "docs/troubleshooting.md"))) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || !strings.HasPrefix(line, "| `") {
			continue
		}
		rows++
		for _, m := range quoted.FindAllStringSubmatch(cells[0], -1) {
			for piece := range strings.SplitSeq(m[1], "…") {
				if piece = strings.Trim(piece, " ;:,."); !strings.Contains(sources, piece) {
					t.Errorf("nothing says %q of %q", piece, m[1])
				}
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d rows with texts, want the page as it is", rows)
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// sourceText is all Go of this tree but for tests, with quotes as they are printed.
func sourceText(t testing.TB) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range []string{"host", "sdk", "plugins"} {
		err := filepath.WalkDir(filepath.Join(repository, folder), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				all.WriteString(strings.ReplaceAll(readText(t, path), `\"`, `"`))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}
