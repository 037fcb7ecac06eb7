package keyed

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestOneAtATimeHoldsALockAndNothingIsLeft(t *testing.T) {
	var locks Locks
	var all sync.WaitGroup
	counts := map[string]*int{"a": new(int), "b": new(int)}
	for name, n := range counts {
		for range 50 {
			all.Go(func() {
				unlock, err := locks.Lock(t.Context(), name)
				if err != nil {
					t.Error(err)
					return
				}
				*n++ // the race detector looks at this
				unlock()
			})
		}
	}
	all.Wait()
	if *counts["a"] != 50 || *counts["b"] != 50 || len(locks.held) != 0 {
		t.Errorf("got %d and %d, %d locks left; want 50, 50 and none", *counts["a"], *counts["b"], len(locks.held))
	}
}

func TestWhoWaitsForALockGivesUpWithItsContext(t *testing.T) {
	var locks Locks
	unlock, err := locks.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := locks.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	unlock()
	if unlock, err = locks.Lock(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	unlock()
	if len(locks.held) != 0 {
		t.Errorf("%d locks are left", len(locks.held))
	}
}
