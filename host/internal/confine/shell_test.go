package confine

import (
	"os/exec"
	"testing"
)

func TestAShellLimitsOpenFilesAndStepsOutOfTheWay(t *testing.T) {
	cmd := &exec.Cmd{Path: "/bin/sh", Args: []string{"any", "-c", `ulimit -n; echo "$0" "$1"`, "a b", "$c"}}
	throughShell(cmd, 50)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out), "50\na b $c\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
