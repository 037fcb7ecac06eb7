package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestACrashAtAnyMomentLeavesNoOrphanAndNoDouble(t *testing.T) { testStorm(t, 10) }

func TestSlowThreeHundredCrashesAtAnyMomentLeaveNoOrphanAndNoDouble(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes minutes; make test-slow runs it")
	}
	testStorm(t, 300)
}

// testStorm kills the manager while it starts, stops and restarts processes, and
// compares then what it says with what there is.
func testStorm(t *testing.T, rounds int) {
	t.Helper()
	const names = 8
	h, client := openProcesses(t)
	tag := func(i int) string { return fmt.Sprintf("%d%02d", 100_000_000+os.Getpid(), i) } // seconds to sleep
	for round := range rounds {
		before := h.await(t, manager, isReady)
		var calls sync.WaitGroup
		for i := range names {
			calls.Go(func() { _ = anything(t.Context(), client, fmt.Sprint("s", i), tag(i)) }) // errors are to be expected
		}
		<-time.After(rand.N(20 * time.Millisecond))
		kill(t, before.GetPid())
		calls.Wait()
		h.await(t, manager, func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > before.GetGeneration() })
		for i := range names {
			name := fmt.Sprint("s", i)
			said, there := "", ""
			consistent := eventually(t, func() bool {
				r, err := client.Get(t.Context(), &processv1.GetRequest{Name: name})
				if err != nil && status.Code(err) != codes.NotFound {
					t.Fatal(err)
				}
				said = ""
				if pid := r.GetProcess().GetPid(); pid != 0 {
					said = strconv.Itoa(int(pid))
				}
				there = strings.Join(running(tag(i)), " ")
				return said == there
			})
			if !consistent {
				t.Fatalf("round %d: %s is said to be process %q, but there is %q\n%s", round, name, said, there, h.stderr)
			}
		}
	}
	h.close(t)
	for i := range names {
		if left := running(tag(i)); len(left) > 0 {
			t.Errorf("after the end of the host there is %q", left)
		}
	}
}

// anything does one of the things that can be done with a process.
func anything(ctx context.Context, client processv1.ProcessManagerClient, name, seconds string) error {
	var err error
	switch rand.N(5) {
	case 0:
		_, err = client.Stop(ctx, &processv1.StopRequest{Name: name})
	case 1:
		_, err = client.Restart(ctx, &processv1.RestartRequest{Name: name})
	case 2:
		_, err = client.Remove(ctx, &processv1.RemoveRequest{Name: name})
	default:
		_, err = client.Start(ctx, &processv1.StartRequest{
			Name:    name,
			Spec:    &processv1.Spec{Command: "sh", Args: []string{"-c", "exec sleep " + seconds}},
			Restart: &processv1.RestartPolicy{When: processv1.When_ALWAYS, Exits: -1},
		})
	}
	return err
}

// running are the processes with an argument.
func running(argument string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, _ := os.ReadFile(file)
		if slices.Contains(strings.Split(string(line), "\x00"), argument) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}
