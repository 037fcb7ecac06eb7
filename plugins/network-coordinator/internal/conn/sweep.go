package conn

import (
	"context"
	"net"
	"time"
)

// HalfCloseTimeout is how long a connection may carry nothing once one direction
// has ended, if idle_timeout is not less: by then a peer that was to answer has
// mostly forgotten to close.
const HalfCloseTimeout = 30 * time.Second

// quietTime is after how long a host is asked whether it is still there, which
// also keeps routers between from forgetting the connection. Most connections
// do not live that long, and are spared the system calls.
const quietTime = 30 * time.Second

// longestSweep is how late an end by idle_timeout or lifetime may come.
const longestSweep = time.Second

// Run ends connections that are idle or too old, until ctx ends. One sweep over
// all of them looks at counters that move anyway: a tunnel needs no timers, and
// no clock where bytes move.
func (t *Table) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			timer.Reset(t.sweep(now))
		}
	}
}

// sweep ends what is due, and returns when to look again.
func (t *Table) sweep(now time.Time) time.Duration {
	way := t.way.Load()
	if way == nil {
		return longestSweep / 20
	}
	type due struct {
		conn *Conn
		why  Reason
	}
	var ends []due
	t.mu.Lock()
	for _, c := range t.open {
		c.look(now)
		if !c.probed && now.Sub(c.since) >= quietTime {
			c.probed = true
			_ = c.host.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: quietTime, Interval: quietTime})
		}
		if why := way.judge(c, now); why != "" {
			ends = append(ends, due{c, why})
		}
	}
	t.mu.Unlock()
	for _, d := range ends {
		d.conn.End(d.why)
	}
	least := way.Idle
	if way.Lifetime > 0 {
		least = min(least, way.Lifetime)
	}
	return max(min(least/8, longestSweep), time.Millisecond)
}

// look notes whether something has been carried since it was last called, be it
// the end of a direction. The table's lock is held.
func (c *Conn) look(now time.Time) {
	carried := c.sent.Load() + c.received.Load()
	if c.half.Load() {
		carried++
	}
	if carried != c.carried {
		c.carried, c.since = carried, now
	}
}

// judge says why a connection is to end, "" if it is not.
func (w *Way) judge(c *Conn, now time.Time) Reason {
	quiet := now.Sub(c.since)
	switch {
	case w.Lifetime > 0 && now.Sub(c.Opened) >= w.Lifetime:
		return Expired
	case quiet >= w.Idle:
		return Idle
	case c.half.Load() && quiet >= HalfCloseTimeout:
		return HalfClosed
	}
	return ""
}
