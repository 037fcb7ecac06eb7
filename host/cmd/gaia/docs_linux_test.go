package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

const (
	// pagePatience bounds the commands of one page.
	pagePatience = 2 * time.Minute
	// mark begins the lines by which a session tells what it has come to.
	mark = "::docs:: "
	// notRun, with a reason, in a comment before a block leaves it out.
	notRun = "not run: "
	// into, with the name of a subsystem and perhaps "config", says where the
	// arguments of a block of HCL belong.
	into = "into: "
)

// TestTheCommandsOfTheDocsWork pastes the sh blocks of each page into a shell, in
// their order, in a fresh copy of this tree with a host that runs, and puts its
// hcl blocks into config.hcl. A block of text after one of sh is what that has
// printed. The shell has a network of its own, with the addresses that the docs
// name and a stand-in for the internet.
func TestTheCommandsOfTheDocsWork(t *testing.T) {
	for _, program := range []string{"bash", "curl", "jq", "make", "openssl", "pkill", "promtool", headlessShell} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the docs need it: %v", err) // make test installs what is missing, where it can
		}
	}
	for _, page := range documented(t) {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			runPage(t, page)
		})
	}
}

func runPage(t *testing.T, page string) {
	t.Helper()
	all := blocks(t, filepath.Join(repository, page))
	if !slices.ContainsFunc(all, func(b fenced) bool { return b.lang == "sh" }) {
		t.Skip("it has no commands")
	}
	dir := newTree(t)
	s := session{t: t, page: page, dir: dir, blocks: all}
	output, err := s.run()
	ended, _ := errors.AsType[*exec.ExitError](err)
	if errors.Is(err, syscall.EPERM) || ended != nil && ended.ExitCode() == noWorld {
		t.Skipf("no namespaces of our own: %v\n%s", err, output)
	}
	printed := s.sections(output)
	if err != nil {
		t.Fatalf("%s: %v\n%s", page, err, output)
	}
	for i, b := range all {
		if b.lang != "text" || i == 0 || all[i-1].lang != "sh" || skipped(b) != "" || skipped(all[i-1]) != "" {
			continue
		}
		if line := missing(b.text, printed[i-1]); line != "" {
			t.Errorf("%s:%d: this line was not printed: %s\nprinted was:\n%s", page, b.line, line, printed[i-1])
		}
	}
}

// skipped returns why a block is not run; "" if it is.
func skipped(b fenced) string {
	reason, _ := strings.CutPrefix(b.comment, notRun)
	if reason == b.comment {
		return ""
	}
	return reason
}

// newTree makes a directory with a copy of this tree in "shipped", built as by
// make build, and returns the directory.
func newTree(t *testing.T) string {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "gaia") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tree := filepath.Join(dir, "shipped")
	for _, name := range []string{"README.md", "Makefile", "config.hcl", "go.work", "go.work.sum", "docs", "examples", "proto", "sdk", "host", "plugins"} {
		copyTree(t, filepath.Join(repository, name), filepath.Join(tree, name))
	}
	for name := range programs() {
		to := filepath.Join(tree, "bin", name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(filepath.Join(bin, name), to); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		err = os.CopyFS(to, os.DirFS(from))
	} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		err = os.WriteFile(to, []byte(readText(t, from)), info.Mode())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// session is a shell that runs the blocks of one page.
type session struct {
	t      *testing.T
	page   string
	dir    string
	blocks []fenced
}

// preamble is what the shell of every page knows. The host that a page runs in the
// foreground has a terminal of its own, so to speak.
const preamble = `
set -o pipefail
failed() { echo; echo "::docs:: failed $block $1"; sed 's/^/host: /' "$top/host.log"; exit 1; }
trap 'failed $LINENO' ERR
touch "$top/host.log"
foreground() {
	"$@" >"$top/host.log" 2>&1 & host=$!
	until grep -q '^gRPC' "$top/host.log"; do kill -0 $host || failed 0; sleep 0.05; done
	cat "$top/host.log"
}
finish() {
	trap - ERR
	kill -TERM $host; wait $host
	code=$?
	case $code in 0 | 2 | 143) ;; *) echo "the host ended with $code"; sed 's/^/host: /' "$top/host.log"; exit 1 ;; esac
}
block=0
`

// run runs all blocks and returns what they have printed.
func (s session) run() (string, error) {
	script := "top=" + s.dir + "\n" + preamble
	if !s.has(clone) {
		script += "cd shipped\nexport PATH=$PWD/bin:$PATH\n"
	}
	if !s.has(hostRuns) {
		script += "foreground make -o build -o browser run >/dev/null\n"
	}
	for i, b := range s.blocks {
		if reason := skipped(b); reason != "" {
			s.t.Logf("not run: %s:%d: %s", s.page, b.line, reason)
			continue
		}
		file := fmt.Sprintf("%s/%d.%s", s.dir, i, b.lang)
		switch b.lang {
		case "sh":
			s.write(file, shell(b.text))
			script += fmt.Sprintf("block=%d; echo; echo '%s%d'; source %s\n", i, mark, i, file)
		case "hcl":
			s.write(file, b.text)
			where, _ := strings.CutPrefix(b.comment, into)
			script += fmt.Sprintf("block=%d; echo; echo '%s%d'; docs-apply config.hcl %s %s\n", i, mark, i, file, where)
		}
	}
	s.write(s.dir+"/all.sh", script+"finish\n")
	newInternet(s.t, s.dir)
	ctx, cancel := context.WithTimeout(s.t.Context(), pagePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docs-internet", s.dir, "bash", s.dir+"/all.sh")
	cmd.Dir = s.dir
	cmd.Env = environment()
	cmd.SysProcAttr = ownWorld()
	cmd.WaitDelay = patience
	output, err := cmd.CombinedOutput()
	return string(output), s.where(string(output), err)
}

// has reports whether the page has a command like that.
func (s session) has(command *regexp.Regexp) bool {
	return slices.ContainsFunc(s.blocks, func(b fenced) bool { return b.lang == "sh" && skipped(b) == "" && command.MatchString(b.text) })
}

func (s session) write(path, content string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

var (
	hostRuns = regexp.MustCompile(`(?m)^(make run|gaia run|bin/gaia run)( [^&\n]*)?$`)
	refused  = regexp.MustCompile(`^(.*\S) +# (refused|denied)\b`)
	clone    = regexp.MustCompile(`(?m)^git clone \S+`)
)

// shell makes of a block what a script can run: hosts go into the background, the
// clone is there already, and commands whose comment says that they are refused
// have to be.
func shell(text string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		line = clone.ReplaceAllString(line, "mv $$top/shipped gaia")
		code, _, _ := strings.Cut(line, " #")
		if code = strings.TrimSpace(code); hostRuns.MatchString(code) {
			line = "foreground " + strings.Replace(code, "make run", "make -o build -o browser run", 1)
		}
		if strings.Contains(code, " && ") && !strings.Contains(code, "||") && !strings.HasSuffix(code, "\\") {
			line = code + " || failed $LINENO" // bash traps only the last command of a list
		}
		if m := refused.FindStringSubmatch(line); m != nil {
			line = "if { " + m[1] + "; } then failed $LINENO; fi"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n") + "\n"
}

// sections splits what was printed by block.
func (s session) sections(output string) map[int]string {
	all := map[int]string{}
	for _, part := range strings.Split(output, "\n"+mark)[1:] {
		first, rest, _ := strings.Cut(part, "\n")
		if n, err := strconv.Atoi(first); err == nil {
			all[n] = rest
		}
	}
	return all
}

// where says which line of the page has failed.
func (s session) where(output string, err error) error {
	_, rest, ok := strings.Cut(output, "\n"+mark+"failed ")
	var n, line int
	if !ok {
		return err
	}
	if _, scanned := fmt.Sscanf(rest, "%d %d", &n, &line); scanned != nil || n >= len(s.blocks) {
		return err
	}
	b := s.blocks[n]
	text := ""
	if lines := strings.Split(b.text, "\n"); b.lang == "sh" && line > 0 && line <= len(lines) {
		text = lines[line-1]
	}
	return fmt.Errorf("line %d: %s: %w", b.line+line, text, err)
}

// applyHCL is `docs-apply FILE PIECE [SUBSYSTEM [config]]`: it puts what PIECE has
// into FILE, as a reader would by hand.
func applyHCL() {
	if err := apply(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func apply(path, piece string, where []string) error {
	file, err := parseHCL(path)
	if err != nil {
		return err
	}
	added, err := parseHCL(piece)
	if err != nil {
		return err
	}
	at := file.Body()
	if len(where) > 0 {
		at = ensure(at, "subsystem", where[:1])
	}
	if len(where) > 1 {
		at = ensure(at, where[1], nil)
	}
	merge(at, added.Body())
	return os.WriteFile(path, hclwrite.Format(file.Bytes()), 0o600)
}

func parseHCL(path string) (*hclwrite.File, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file, diags := hclwrite.ParseConfig(content, path, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	return file, nil
}

// ensure returns the body of a block, which is added if it is not there.
func ensure(body *hclwrite.Body, kind string, labels []string) *hclwrite.Body {
	if b := body.FirstMatchingBlock(kind, labels); b != nil {
		return b.Body()
	}
	return body.AppendNewBlock(kind, labels).Body()
}

// merge adds from to body: arguments take the place of those of their name, and
// blocks that of all of their kind and labels, but for those that hold others'.
func merge(body, from *hclwrite.Body) {
	for name, attribute := range from.Attributes() {
		body.SetAttributeRaw(name, attribute.Expr().BuildTokens(nil))
	}
	replaced := map[string]bool{}
	for _, b := range from.Blocks() {
		if kind := b.Type(); kind == "subsystem" || kind == "config" || kind == "host" {
			merge(ensure(body, kind, b.Labels()), b.Body())
			continue
		}
		name := fmt.Sprint(b.Type(), b.Labels())
		for old := body.FirstMatchingBlock(b.Type(), b.Labels()); old != nil && !replaced[name]; old = body.FirstMatchingBlock(b.Type(), b.Labels()) {
			body.RemoveBlock(old)
		}
		replaced[name] = true
		body.AppendBlock(b)
	}
}
