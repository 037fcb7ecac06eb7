package gateway

import (
	"bytes"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// eventually waits until a condition holds that nothing announces.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		if holds() {
			return
		}
		<-tick.C
	}
	tb.Errorf("after 10s still not: %s", what)
}

// checkNothingRuns fails when a goroutine still runs code of this package.
func checkNothingRuns(tb testing.TB) {
	tb.Helper()
	var left string
	eventually(tb, "all goroutines of the gateway have ended", func() bool {
		left = goroutines()
		return left == ""
	})
	if left != "" {
		tb.Error(left)
	}
}

// checkNothingIsHeld fails when calls that are over still hold a permit, or an
// instance.
func checkNothingIsHeld(tb testing.TB, subsystems []*Subsystem) {
	tb.Helper()
	for _, s := range subsystems {
		eventually(tb, "no call holds a permit of "+s.Name, func() bool { return s.Gate.InFlight() == 0 })
		if o, ok := s.Instances.(only); ok && o.instance != nil {
			eventually(tb, "no call holds the instance of "+s.Name, func() bool { return o.lent.Load() == 0 })
		}
	}
}

// goroutines are the stacks that are in non-test code of this package.
func goroutines() string {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		return err.Error()
	}
	var ours strings.Builder
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, "gateway.(*Server)") {
			ours.WriteString(stack + "\n\n")
		}
	}
	return ours.String()
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct{ text atomic.Pointer[string] }

func (b *syncBuffer) Write(p []byte) (int, error) {
	for {
		old := b.text.Load()
		text := string(p)
		if old != nil {
			text = *old + text
		}
		if b.text.CompareAndSwap(old, &text) {
			return len(p), nil
		}
	}
}

func (b *syncBuffer) String() string {
	if text := b.text.Load(); text != nil {
		return *text
	}
	return ""
}
