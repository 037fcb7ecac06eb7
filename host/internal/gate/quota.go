package gate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Quota is how often calls may start.
type Quota struct {
	Events uint64        // per Per; 0: any number, and the rest does not matter
	Per    time.Duration // above zero
	Burst  int           // calls admitted at once after an idle spell; below 1 means 1
}

// Limit writes the quota without its burst, as config.hcl does: "50/s".
func (q Quota) Limit() string {
	period := shortDuration(q.Per)
	switch q.Per {
	case time.Second:
		period = "s"
	case time.Minute:
		period = "min"
	case time.Hour:
		period = "h"
	case 24 * time.Hour:
		period = "day"
	default:
	}
	return strconv.FormatUint(q.Events, 10) + "/" + period
}

// shortDuration writes d without the zeros that Duration.String adds: "5m".
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// roughly rounds d to three digits, for people.
func roughly(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// pace is a quota as a bucket reckons with it, in nanoseconds.
type pace struct {
	Quota
	path     string // of the block in config.hcl that says it
	interval int64  // from one token to the next; at least 1
	slack    int64  // how much of the time before a call's turn a burst lets it skip
	late     int64  // see bucket.draw
	spare    *bucket
}

const (
	// longest bounds what a bucket adds up: 36 years, so that no sum of them
	// leaves an int64.
	longest = int64(1) << 60

	// maxLate is by how much the timer of a waiting call may be late without
	// its token being lost: twice of what was measured on an idle machine, and
	// room for a busy one.
	maxLate = int64(10 * time.Millisecond)
)

// newPace returns the pace of a quota. The interval is rounded up, so that the
// quota is never exceeded; up to 10,000,000 calls a second that costs less
// than one in a hundred.
func newPace(q Quota, path string) *pace {
	q.Burst = max(q.Burst, 1)
	events := int64(min(q.Events, math.MaxInt64))
	per := max(int64(q.Per), 1)
	p := &pace{Quota: q, path: path, interval: per / events}
	if per%events != 0 {
		p.interval++
	}
	p.interval = min(p.interval, longest)
	p.slack = longest
	if more := int64(q.Burst - 1); more <= longest/p.interval {
		p.slack = more * p.interval
	}
	p.late = max(0, maxLate-p.slack)
	p.spare = &bucket{pace: p}
	return p
}

// describe writes the pace for people.
func (p *pace) describe() string { return fmt.Sprintf("%s with a burst of %d", p.Limit(), p.Burst) }

// settings are where the pace is written in config.hcl.
func (p *pace) settings() []Setting {
	return []Setting{
		{p.path + ".limit", p.Limit()},
		{p.path + ".burst", strconv.Itoa(p.Burst)},
	}
}
