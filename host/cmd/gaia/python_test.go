package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// pythonHouse is a directory with examples/hello-python as the plugin hello-python,
// and testdata/python/moody.py as moody. Without Python or grpcio the test is skipped.
func pythonHouse(t *testing.T) string {
	t.Helper()
	dir := newHouse(t)
	python := filepath.Join(dir, "python")
	for _, source := range []string{"../../../examples/hello-python", "testdata/python"} {
		if err := os.CopyFS(python, os.DirFS(source)); err != nil {
			t.Fatal(err)
		}
	}
	for plugin, script := range map[string]string{"hello-python": "hello.py", "moody": "moody.py"} {
		path := filepath.Join(python, script)
		if err := errors.Join(os.Chmod(path, 0o700), os.Symlink(path, filepath.Join(dir, "bin/plugins", plugin))); err != nil {
			t.Fatal(err)
		}
	}
	output, err := exec.CommandContext(t.Context(), filepath.Join(python, "hello.py")).CombinedOutput()
	if !strings.Contains(string(output), "is a gaia plugin, which a gaia host starts") {
		t.Skipf("no Python with grpcio (apt-get install python3-grpcio): %v: %s", err, output)
	}
	return dir
}

// cli runs a gaia command against the host, and returns all that it wrote.
func (h *house) cli(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(h.dir, "bin/gaia"), args...)
	cmd.Dir, cmd.Env = h.dir, append(os.Environ(), "GAIA_SOCKET="+h.table.Socket)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// says fails the test unless a gaia command ends well, or not, as wanted and says so.
func (h *house) says(t *testing.T, well bool, want string, args ...string) {
	t.Helper()
	if got, err := h.cli(t, args...); (err == nil) != well || !strings.Contains(got, want) {
		t.Errorf("gaia %s: error %v and\n%s\nwant %q", strings.Join(args, " "), err, got, want)
	}
}

// postJSON makes a call as a script does, and returns the body of the answer.
func (h *house) postJSON(t *testing.T, path, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.table.HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+h.hostToken(t))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const helloInPython = `
host { http = "127.0.0.1:0" }
subsystem "hello" {
  plugin = "hello-python"
  restart { hold = "20s" }
  rate "name" {
    key   = "name"
    limit = "2/h"
    burst = 2
  }
  config { greeting = "GREETING" }
}
`

func TestAPluginInPythonIsAPluginLikeAnyOther(t *testing.T) {
	h := open(t, pythonHouse(t), strings.ReplaceAll(helloInPython, "GREETING", "Guten Tag"))
	first := h.await(t, "hello", isReady)

	h.says(t, true, `{"text":"Guten Tag, Ada!"}`, "call", "hello.Hello", "name=Ada")
	h.says(t, true, `{"left":1}`, "call", "hello.Countdown", "from=1")
	h.says(t, false, "name is empty, want whom to greet (InvalidArgument)", "call", "hello.Hello")
	h.says(t, false, `did you mean "name"?`, "call", "hello.Hello", "nam=Ada")
	h.says(t, true, "Guten Tag", "call", "hello.Hello", "name=Ada")
	h.says(t, false, `over 2/h with a burst of 2 for name "Ada"`, "call", "hello.Hello", "name=Ada")
	if got := h.metric(t, `hello_greetings_total{subsystem="hello"}`); got != 2 {
		t.Errorf("its own metric: got %v greetings, want 2", got)
	}
	if got := h.metric(t, `gaia_calls_total{code="OK",method="hello.v1.Greeter/Hello",subsystem="hello"}`); got != 2 {
		t.Errorf("the host's metric: got %v calls, want 2", got)
	}

	if got := h.postJSON(t, "/v1/hello/Hello", `{"name": "Zoe"}`); !strings.Contains(got, "Guten Tag, Zoe!") {
		t.Errorf("by HTTP: got %s", got)
	}

	h.write(t, strings.ReplaceAll(helloInPython, "GREETING", "100 %"))
	h.says(t, false, `config { greeting = "100 %" }`, "reload")
	h.write(t, strings.ReplaceAll(helloInPython, "GREETING", "Grüezi"))
	h.says(t, true, "config applied while it runs", "reload")
	h.says(t, true, "Grüezi, Eve!", "call", "hello.Hello", "name=Eve")

	if err := syscall.Kill(int(first.GetPid()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.says(t, true, "Grüezi, Bob!", "call", "hello.Hello", "name=Bob") // it is held meanwhile
	if s := h.await(t, "hello", isReady); s.GetRestarts() != 1 {
		t.Errorf("got %d restarts, want 1", s.GetRestarts())
	}
}

func TestAPluginInPythonEndsWithItsHost(t *testing.T) {
	h := open(t, pythonHouse(t), strings.ReplaceAll(helloInPython, "GREETING", "Hello"))
	pid := int(h.await(t, "hello", isReady).GetPid())
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-h.ended; err == nil {
		t.Error("the host ended well, and not by the signal")
	}
	if !eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }) {
		t.Errorf("process %d still runs without its host", pid)
	}
}

func TestWhatGoesWrongInPythonIsToldToWhomItConcerns(t *testing.T) {
	h := open(t, pythonHouse(t), "host { http = \"127.0.0.1:0\" }\nsubsystem \"moody\" {\n  plugin = \"moody\"\n}\n")
	first := h.await(t, "moody", isReady)

	h.says(t, false, "plugin failed in /hello.v1.Greeter/Hello; its log has the stack (Internal)", "call", "moody.Hello", "name=bug")
	h.says(t, true, "log by", "call", "moody.Hello", "name=log")
	if log, err := h.cli(t, "logs", "moody"); err != nil || !strings.Contains(log, "a secret of the plugin") || !strings.Contains(log, "as asked mood=good") {
		t.Errorf("error %v, and the log has not both the stack and the line with its field:\n%s", err, log)
	}
	if now := h.status(t, "moody"); now.GetPid() != first.GetPid() {
		t.Error("the plugin did not outlive its bug")
	}

	h.says(t, false, "exited with code 3", "call", "moody.Hello", "name=exit")
	s := h.await(t, "moody", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetPid() != first.GetPid() })
	if s.GetRestarts() == 0 {
		t.Error("got no restart")
	}
}

func TestCallsOfAPluginInPythonOutliveItsRestart(t *testing.T) {
	h := open(t, pythonHouse(t), "host { http = \"127.0.0.1:0\" }\nsubsystem \"moody\" {\n  plugin = \"moody\"\n}\n")
	before := h.await(t, "moody", isReady)
	flag := filepath.Join(h.dir, "go")
	var calls sync.WaitGroup
	streamed := make(chan struct{})
	go func() {
		defer close(streamed)
		h.says(t, true, `{"left":1}`, "call", "moody.Countdown")
	}()
	for range 3 { // with the stream as many as it serves at once: its health is asked beside them
		calls.Go(func() { h.says(t, true, "wait by", "call", "moody.Hello", "name=wait "+flag) })
	}
	h.await(t, "moody", func(s *hostv1.Subsystem) bool { return s.GetInFlight() == 4 })
	h.says(t, true, "generation 2 of moody serves", "restart", "moody")
	<-streamed // it is told that its end is near
	if err := syscall.Kill(int(before.GetPid()), 0); err != nil {
		t.Errorf("the old instance did not wait for its calls: %v", err)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
	if !eventually(t, func() bool { return syscall.Kill(int(before.GetPid()), 0) != nil }) {
		t.Error("the old instance did not end")
	}
}
