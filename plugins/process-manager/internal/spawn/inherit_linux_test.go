package spawn_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
)

// TestMain is also a program that starts a shell with all that it has inherited.
// Else it keeps that to itself, as the plugin does: under nohup, nothing would end
// with its terminal.
func TestMain(m *testing.M) {
	if script := os.Getenv("SEALED"); script != "" {
		if err := beSealed(script); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := spawn.Seal(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(m.Run())
}

func beSealed(script string) error {
	if err := spawn.Seal(); err != nil {
		return err
	}
	p, err := spawn.Start(spawn.Config{Path: "/bin/sh", Args: []string{"-c", script}, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = p.Wait(context.Background())
	return err
}

// sealed runs a script below a program that a shell has started with a setup.
func sealed(t *testing.T, setup, script string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", setup+"; exec "+self)
	cmd.Env = append(os.Environ(), "SEALED="+script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestAProcessHasNoFilesButItsOwn(t *testing.T) {
	out := sealed(t, "exec 7</dev/zero", "cd /proc/self/fd && echo *")
	for fd := range strings.FieldsSeq(out) {
		if fd == "7" {
			t.Errorf("it has descriptors %s", out)
		}
	}
}

func TestAProcessIgnoresNoSignalThatThisProgramWasStartedToIgnore(t *testing.T) {
	out := sealed(t, `trap "" INT QUIT HUP`, "grep SigIgn /proc/self/status")
	ignored, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(out, "SigIgn:")), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	const classic = 1<<31 - 1 // signals 1 to 31; those after them are the C library's own
	if ignored&classic != 0 {
		t.Errorf("got %q, want none of the signals 1 to 31", out)
	}
}

func TestAProcessMayBeKilledForMemoryAlthoughThisProgramMayNot(t *testing.T) {
	out := sealed(t, "echo -500 > /proc/self/oom_score_adj || exit 0", "until grep -q '^0$' /proc/self/oom_score_adj; do :; done; echo yes")
	if strings.Contains(out, "rror") {
		t.Skip("this user may not protect anybody: ", out) // CAP_SYS_RESOURCE
	}
	if out != "yes\n" {
		t.Errorf("got %q", out)
	}
}

func TestAPipeBlocksForTheProcessThatGetsIt(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := spawn.Start(spawn.Config{Path: "/bin/sh", Args: []string{"-c", "while read -r k v; do [ $k = flags: ] && echo $v; done < /proc/self/fdinfo/1"}, Stdout: w})
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	const nonblock = 0o4000
	var flags int
	if _, err := fmt.Sscanf(string(text), "%o", &flags); err != nil || flags&nonblock != 0 {
		t.Errorf("got flags %q, error %v", text, err)
	}
}
