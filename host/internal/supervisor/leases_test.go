package supervisor

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

func TestNobodyEntersAfterTheDoorIsShutAndTheDrainWaitsForAllWhoDid(t *testing.T) {
	for range 200 {
		l := leases{idle: make(chan struct{})}
		var inside atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for l.enter() {
					inside.Add(1)
					inside.Add(-1)
					l.leave()
				}
			})
		}
		if !l.drain(t.Context(), nil) {
			t.Fatal("the drain was cut short")
		}
		if got := inside.Load(); got != 0 || l.enter() {
			t.Fatalf("%d calls are inside after the drain", got)
		}
		callers.Wait()
	}
}

func TestADrainEndsWithItsPatienceOrWithTheProcess(t *testing.T) {
	l := leases{idle: make(chan struct{})}
	l.enter()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l.drain(ctx, nil) {
		t.Error("a drain with a call inside ended well")
	}
	exited := make(chan struct{})
	close(exited)
	if !l.drain(t.Context(), exited) {
		t.Error("a drain outlived the process")
	}
}
