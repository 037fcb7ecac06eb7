package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

func isUp(s Status) bool { return s.State == Ready }

func TestACandidateThatComesToNothingLeavesTheNextStartAsItWas(t *testing.T) {
	p := plan(t, "fleet-exit", "  restart {\n    backoff = \"300ms\"\n    max_backoff = \"300ms\"\n    crash_loop { exits = 0 }\n  }\n")
	r := supervise(t, p)
	r.await(func(s Status) bool { return s.State == Backoff })
	if err := r.Swap(t.Context(), NewPlan(p.Subsystem), "an operator asked for a restart"); err == nil {
		t.Error("a plugin that exits has taken over")
	}
	before := r.Status().Generation
	r.await(func(s Status) bool { return s.Generation > before })
}

func TestARenewalWhoseCallerHasLeftOutlivesAReloadAndACrash(t *testing.T) {
	block := filepath.Join(t.TempDir(), "block")
	p := plan(t, "fleet-exclusive", "  config { user_agent = \""+block+"\" }\n")
	r := supervise(t, p)
	r.await(isUp)
	if err := os.WriteFile(block, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- r.Swap(ctx, NewPlan(p.Subsystem), "an operator asked for a restart") }()
	r.await(func(s Status) bool { return s.Generation == 2 && s.State == Starting })
	cancel()
	if err := <-left; err == nil {
		t.Error("the caller was told that all is well")
	}
	if err := r.Adopt(NewPlan(p.Subsystem), false); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	r.await(func(s Status) bool { return isUp(s) && s.Generation == 2 })
	r.Instance().process.Kill()
	r.await(func(s Status) bool { return isUp(s) && s.Generation == 3 })
}

func TestThePlanThatTakesOverBringsItsOwnSpares(t *testing.T) {
	r := supervise(t, plan(t, "fleet-echo", ""))
	r.await(isUp)
	if err := r.Swap(t.Context(), plan(t, "fleet-echo", "  restart { standby = 1 }\n"), "the config was reloaded"); err != nil {
		t.Fatal(err)
	}
	r.await(func(s Status) bool { return s.Spares == 1 })
	if err := r.Swap(t.Context(), plan(t, "fleet-echo", ""), "the config was reloaded"); err != nil {
		t.Fatal(err)
	}
	r.await(func(s Status) bool { return s.Spares == 0 && s.Generation == 4 })
}

func TestWhoAskedForASwapIsToldWhenOthersSeeIt(t *testing.T) {
	p := plan(t, "fleet-echo", "")
	r := supervise(t, p)
	r.await(isUp)
	r.copyOf("fleet-echo", "fleet-exclusive")
	r.described = func() { <-time.After(20 * time.Millisecond) } // as a slow disk would
	next := NewPlan(p.Subsystem)
	next.KeepSwap("fleet-exclusive")
	if err := r.Swap(t.Context(), next, "an operator asked for a swap"); err != nil {
		t.Fatal(err)
	}
	if s := r.Status(); s.Generation != 2 || s.File != "fleet-exclusive" {
		t.Errorf("the swap is said to be done, and generation %d of %s serves", s.Generation, s.File)
	}
}

func TestWhatACandidateSaysOfItselfIsForgottenWithIt(t *testing.T) {
	block := filepath.Join(t.TempDir(), "block")
	p := plan(t, "fleet-echo", "  restart { standby = 1 }\n  config { user_agent = \""+block+"\" }\n")
	r := supervise(t, p)
	r.await(func(s Status) bool { return isUp(s) && s.Spares == 1 })
	r.copyOf("fleet-echo", "fleet-exclusive")
	if err := os.WriteFile(block, nil, 0o600); err != nil { // and so it will never be ready
		t.Fatal(err)
	}
	next := NewPlan(p.Subsystem)
	next.KeepSwap("fleet-exclusive")
	ctx, cancel := context.WithCancel(t.Context())
	swapped := make(chan error, 1)
	go func() { swapped <- r.Swap(ctx, next, "an operator asked for a swap") }()
	describedYet := func(Status) bool { return len(r.known.all()) == 2 }
	r.await(describedYet)
	cancel()
	if err := <-swapped; err == nil {
		t.Error("a swap that was given up is done")
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	if err := r.Adopt(NewPlan(p.Subsystem), false); err != nil {
		t.Fatal(err)
	}
	if s := r.Status(); s.Spares != 1 || s.Generation != 1 {
		t.Errorf("after a swap that was given up: %+v, want generation 1 and its spare", s)
	}
}

func TestAPluginThatBreaksTheLinkIsReplaced(t *testing.T) {
	r := supervise(t, plan(t, "fleet-babble", ""))
	r.await(isUp)
	first := r.Instance()
	if first.Transport() != "link" {
		t.Fatalf("calls go over %s, want link", first.Transport())
	}
	for generation := uint64(1); generation < 3; generation++ {
		// The answer goes the other way, or is lost with the process.
		_, _ = apiv1.NewAPIClientPoolClient(r.Instance()).Do(t.Context(), &apiv1.DoRequest{})
		r.await(func(s Status) bool { return isUp(s) && s.Generation == generation+1 })
	}
	pid := " pid=" + strconv.Itoa(first.PID())
	for _, want := range []string{
		"it is killed: generation=1 subsystem=s" + pid + ` err="a frame of`,
		"plugin exited: generation=1 subsystem=s" + pid + ` exit="its link ended and it lived on: a frame of`,
	} {
		if !r.logsSoon(want) {
			t.Errorf("the log lacks %q:\n%s", want, r.log.String())
		}
	}
}

func TestALinkThatEndsWithItsProcessIsNothingToTell(t *testing.T) {
	r := supervise(t, plan(t, "fleet-echo", ""))
	r.await(isUp)
	r.Instance().process.Kill()
	r.await(func(s Status) bool { return isUp(s) && s.Generation == 2 })
	if log := r.log.String(); strings.Contains(log, "lives on") {
		t.Errorf("log:\n%s", log)
	}
}

// all returns what is known.
func (k *known) all() map[string]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make(map[string]bool)
	for sum := range k.descriptions {
		all[sum] = true
	}
	return all
}
