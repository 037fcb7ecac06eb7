package wire

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestNobodyEntersAfterTheDoorIsShutAndADrainWaitsForAllWhoDid(t *testing.T) {
	for range 500 {
		d := NewDoor()
		var inside atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for d.Enter() {
					inside.Add(1)
					inside.Add(-1)
					d.Leave()
				}
			})
		}
		if left := d.Drain(t.Context()); left != 0 {
			t.Fatalf("the drain left %d calls inside", left)
		}
		if got := inside.Load(); got != 0 || d.Enter() {
			t.Fatalf("%d calls are inside after the drain, or one came in", got)
		}
		callers.Wait()
	}
}

func TestADrainWaitsForTheLastCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDoor()
		d.Enter()
		d.Enter()
		drained := make(chan int)
		for range 2 { // the host asks, then SIGTERM comes
			go func() { drained <- d.Drain(t.Context()) }()
		}
		synctest.Wait()
		if d.Enter() {
			t.Error("a call was taken while draining")
		}
		d.Leave()
		synctest.Wait()
		select {
		case <-drained:
			t.Error("the drain did not wait for the second call")
		default:
		}
		d.Leave()
		for range 2 {
			if left := <-drained; left != 0 {
				t.Errorf("got %d calls inside, want 0", left)
			}
		}
		if left := d.Drain(t.Context()); left != 0 {
			t.Errorf("drained again: got %d calls inside, want 0", left)
		}
	})
}

func TestADrainEndsWithItsPatience(t *testing.T) {
	d := NewDoor()
	d.Enter()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if left := d.Drain(ctx); left != 1 {
		t.Errorf("got %d calls inside, want 1", left)
	}
	d.Leave()
	<-d.Shut()
	if left := d.Drain(ctx); left != 0 { // though there is no patience
		t.Errorf("got %d calls inside, want 0", left)
	}
}

func TestADoorIsShutWhileNobodyIsInside(t *testing.T) {
	d := NewDoor()
	<-d.Shut()
	<-d.Shut()
	if d.Enter() {
		t.Error("a call came in by a door that is shut")
	}
}
