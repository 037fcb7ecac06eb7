package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/google/go-cmp/cmp"

	"github.com/gaia-go/gaia/host/internal/config"
)

// A signature that minisign itself has made, of the content and not of its hash.
const (
	vectorContent = "Hello World!\n"
	vectorKey     = "RWRQhGcHOBlzw4CoKyugkk4ioDfoxlXxC9LBx+VNhJ3w9w+cAxgvPsuo"
	vectorSign    = "untrusted comment: signature from minisign secret key\n" +
		"RWRQhGcHOBlzwxrJCyuC+rJfHSfyRKRxkuwa3JJ0bWEs7RHjL1OUmqnTr+V1B9JzFuJIH/ybR2Eus9oEZKt9RbitpF/L4D3+5wg=\n" +
		"trusted comment: timestamp:1614549543\tfile:message.txt\n" +
		"P/722+ynQ+tIy0qadFHwLx5MsyNz/jDKJkDWQj4dDD2OKnVte8m/M14mwPE/1NMwzShPMSBhMXqZGdbe+UZjDg==\n"
)

// checked is the summary of why a file with a signature is refused by who trusts the keys.
func checked(t *testing.T, content, signature string, keys ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	write(t, path, content)
	if signature != "" {
		write(t, path+Suffix, signature)
	}
	return summary(t, Signed(config.Host{TrustedKeys: keys}), path)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// summary is why a policy refuses a file; "" if it does not.
func summary(t *testing.T, p *Policy, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	err = p.Check(f, path, hex.EncodeToString(sum[:]))
	if err == nil {
		return ""
	}
	if refused, ok := errors.AsType[*config.PluginError](err); ok {
		return refused.Summary
	}
	return err.Error()
}

func TestOnlyWhatATrustedKeyHasSignedIsExecuted(t *testing.T) {
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ours := public.String()
	hashed := minisign.NewReader(strings.NewReader("content"))
	if _, err := hashed.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	prehashed := string(hashed.SignWithComments(private, "build 17", "anything"))
	for name, tt := range map[string]struct {
		content, signature string
		keys               []string
		want               string
	}{
		"by minisign, of the content": {vectorContent, vectorSign, []string{vectorKey}, ""},
		"by the second key":           {vectorContent, vectorSign, []string{ours, vectorKey}, ""},
		"of the hash":                 {"content", prehashed, []string{ours}, ""},
		"no signature":                {"content", "", []string{ours}, "Plugin without a signature"},
		"no signature at all":         {"content", "rubbish", []string{ours}, "Signature not readable"},
		"a large one":                 {"content", strings.Repeat("x", maxSignature+1), []string{ours}, "Signature not readable"},
		"another key":                 {vectorContent, vectorSign, []string{ours}, "Signature by an unknown key"},
		"another content":             {"c0ntent", prehashed, []string{ours}, "Signature does not match"},
		"another content, not hashed": {"Hello W0rld!\n", vectorSign, []string{vectorKey}, "Signature does not match"},
		"another trusted comment":     {"content", strings.Replace(prehashed, "build 17", "build 18", 1), []string{ours}, "Signature does not match"},
		"another untrusted comment":   {"content", strings.Replace(prehashed, "anything", "something", 1), []string{ours}, ""},
		"nothing is wanted":           {"content", "", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := checked(t, tt.content, tt.signature, tt.keys...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAVerifiedFileThatChangesIsVerifiedAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "plugin")
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := Signed(config.Host{TrustedKeys: []string{public.String()}})
	write(t, path, "one")
	if _, err := Sign(private, path, "first"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from memory
		if got := summary(t, p, path); got != "" {
			t.Errorf("signed: %s", got)
		}
	}
	write(t, path, "two")
	if got := summary(t, p, path); got != "Signature does not match" {
		t.Errorf("changed: got %q", got)
	}
	write(t, path, "one")
	if err := os.Remove(path + Suffix); err != nil {
		t.Fatal(err)
	}
	if got := summary(t, p, path); got != "Plugin without a signature" {
		t.Errorf("the signature is gone: got %q", got)
	}
}

func TestMinisignAndWeReadEachOther(t *testing.T) {
	tool, err := exec.LookPath("minisign")
	if err != nil {
		t.Skip("no minisign: apt-get install minisign")
	}
	dir := t.TempDir()
	minisignRuns := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = dir
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("minisign %v: %v\n%s", args, err, output)
		}
	}
	path := filepath.Join(dir, "plugin")
	write(t, path, "content")
	minisignRuns("-G", "-W", "-p", "k.pub", "-s", "k.key")
	public, err := os.ReadFile(filepath.Join(dir, "k.pub"))
	if err != nil {
		t.Fatal(err)
	}
	p := Signed(config.Host{TrustedKeys: []string{string(public)}})
	for _, legacy := range []string{"-H", "-l"} {
		minisignRuns("-S", legacy, "-s", "k.key", "-m", "plugin")
		if got := summary(t, p, path); got != "" {
			t.Errorf("signed by minisign %s: %s", legacy, got)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "k.key"))
	if err != nil {
		t.Fatal(err)
	}
	var private minisign.PrivateKey
	if err := private.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(private, path, "by us"); err != nil {
		t.Fatal(err)
	}
	minisignRuns("-V", "-p", "k.pub", "-m", "plugin")
}

func TestALockFileIsSortedAndTheSameForTheSamePlugins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gaia.lock.hcl")
	sum := strings.Repeat("ab", 32)
	l := &Lock{Path: path, Plugins: []Plugin{{"z", "z ${name}", "", sum}, {"a", "a", "v1.2\n", sum}}}
	if err := l.Write(); err != nil {
		t.Fatal(err)
	}
	const want = `# The plugins that a host of this directory's config may run. Written by ` + "`gaia plugin lock`" + `;
# it belongs beside the config, in version control.

plugin "a" {
  name    = "a"
  version = "v1.2\n"
  sha256  = "SUM"
}

plugin "z" {
  name   = "z $${name}"
  sha256 = "SUM"
}
`
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(want, "SUM", sum), string(got)); diff != "" {
		t.Error(diff)
	}
	read, err := ReadLock(path)
	if err != nil || !cmp.Equal(read, l) {
		t.Errorf("read again: %v, %v", read, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("beside it: %v, %v", entries, err)
	}
}

func TestAFaultyLockFileSaysWhatIsWrong(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for name, tt := range map[string]struct{ text, want string }{
		"syntax":         {"plugin \"a\" {", "gaia.lock.hcl:1"},
		"another block":  {"host {}", "gaia.lock.hcl:1"},
		"no sum":         {"plugin \"a\" {}", "sha256"},
		"a short sum":    {"plugin \"a\" {\n  sha256 = \"ab\"\n}", "want 64 hexadecimal digits"},
		"a plugin twice": {strings.Repeat("plugin \"a\" {\n  sha256 = \""+sum+"\"\n}\n", 2), "is in it twice"},
	} {
		path := filepath.Join(t.TempDir(), "gaia.lock.hcl")
		write(t, path, tt.text)
		if _, err := ReadLock(path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	link := filepath.Join(t.TempDir(), "gaia.lock.hcl")
	if err := os.Symlink("/not/mounted", link); err != nil {
		t.Fatal(err)
	}
	if l, err := ReadLock(link); err == nil {
		t.Errorf("a link that leads nowhere: got %v, want an error: every plugin would be trusted", l)
	}
	if l, err := ReadLock(filepath.Join(t.TempDir(), "gaia.lock.hcl")); l != nil || err != nil {
		t.Errorf("no file: got %v, %v", l, err)
	}
}
