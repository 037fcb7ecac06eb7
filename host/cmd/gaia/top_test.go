package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// gaia is a command that talks to the host of h, in its directory.
func (h *house) gaia(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(h.dir, "bin/gaia"), args...)
	cmd.Dir = h.dir
	return cmd
}

// terminal is a command on a terminal, and all that it has drawn there.
type terminal struct {
	cmd   *exec.Cmd
	file  *os.File
	drawn *buffer
	ended chan error
}

// onTerminal runs a command on a terminal of 80 columns.
func onTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=")
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Skipf("no terminal to be had: %v", err)
	}
	term := &terminal{cmd: cmd, file: file, drawn: &buffer{}, ended: make(chan error, 1)}
	go func() {
		_, _ = io.Copy(term.drawn, file) // ends with an error, when the other end is closed
		term.ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = file.Close()
	})
	return term
}

// await waits until all texts were drawn.
func (term *terminal) await(t *testing.T, texts ...string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for _, text := range texts {
		for !strings.Contains(ansi.Strip(term.drawn.String()), text) {
			select {
			case <-tick.C:
			case <-timeout:
				t.Fatalf("%q was not drawn, but:\n%q", text, term.drawn)
			}
		}
	}
}

func (term *terminal) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-term.ended:
		return err
	case <-time.After(patience):
		t.Fatalf("%v has not ended", term.cmd)
		return nil
	}
}

func TestTopShowsWhatAHostDoes(t *testing.T) {
	t.Parallel()
	h := open(t, newHouse(t), fleetConfig("", "echo"), "echo")
	term := onTerminal(t, h.gaia(t, "top", "--every", "100ms"))
	term.await(t, "SUBSYSTEM", "echo", "ready", "no calls in this time", "q quit")
	stop := make(chan struct{})
	calling := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				calling <- nil
				return
			default:
			}
			if _, err := h.api().Do(t.Context(), &apiv1.DoRequest{Url: "test:"}); err != nil {
				calling <- err
				return
			}
		}
	}()
	term.await(t, "APIClientPool/Do", "limits.timeout")
	close(stop)
	if err := <-calling; err != nil {
		t.Error(err)
	}
	if _, err := io.WriteString(term.file, "q"); err != nil {
		t.Fatal(err)
	}
	if err := term.wait(t); err != nil {
		t.Errorf("q: %v", err)
	}
}

func TestTopSeesAHostComeBack(t *testing.T) {
	t.Parallel()
	dir := newHouse(t)
	config := fleetConfig("", "echo")
	first := open(t, dir, config, "echo")
	term := onTerminal(t, first.gaia(t, "top", "--every", "100ms"))
	term.await(t, "ready")
	first.close(t)
	term.await(t, "trying again")
	open(t, dir, config)
	term.await(t, "the host was started again")
	if _, err := term.file.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if err := term.wait(t); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

func TestTopPrintsATableWhereThereIsNoTerminal(t *testing.T) {
	t.Parallel()
	h := open(t, newHouse(t), fleetConfig("", "echo"), "echo")
	plain, err := h.gaia(t, "top", "--every", "100ms").Output()
	if err != nil || !strings.Contains(string(plain), "SUBSYSTEM  STATE  CALLS/S") || strings.Contains(string(plain), "\x1b") {
		t.Errorf("%v:\n%s", err, plain)
	}
	out, err := h.gaia(t, "top", "--once", "--json", "--every", "100ms").Output()
	if err != nil {
		t.Fatal(err)
	}
	var reading struct {
		Seconds    float64 `json:"seconds"`
		Subsystems []struct {
			Name        string `json:"name"`
			State       string `json:"state"`
			MemoryBytes *int64 `json:"memory_bytes"`
		} `json:"subsystems"`
	}
	if err := json.Unmarshal(out, &reading); err != nil || len(reading.Subsystems) != 1 || reading.Seconds <= 0 {
		t.Fatalf("%v: %s", err, out)
	}
	if s := reading.Subsystems[0]; s.Name != "echo" || s.State != "ready" || s.MemoryBytes != nil && *s.MemoryBytes == 0 {
		t.Errorf("%+v", s)
	}
}

func TestALongCallSaysSoAtATerminalAndCleansUp(t *testing.T) {
	t.Parallel()
	dir := newHouse(t)
	h := open(t, dir, fleetConfig("", "echo"), "echo")
	file := filepath.Join(dir, "now")
	term := onTerminal(t, h.gaia(t, "call", "echo.Do", "url=test:slow "+file, "body=all is well"))
	term.await(t, "echo.Do  1s") // half a second at least, and then each
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := term.wait(t); err != nil {
		t.Fatal(err)
	}
	const erase = "\r\x1b[K"
	_, answer, _ := strings.Cut(term.drawn.String(), erase+"{")
	if !strings.Contains(answer, `"status": 200`) || strings.Contains(answer, "echo.Do") {
		t.Errorf("want the answer in place of the line, and the line gone:\n%q", term.drawn)
	}
}
