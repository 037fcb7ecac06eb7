package supervisor

import (
	"context"
	"sync/atomic"
)

// shut is the bit of leases.state that closes the door; the bits below it
// count the calls that have the instance.
const shut = 1 << 62

// leases counts the calls that have an instance and can close the door behind
// them. Safe for concurrent use.
type leases struct {
	state atomic.Int64  // door and count in one word, so that neither changes unseen by the other
	idle  chan struct{} // closed by the last call to leave after the door was closed
}

// enter counts a call in, or reports false when the door is closed.
func (l *leases) enter() bool {
	for {
		state := l.state.Load()
		if state&shut != 0 {
			return false
		}
		if l.state.CompareAndSwap(state, state+1) {
			return true
		}
	}
}

func (l *leases) leave() {
	if l.state.Add(-1) == shut {
		close(l.idle)
	}
}

// drain closes the door and reports whether all calls left before ctx ended.
// Those that ended with the process have left, or are about to.
func (l *leases) drain(ctx context.Context, exited <-chan struct{}) bool {
	if l.state.Or(shut)&^shut == 0 {
		return true
	}
	select {
	case <-l.idle:
		return true
	case <-exited:
		return true
	case <-ctx.Done():
		return false
	}
}
