package tree_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
)

// unused is a controller of version 2 that we do not use, and that hardly any
// machine gives to version 1: so the rules of version 2 can be tried on many.
const unused = "hugetlb"

// mountOfV2 is where cgroup v2 is mounted.
func mountOfV2(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if text, err := os.ReadFile(dir + "/cgroup.controllers"); err == nil && slices.Contains(strings.Fields(string(text)), unused) {
			return dir
		}
	}
	t.Skip("no cgroup v2 with " + unused)
	return ""
}

func TestAPluginStepsAsideSoThatGroupsBelowItsOwnCanLimit(t *testing.T) {
	asRoot(t)
	top := mountOfV2(t)
	before, err := os.ReadFile(top + "/cgroup.subtree_control")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.MkdirTemp(top, "gaia-test-") // as a host makes one
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		for _, dir := range []string{own + "/gaia-plugin", own} {
			soon(t, "removed", func() bool { err := unix.Rmdir(dir); return err == nil || os.IsNotExist(err) })
		}
		if !strings.Contains(string(before), unused) {
			_ = os.WriteFile(top+"/cgroup.subtree_control", []byte("-"+unused), 0) // somebody else may use it now
		}
	})
	dir, err := os.Open(own)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), "IDENTITY="+t.TempDir(), "KIND=divided")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	name := filepath.Base(own)
	lines := strings.Split(string(out), "\n")
	if want := "0::/" + name + "/gaia-plugin"; lines[0] != want {
		t.Errorf("the plugin is in %q, want %q", lines[0], want)
	}
	if want := "0::/" + name + "/gaia-tree-"; !strings.HasPrefix(lines[1], want) || !strings.HasSuffix(lines[1], "-divided") {
		t.Errorf("the process is in %q, want %s…-divided", lines[1], want)
	}
	if lines[2] != unused {
		t.Errorf("its group has %q, want %s", lines[2], unused)
	}
}

// beDivided is a plugin alone in its group, which divides it.
func beDivided(identity string) error {
	if err := tree.Divide(unused); err != nil {
		return err
	}
	f, _, err := tree.OpenOn(identity, kinds()["cgroup v2"])
	if err != nil {
		return err
	}
	g, err := f.New("divided", tree.Limits{})
	if err != nil {
		return err
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	fmt.Println(lastLine(text)) //nolint:forbidigo // the test reads it
	p, err := spawn.Start(spawn.Config{
		Path: "/bin/sh", Args: []string{"-c", "tail -n 1 /proc/self/cgroup; cat " + g.Directories()[0] + "/cgroup.controllers"},
		Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Group: g,
	})
	if err != nil {
		return err
	}
	defer p.Close()
	if _, err := p.Wait(context.Background()); err != nil {
		return err
	}
	return g.Remove()
}

// lastLine is that of version 2 in proc_pid_cgroup(5).
func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
