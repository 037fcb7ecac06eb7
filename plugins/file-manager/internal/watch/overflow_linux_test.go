package watch

import (
	"fmt"
	"strconv"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
)

func TestEventsThatTheSystemHasDroppedAreMadeUpFor(t *testing.T) {
	most, err := strconv.Atoi(limit("max_queued_events"))
	if err != nil || most > 50_000 {
		t.Skipf("too many events would be needed: %d, %v", most, err)
	}
	hub, root := newHub(t, 1000), newRoot(t)
	v := observe(t, hub, root, Options{Path: ".", Recursive: true})
	func() {
		hub.notifier.mu.Lock() // nobody reads events
		defer hub.notifier.mu.Unlock()
		for i := range most/2 + 2000 {
			v.write("f", "x") // at least two events, each time of another file
			v.do(root.Rename("f", "g"))
			if i%100 == 0 {
				v.write(fmt.Sprintf("kept%d", i), "")
			}
		}
		v.do(root.MkdirAll("made/after/the/overflow", 0o755))
		v.write("made/after/the/overflow/f", "x")
	}()
	v.until("OVERFLOW", func(r *filev1.WatchResponse) bool { return r.GetEvent() == filev1.Event_OVERFLOW })
	v.settle("made/after")
	v.sameAsDisk(".")
}
