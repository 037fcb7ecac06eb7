package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFromPluginNewByThePrintedCommandsToAPluginThatIsLimitedAndMetered goes from
// nothing in a fresh directory to a plugin that serves, by what `gaia plugin new`
// prints and nothing else.
func TestFromPluginNewByThePrintedCommandsToAPluginThatIsLimitedAndMetered(t *testing.T) {
	t.Run("go", func(t *testing.T) { fromNewToRunning(t, "go") })
	t.Run("python", func(t *testing.T) {
		if err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import grpc").Run(); err != nil {
			t.Skip("no grpcio: apt-get install python3-grpcio")
		}
		fromNewToRunning(t, "python")
	})
}

func fromNewToRunning(t *testing.T, lang string) {
	t.Helper()
	bin := newHouse(t)
	checkout, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(bin, "f")
	if err := os.Mkdir(fresh, 0o700); err != nil {
		t.Fatal(err)
	}
	u := user{dir: fresh}
	printed := u.types(t, filepath.Join(bin, "bin/gaia")+" plugin new word-counter --lang "+lang+" --sdk "+checkout, 0)
	var commands []string
	for line := range strings.Lines(printed) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	address := ""
	for _, command := range commands {
		switch {
		case strings.HasPrefix(command, "cd "):
			u.dir = filepath.Join(u.dir, strings.TrimPrefix(command, "cd "))
			address = onFreePort(t, filepath.Join(u.dir, "config.hcl"))
		case strings.Contains(command, " run "):
			u.runs(t, command)
		default:
			out := u.types(t, command, 0)
			if strings.Contains(command, " call ") && !strings.Contains(out, `"Hello, Ada!"`) {
				t.Errorf("%s: got %s, want Hello, Ada!", command, out)
			}
		}
	}
	// The rate of its config.hcl: one greeting for a name in ten seconds.
	if out := u.types(t, commands[len(commands)-1], 1); !strings.Contains(out, `over 1/10s with a burst of 1 for name "Ada"`) {
		t.Errorf("the second call: got %s, want that the rate rejects it", out)
	}
	h := &house{}
	h.table.HTTP = address
	for _, series := range []string{
		`gaia_calls_total{code="OK",method="word_counter.v1.WordCounterService/Greet",subsystem="word_counter"}`,
		`gaia_calls_total{code="ResourceExhausted",method="word_counter.v1.WordCounterService/Greet",subsystem="word_counter"}`,
		`word_counter_greetings_total{subsystem="word_counter"}`,
	} {
		if got := h.metric(t, series); got != 1 {
			t.Errorf("%s: got %v, want 1", series, got)
		}
	}
}

// user is somebody at a shell.
type user struct{ dir string }

// shell is a command as a user types it. What is above this folder is no part of
// the plugin's world.
func (u user) shell(ctx context.Context, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", "exec "+command)
	cmd.Dir = u.dir
	cmd.Env = append(os.Environ(), "PWD="+u.dir, "GOWORK=")
	cmd.WaitDelay = patience
	return cmd
}

// types runs a command and returns all that it wrote.
func (u user) types(t *testing.T, command string, code int) string {
	t.Helper()
	cmd := u.shell(t.Context(), command)
	output, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%s: exit code %d, want %d: %v\n%s", command, got, code, err, output)
	}
	return string(output)
}

// runs starts a host that runs until the end of the test, and waits until it says
// where it is.
func (u user) runs(t *testing.T, command string) {
	t.Helper()
	cmd := u.shell(context.WithoutCancel(t.Context()), command)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "HTTP") {
			return
		}
	}
	t.Fatalf("%s: it does not say where it listens", command)
}

// onFreePort lets a config listen where nobody else does, and returns where.
func onFreePort(t *testing.T, config string) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	const usual = "127.0.0.1:4242"
	content := readText(t, config)
	if !strings.Contains(content, usual) {
		t.Fatalf("%s does not listen on %s", config, usual)
	}
	if err := os.WriteFile(config, []byte(strings.Replace(content, usual, address, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return address
}
