package wire

import (
	"context"
	"sync/atomic"
)

// shut is the bit of Door.state that closes the door; the bits below it count
// who is inside.
const shut = 1 << 62

// Door counts the calls that are inside, and can be shut behind them: the
// host's before an instance ends, the plugin's before its services are closed.
// Made by NewDoor; safe for concurrent use.
type Door struct {
	state atomic.Int64  // door and count in one word, so that neither changes unseen by the other
	empty chan struct{} // closed when the door is shut and nobody is inside
}

// NewDoor returns a door that is open.
func NewDoor() *Door { return &Door{empty: make(chan struct{})} }

// Enter counts a call in, or reports false when the door is shut. Who was
// counted in calls Leave, once.
func (d *Door) Enter() bool {
	for {
		state := d.state.Load()
		if state&shut != 0 {
			return false
		}
		if d.state.CompareAndSwap(state, state+1) {
			return true
		}
	}
}

// Leave counts a call out.
func (d *Door) Leave() {
	if d.state.Add(-1) == shut {
		close(d.empty)
	}
}

// Shut lets nobody in any more. What it returns is closed when nobody is inside.
// It may be called again.
func (d *Door) Shut() <-chan struct{} {
	if d.state.Or(shut) == 0 {
		close(d.empty)
	}
	return d.empty
}

// Inside is how many calls are inside.
func (d *Door) Inside() int { return int(d.state.Load() &^ shut) }

// Drain shuts the door and waits until nobody is inside, or ctx ends. It returns
// how many still are.
func (d *Door) Drain(ctx context.Context) int {
	select {
	case <-d.Shut():
	case <-ctx.Done():
	}
	return d.Inside()
}
