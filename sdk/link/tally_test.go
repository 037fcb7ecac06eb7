package link_test

import (
	"fmt"
	"sync"
	"testing"
)

// A tally counts the faults that many callers saw, so that a failure prints a
// line for each kind and not for each caller. Safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	faults map[string]int
}

func (c *tally) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.faults == nil {
		c.faults = make(map[string]int)
	}
	c.faults[fmt.Sprintf(format, args...)]++
}

// report is called when all callers are back.
func (c *tally) report(tb testing.TB) {
	tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for fault, times := range c.faults {
		tb.Errorf("%d × %s", times, fault)
	}
}
