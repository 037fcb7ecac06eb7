package conn

import (
	"testing"
	"time"
)

func TestWhatIsDueEndsAndWhatCarriesDoesNot(t *testing.T) {
	opened := time.Unix(1000, 0)
	way := Way{Idle: time.Minute, Lifetime: time.Hour}
	for name, test := range map[string]struct {
		way   Way
		quiet time.Duration // how long ago bytes were carried
		age   time.Duration
		half  bool
		want  Reason
	}{
		"carries":                     {way, 0, time.Minute, false, ""},
		"is quiet":                    {way, time.Minute - 1, time.Minute, false, ""},
		"is idle":                     {way, time.Minute, time.Minute, false, Idle},
		"is old, and carries":         {way, 0, time.Hour, false, Expired},
		"is old without a lifetime":   {Way{Idle: time.Minute}, 0, 1000 * time.Hour, false, ""},
		"half closed, and carries":    {way, 0, 30 * time.Minute, true, ""},
		"half closed, quiet":          {way, HalfCloseTimeout - 1, time.Minute, true, ""},
		"half closed, too long":       {way, HalfCloseTimeout, time.Minute, true, HalfClosed},
		"half closed, idle_timeout 5": {Way{Idle: 5 * time.Second}, 5 * time.Second, time.Minute, true, Idle},
	} {
		t.Run(name, func(t *testing.T) {
			now := opened.Add(test.age)
			c := &Conn{Opened: opened, since: now.Add(-test.quiet)}
			c.half.Store(test.half)
			if got := test.way.judge(c, now); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTheEndOfADirectionIsASignOfLife(t *testing.T) {
	c := &Conn{}
	first, later := time.Unix(1, 0), time.Unix(2, 0)
	c.received.Store(7)
	c.look(first)
	c.look(later)
	if c.since != first {
		t.Errorf("without a change: got %v, want %v", c.since, first)
	}
	c.half.Store(true)
	c.look(later)
	if c.since != later {
		t.Errorf("after the end of a direction: got %v, want %v", c.since, later)
	}
}
