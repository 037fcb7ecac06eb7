package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// attachment is `gaia plugin attach`, running.
type attachment struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	output *buffer // all that it writes
}

// attach runs `gaia plugin attach` with further arguments until the end of the test.
func (h *house) attach(t *testing.T, args ...string) *attachment {
	t.Helper()
	a := &attachment{
		cmd:    exec.Command(filepath.Join(h.dir, "bin/gaia"), append([]string{"plugin", "attach"}, args...)...), //nolint:noctx // leave ends it, as a user does
		output: &buffer{},
	}
	a.cmd.Dir, a.cmd.Env = h.dir, append(os.Environ(), "GAIA_SOCKET="+h.table.Socket)
	a.cmd.Stdout, a.cmd.Stderr = a.output, a.output
	var err error
	if a.stdin, err = a.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.cmd.Process.Kill() })
	return a
}

// leave presses Ctrl-C, if anything is to be pressed, and waits for the command's end.
func (a *attachment) leave(t *testing.T, s os.Signal) {
	t.Helper()
	if s != nil {
		if err := a.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.cmd.Wait(); err != nil || !strings.Contains(a.output.String(), "gaia: detached") {
		t.Errorf("it ended with %v and\n%s", err, a.output)
	}
}

func isAttached(s *hostv1.Subsystem) bool { return isReady(s) && s.GetAttached() }
func isOurs(s *hostv1.Subsystem) bool     { return isReady(s) && !s.GetAttached() }

// impatient checks health often, and ends calls that a debugger stops.
const impatient = `
  limits { timeout = "200ms" }
  health {
    every   = "10ms"
    timeout = "200ms"
    misses  = 2
  }
  restart { drain_timeout = "20s" }
`

func TestAnAttachedProcessMayStandStill(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig(impatient+"  config { user_agent = \"of the config\" }\n", "echo"), "echo")
	before := h.await(t, "echo", isReady)
	a := h.attach(t, "echo", "--", filepath.Join(h.dir, "bin/plugins/fleet-echo"))
	s := h.await(t, "echo", isAttached)
	if s.GetPid() == before.GetPid() || s.GetTransport() != "grpc" || s.GetSha256() != "" {
		t.Errorf("got %v after %v", s, before)
	}
	h.says(t, true, "attached", "status")
	if got := header(h.do(t, "echo", &apiv1.DoRequest{}), "Agent"); got != "of the config" {
		t.Errorf("it has the config %q", got)
	}

	// As at a breakpoint, for longer than a call may take, and health be missed.
	if err := syscall.Kill(int(s.GetPid()), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	go func() { done <- header(h.do(t, "echo", &apiv1.DoRequest{}), "Plugin") }()
	h.await(t, "echo", func(s *hostv1.Subsystem) bool { return s.GetInFlight() == 1 })
	awaitTicks(t, 60) // of 10 ms
	if now := h.status(t, "echo"); !isAttached(now) || now.GetPid() != s.GetPid() || now.GetInFlight() != 1 {
		t.Errorf("while it stood still: %v", now)
	}
	if err := syscall.Kill(int(s.GetPid()), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != "fleet-echo" {
		t.Errorf("the call was answered by %q", got)
	}
	a.leave(t, os.Interrupt)
	if now := h.await(t, "echo", isOurs); now.GetSha256() == "" || now.GetRestarts() != 0 {
		t.Errorf("after it was let go: %v", now)
	}
	if !eventually(t, func() bool { return syscall.Kill(int(s.GetPid()), 0) != nil }) {
		t.Error("the command was not ended")
	}
}

func TestACallThatIsUnderWayEndsInTheAttachedProcess(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("  restart { drain_timeout = \"20s\" }\n", "echo"), "echo")
	h.await(t, "echo", isReady)
	a := h.attach(t, "echo", "--", filepath.Join(h.dir, "bin/plugins/fleet-echo"))
	attached := h.await(t, "echo", isAttached)
	flag := filepath.Join(h.dir, "go")
	done := make(chan error, 1)
	go func() {
		_, err := h.api().Do(t.Context(), &apiv1.DoRequest{Method: "POST", Url: "test:slow " + flag})
		done <- err
	}()
	h.await(t, "echo", func(s *hostv1.Subsystem) bool { return s.GetInFlight() == 1 })
	if err := a.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	h.await(t, "echo", isOurs)
	if err := syscall.Kill(int(attached.GetPid()), 0); err != nil {
		t.Errorf("the attached process: %v", err)
	}
	h.do(t, "echo", &apiv1.DoRequest{}) // by the other one
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the call: %v", err)
	}
	a.leave(t, nil)
}

func TestTheConfiguredPluginComesBackWhenTheAttachedProcessOrItsCommandIsKilled(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("  restart { hold = \"20s\" }\n", "echo"), "echo")
	for _, victim := range []string{"the process", "the command"} {
		h.await(t, "echo", isOurs)
		a := h.attach(t, "echo", "--", filepath.Join(h.dir, "bin/plugins/fleet-echo"))
		s := h.await(t, "echo", isAttached)
		pid := int(s.GetPid())
		if victim == "the command" {
			pid = a.cmd.Process.Pid
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.await(t, "echo", isOurs)
		h.do(t, "echo", &apiv1.DoRequest{Method: "GET"})
		if victim == "the process" {
			a.leave(t, nil)
			continue
		}
		_ = a.cmd.Wait() // the host has asked the process to end, and who else would
	}
}

func TestWhatCannotBeAttachedChangesNothing(t *testing.T) {
	dir := newHouse(t)
	own := fmt.Sprintf("  config { user_agent = %q }\n", filepath.Join(dir, "one-at-a-time"))
	h := open(t, dir, hostBlock+block("echo", "echo", "")+block("exclusive", "exclusive", own), "echo", "exclusive")
	before := h.await(t, "echo", isReady)
	h.says(t, false, `no subsystem "ecko"; did you mean "echo"?`, "plugin", "attach", "ecko", "--", "true")
	h.says(t, false, "ended before the plugin said its handshake", "plugin", "attach", "echo", "--", "true")
	h.says(t, false, "no such file", "plugin", "attach", "echo", "--", "./nothing")
	h.says(t, false, "the command comes after --", "plugin", "attach", "echo", "true")
	h.says(t, false, "speaks version 2", "plugin", "attach", "echo", "--", "echo", "1|2|unix|/nowhere|grpc")
	h.says(t, false, "/nowhere", "plugin", "attach", "echo", "--", "sh", "-c", "echo '1|1|unix|/nowhere|grpc'; exec sleep 60")
	h.says(t, false, "a socket of the host itself", "plugin", "attach", "echo", "--", "sh", "-c", "echo '1|1|unix|"+h.table.Socket+"|grpc'; exec sleep 60")
	other := open(t, newHouse(t), fleetConfig("", "echo"), "echo")
	h.says(t, false, "is it a gaia plugin?", "plugin", "attach", "echo", "--", "sh", "-c", "echo '1|1|unix|"+other.table.Socket+"|grpc'; exec sleep 60")
	// Something lives on that the command cannot end, and holds its output.
	alive := filepath.Join(dir, "alive")
	if err := os.WriteFile(alive, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(alive) })
	h.says(t, false, "speaks version 2", "plugin", "attach", "echo", "--",
		"sh", "-c", "setsid sh -c 'while test -e "+alive+"; do sleep 0.1; done' & echo '1|2|unix|/nowhere|grpc'")
	if now := h.status(t, "echo"); now.GetPid() != before.GetPid() {
		t.Errorf("got %v, want what was there before", now)
	}
	// One of which there can be only one at a time.
	h.await(t, "exclusive", isReady)
	a := h.attach(t, "exclusive", "--", filepath.Join(dir, "bin/plugins/fleet-exclusive"))
	h.await(t, "exclusive", isAttached)
	a.leave(t, os.Interrupt)
	h.await(t, "exclusive", isOurs)
	// What is locked, or signed, is known; what runs is not.
	h.says(t, true, "2 plugins", "plugin", "lock")
	h.says(t, true, "", "reload")
	h.says(t, false, "only plugins that are locked or signed", "plugin", "attach", "echo", "--", filepath.Join(dir, "bin/plugins/fleet-echo"))
}

func TestAProcessThatSomebodyElseStartsIsAttachedByItsHandshakeLine(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("", "echo"), "echo")
	h.await(t, "echo", isReady)
	a := h.attach(t, "echo")
	var env []string
	if !eventually(t, func() bool {
		env = nil
		for _, m := range regexp.MustCompile(`(?m)^export (\w+=.*)$`).FindAllStringSubmatch(a.output.String(), -1) {
			env = append(env, m[1])
		}
		return len(env) == 5
	}) {
		t.Fatalf("got no environment:\n%s", a.output)
	}
	plugin := exec.CommandContext(t.Context(), filepath.Join(h.dir, "bin/plugins/fleet-echo"))
	plugin.Env = append(os.Environ(), env...)
	said := &buffer{}
	plugin.Stdout = said
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	if !eventually(t, func() bool { return bytes.HasSuffix([]byte(said.String()), []byte("\n")) }) {
		t.Fatal("no handshake")
	}
	if _, err := io.WriteString(a.stdin, "what is this?\n"+said.String()); err != nil {
		t.Fatal(err)
	}
	s := h.await(t, "echo", isAttached)
	if int(s.GetPid()) != plugin.Process.Pid {
		t.Errorf("got the process %d, want %d", s.GetPid(), plugin.Process.Pid)
	}
	h.do(t, "echo", &apiv1.DoRequest{})
	a.leave(t, os.Interrupt)
	h.await(t, "echo", isOurs)
	if err := plugin.Wait(); err != nil {
		t.Errorf("it was asked to end, and ended with %v", err)
	}
}

func TestAPluginUnderDelveIsAttached(t *testing.T) {
	dlv, err := exec.LookPath("dlv")
	if err != nil {
		t.Skip("no dlv: go install github.com/go-delve/delve/cmd/dlv@latest")
	}
	h := open(t, newHouse(t), oneHello)
	h.await(t, "hello", isReady)
	a := h.attach(t, "hello", "--", dlv, "exec", "--headless", "--listen=127.0.0.1:0", "--accept-multiclient", "--continue", "bin/plugins/hello")
	h.await(t, "hello", isAttached)
	h.says(t, true, "Hello, Ada!", "call", "hello.Hello", "name=Ada")
	address := regexp.MustCompile(`API server listening at: (\S+)`).FindStringSubmatch(a.output.String())
	if address == nil {
		t.Fatalf("the debugger does not say where it listens:\n%s", a.output)
	}
	// Stop at the method, look at its request, and go on.
	script := filepath.Join(h.dir, "script")
	if err := os.WriteFile(script, []byte("break main.(*greeter).Hello\ncontinue\nprint r.Name\nclearall\nquit -c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	debugger := exec.CommandContext(t.Context(), dlv, "connect", address[1], "--init", script)
	output := &buffer{}
	debugger.Stdout, debugger.Stderr = output, output
	if err := debugger.Start(); err != nil {
		t.Fatal(err)
	}
	if !eventually(t, func() bool { return strings.Contains(output.String(), "Breakpoint 1 set") }) {
		t.Fatalf("no breakpoint:\n%s", output)
	}
	h.says(t, true, "Hello, Grace!", "call", "hello.Hello", "name=Grace")
	if err := debugger.Wait(); err != nil || !strings.Contains(output.String(), `"Grace"`) {
		t.Errorf("the debugger ended with %v and\n%s", err, output)
	}
	a.leave(t, os.Interrupt)
	h.await(t, "hello", isOurs)
}

// awaitTicks waits for so many of 10 ms each: nothing must happen meanwhile.
func awaitTicks(t *testing.T, n int) {
	t.Helper()
	_, err := exec.CommandContext(t.Context(), "sleep", fmt.Sprintf("%.2f", float64(n)/100)).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
}
