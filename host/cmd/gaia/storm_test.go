package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// storm is calls from many callers, of which none may fail, or go wrong, that
// can be repeated; and others of which none may reach the plugin twice.
type storm struct {
	ctx     context.Context //nolint:containedctx // ends the callers
	callers sync.WaitGroup
	good    sync.Map // id of a call that cannot be repeated and was answered
}

func (h *house) storm(t *testing.T, callers int, notes string) (calm func() *storm) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &storm{ctx: ctx}
	for c := range callers {
		s.callers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				h.repeatable(t, fmt.Sprintf("%d-%d", c, n))
				if c%8 == 0 {
					h.unrepeatable(t, s, notes, fmt.Sprintf("%d-%d", c, n))
				}
			}
		})
	}
	return func() *storm {
		cancel()
		s.callers.Wait()
		return s
	}
}

func (h *house) repeatable(t *testing.T, id string) {
	t.Helper()
	r, err := h.api().Do(t.Context(), &apiv1.DoRequest{Body: []byte(id)})
	if err != nil || string(r.GetBody()) != id {
		t.Errorf("call %s: got %q and %v", id, r.GetBody(), err)
	}
}

func (h *house) unrepeatable(t *testing.T, s *storm, notes, id string) {
	t.Helper()
	r, err := h.api().Do(t.Context(), &apiv1.DoRequest{Method: "POST", Url: "test:note " + notes, Body: []byte(id)})
	switch {
	case err == nil && string(r.GetBody()) == id:
		s.good.Store(id, true)
	case status.Code(err) == codes.Unavailable: // its instance was killed
	default:
		t.Errorf("call %s: got %q and %v", id, r.GetBody(), err)
	}
}

// check looks at what the plugin wrote down: no call twice, and each that was
// answered.
func (s *storm) check(t *testing.T, notes string) {
	t.Helper()
	content, err := os.ReadFile(notes)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for line := range strings.Lines(string(content)) {
		seen[strings.TrimSpace(line)]++
	}
	for id, times := range seen {
		if times > 1 {
			t.Errorf("call %s reached the plugin %d times", id, times)
		}
	}
	s.good.Range(func(id, _ any) bool {
		if seen[id.(string)] != 1 {
			t.Errorf("call %v was answered and reached the plugin %d times", id, seen[id.(string)])
		}
		return true
	})
	t.Logf("%d calls that cannot be repeated reached the plugin, each once", len(seen))
}

func TestKillsSwapsAndReloadsLoseNoCallThatMayBeRepeated(t *testing.T) {
	kills, others := 20, 4
	if os.Getenv("GAIA_SLOW") != "" {
		kills, others = 100, 20
	}
	dir := newHouse(t)
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-other")
	notes := filepath.Join(dir, "notes")
	config := func(queue int) string {
		return fleetConfig(fmt.Sprintf("  limits { queue = %d }\n  restart {\n    backoff = \"1ms\"\n    max_backoff = \"5ms\"\n    stable_after = \"0s\"\n    hold = \"20s\"\n    crash_loop { exits = 0 }\n  }\n", queue), "echo")
	}
	h := open(t, dir, config(2000), "echo")
	calm := h.storm(t, 64, notes)
	var killed uint64
	next := func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > killed }
	for n := range kills {
		s := h.await(t, "echo", next)
		for i := range 5 + rand.IntN(50) { // at a random moment of its life
			h.repeatable(t, fmt.Sprintf("killer-%d-%d", n, i))
		}
		killed = s.GetGeneration()
		kill(t, s.GetPid())
		if n%(kills/others) > 0 {
			continue
		}
		h.await(t, "echo", next)
		plugin := []string{"fleet-echo", "fleet-other"}[n%2]
		if _, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: "echo", Plugin: plugin}); err != nil {
			t.Errorf("swap %d: %v", n, err)
		}
		if r := h.configure(t, config(2000+n)); !r.GetApplied() {
			t.Errorf("reload %d: %v", n, r)
		}
	}
	h.await(t, "echo", next)
	calm().check(t, notes)
	t.Logf("%d kills, %d swaps, %d reloads on %d CPUs; %v calls repeated, %v held", kills, others, others, runtime.NumCPU(),
		h.metric(t, `gaia_retries_total{subsystem="echo"}`), h.metric(t, `gaia_held_total{subsystem="echo"}`))
}
