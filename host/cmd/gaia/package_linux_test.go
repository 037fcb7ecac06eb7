package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const packaging = "../../packaging/"

// runProgram runs a program to its end and returns what it wrote.
func runProgram(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// needProgram skips a test where a program is missing.
func needProgram(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not here", program)
	}
}

// withPaths is a config or unit of the package, moved to below another root.
func withPaths(t *testing.T, file, root string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"/run/gaia", root+"/run",
		"/var/lib/gaia", root+"/data",
		"/usr/lib/gaia/plugins", root+"/bin/plugins",
		"/usr/bin/gaia", root+"/bin/gaia",
		"127.0.0.1:4242", "127.0.0.1:0",
		"127.0.0.1:3128", "127.0.0.1:0",
	).Replace(string(content))
}

func TestTheConfigOfPackagesIsTheShippedOneWithOtherPaths(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, blocks, _ := strings.Cut(string(content), "\nhost {") // after the comment
		return blocks
	}
	packaged := strings.NewReplacer(`"/run/gaia/gaia.sock" #`, `"run/gaia.sock"  #`, `"/run/gaia/`, `"run/`, "/run/gaia/", "run/",
		`"/var/lib/gaia/`, `"data/`, `"/var/lib/gaia"`, `"data"`, `"/usr/lib/gaia/plugins"`, `"bin/plugins"`).Replace(read(packaging + "config.hcl"))
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if diff := cmp.Diff(squeeze(read("../../../config.hcl")), squeeze(packaged)); diff != "" {
		t.Errorf("host/packaging/config.hcl is not config.hcl (-shipped +packaged):\n%s", diff)
	}
}

func TestSystemdTakesTheUnit(t *testing.T) {
	t.Parallel()
	needProgram(t, "systemd-analyze")
	dir := newHouse(t)
	unit := filepath.Join(dir, "gaia.service")
	if err := os.WriteFile(unit, []byte(withPaths(t, packaging+"gaia.service", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := runProgram(t, "systemd-analyze", "verify", "--man=no", unit); strings.Contains(out, unit) || strings.Contains(out, "gaia.service:") {
		t.Errorf("systemd-analyze verify says:\n%s", out)
	}
}

// TestTheDebianPackageHoldsAHostThatRuns opens what `make dist` has built.
func TestTheDebianPackageHoldsAHostThatRuns(t *testing.T) {
	t.Parallel()
	needProgram(t, "dpkg-deb")
	debs, err := filepath.Glob("../../../dist/gaia_*_" + runtime.GOARCH + ".deb")
	if err != nil || len(debs) == 0 {
		t.Skip("no package: make dist builds it")
	}
	listing := runProgram(t, "dpkg-deb", "-c", debs[0])
	for _, want := range []string{
		"./usr/bin/gaia\n", "./usr/lib/gaia/plugins/gaia-api-client-pool\n", "./usr/lib/gaia/plugins/gaia-process-manager\n",
		"./usr/lib/systemd/system/gaia.service\n", "./usr/share/man/man1/gaia-call.1.gz\n",
		"./usr/share/bash-completion/completions/gaia\n", "./usr/share/zsh/vendor-completions/_gaia\n", "./usr/share/fish/vendor_completions.d/gaia.fish\n",
		"-rw-r----- root/gaia", "./etc/gaia/config.hcl\n",
	} {
		if !strings.Contains(listing, want) {
			t.Errorf("%q is missing in:\n%s", want, listing)
		}
	}
	dir, err := os.MkdirTemp("", "gaia")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	runProgram(t, "dpkg-deb", "-x", debs[0], dir+"/deb")
	if err := os.Mkdir(dir+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"usr/bin/gaia": "bin/gaia", "usr/lib/gaia/plugins": "bin/plugins"} {
		if err := os.Rename(filepath.Join(dir, "deb", from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	h := open(t, dir, withPaths(t, filepath.Join(dir, "deb/etc/gaia/config.hcl"), dir))
	if out, err := h.gaia(t, "validate").CombinedOutput(); err != nil || !strings.Contains(string(out), "valid, 5 subsystems") {
		t.Errorf("%v: %s", err, out)
	}
	if got := h.status(t, "file_manager").GetVersion(); got == "" {
		t.Error("the file manager does not say which version it is")
	}
	out, err := h.gaia(t, "call", "file_manager.WriteFile", "root=workspace", "path=a.txt", "content=hello").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "etag") {
		t.Errorf("%v: %s", err, out)
	}
}
