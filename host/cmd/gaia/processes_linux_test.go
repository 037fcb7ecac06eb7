package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
)

const manager = "process_manager"

// openProcesses runs a host with a process manager that may start numbers and a
// shell.
func openProcesses(t testing.TB) (*house, processv1.ProcessManagerClient) {
	t.Helper()
	dir := newHouse(t)
	plugins := filepath.Join(dir, "bin/plugins")
	if err := os.Symlink("gaia-process-manager", filepath.Join(plugins, "another-process-manager")); err != nil {
		t.Fatal(err)
	}
	h := open(t, dir, fmt.Sprintf(`
host { http = "127.0.0.1:0" }
subsystem %q {
  plugin = "gaia-process-manager"
  restart {
    stable_after  = "0s"
    drain_timeout = "1s"
    hold          = "10s"
  }
  config {
    log_dir = %q
    command "numbers" {
      path = %q
      args = ["[0-9a-z]+"]
    }
    command "sh" {
      path = "/bin/sh"
      args = ["(?s).*"]
    }
  }
}
`, manager, filepath.Join(dir, "logs"), filepath.Join(dir, "bin/numbers")))
	return h, processv1.NewProcessManagerClient(h.conn)
}

// crash kills the plugin and waits for the next instance.
func (h *house) crash(t testing.TB) {
	t.Helper()
	before := h.await(t, manager, isReady)
	kill(t, before.GetPid())
	h.await(t, manager, func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > before.GetGeneration() })
}

// logOf is all that a process has written.
func logOf(t testing.TB, client processv1.ProcessManagerClient, name string) []byte {
	t.Helper()
	stream, err := client.Logs(t.Context(), &processv1.LogsRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	var log []byte
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return log
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.GetMissing() > 0 || r.GetOffset() != uint64(len(log)) {
			t.Errorf("the log of %s goes on at %d, %d bytes missing; want %d", name, r.GetOffset(), r.GetMissing(), len(log))
		}
		log = append(log, r.GetContent()...)
	}
}

// isCounted reports whether a log is the numbers from 0 to below count, each once.
func isCounted(log []byte, count int) bool {
	n := 0
	for line := range bytes.Lines(log) {
		if string(line) != strconv.Itoa(n)+"\n" {
			return false
		}
		n++
	}
	return n == count
}

func TestProcessesOutliveCrashAndSwapOfTheirManager(t *testing.T) {
	testAdoption(t, 20, 4, 1)
}

func TestSlowTwoHundredProcessesOutliveTwentyCrashesAndFiveSwaps(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes minutes; make test-slow runs it")
	}
	testAdoption(t, 200, 20, 5)
}

// testAdoption lets processes write numbers while their manager is killed and
// swapped. They are told apart by how long they run: some end between two kills,
// some while there is no manager.
func testAdoption(t *testing.T, processes, kills, swaps int) {
	t.Helper()
	h, client := openProcesses(t)
	const pause = 10 * time.Millisecond
	rounds := kills + swaps
	count := func(i int) int { return 50 + i*rounds*20/processes }
	pids := make(map[string]int32)
	for i := range processes {
		name := fmt.Sprintf("n%03d", i)
		r, err := client.Start(t.Context(), &processv1.StartRequest{Name: name, Spec: &processv1.Spec{
			Command: "numbers", Args: []string{strconv.Itoa(count(i)), pause.String(), strconv.Itoa(i)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		pids[name] = r.GetProcess().GetPid()
	}
	swapped := []string{"another-process-manager", "gaia-process-manager"}
	for n := range rounds {
		if n%(rounds/swaps) != 1 {
			h.crash(t)
		} else if _, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: manager, Plugin: swapped[n%2]}); err != nil {
			t.Fatal(err)
		}
		list, err := client.List(t.Context(), &processv1.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.GetProcesses()) != processes {
			t.Fatalf("%d processes after %d crashes and swaps, want %d", len(list.GetProcesses()), n+1, processes)
		}
		for _, p := range list.GetProcesses() {
			if p.GetPid() != 0 && p.GetPid() != pids[p.GetName()] {
				t.Errorf("%s has pid %d, want %d", p.GetName(), p.GetPid(), pids[p.GetName()])
			}
		}
	}
	for i := range processes {
		name := fmt.Sprintf("n%03d", i)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r, err := client.Wait(ctx, &processv1.WaitRequest{Name: name})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if exit := r.GetProcess().GetExit(); exit.GetCause() != processv1.Cause_EXIT || exit.GetCode() != int32(i) || r.GetProcess().GetRestarts() != 0 {
			t.Errorf("%s: %v, want exit code %d", name, r.GetProcess(), i)
		}
		if log := logOf(t, client, name); !isCounted(log, count(i)) {
			t.Errorf("%s has written %q at the end of %d bytes, want the numbers below %d, each once", name, log[max(0, len(log)-20):], len(log), count(i))
		}
	}
}

// script is a request to run a shell under a name.
func script(name, text string) *processv1.StartRequest {
	return &processv1.StartRequest{Name: name, Spec: &processv1.Spec{Command: "sh", Args: []string{"-c", text}}}
}

func mustStart(t *testing.T, client processv1.ProcessManagerClient, r *processv1.StartRequest) *processv1.Process {
	t.Helper()
	response, err := client.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return response.GetProcess()
}

func mustGet(t *testing.T, client processv1.ProcessManagerClient, name string) *processv1.Process {
	t.Helper()
	response, err := client.Get(t.Context(), &processv1.GetRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return response.GetProcess()
}

// awaitEnd waits until a process has ended for good.
func awaitEnd(t *testing.T, client processv1.ProcessManagerClient, name string) *processv1.Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := client.Wait(ctx, &processv1.WaitRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetProcess()
}
