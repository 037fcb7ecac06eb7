package coordinator

import (
	"sync"
	"time"

	"github.com/gaia-go/gaia/sdk/egress"
	"github.com/hashicorp/go-hclog"
)

// denialLog writes a line for each denial, but no more than a few a second:
// a program that keeps on trying must not fill the disk.
type denialLog struct {
	logger hclog.Logger

	mu      sync.Mutex
	second  time.Time // that is counted
	written int       // lines in it
	dropped int       // since the last line
}

const denialsPerSecond = 10

func newDenialLog(logger hclog.Logger) *denialLog { return &denialLog{logger: logger} }

func (l *denialLog) add(d *egress.Denied) {
	dropped, ok := l.turn(time.Now())
	if !ok {
		return
	}
	line := []any{
		"client", d.Client, "host", d.Host.String(), "port", d.Port, "rule", d.Rule,
	}
	if d.Place != "" {
		line = append(line, "place", d.Place)
	}
	if d.Addr.IsValid() {
		line = append(line, "address", d.Addr.String())
	}
	if dropped > 0 {
		line = append(line, "more", dropped)
	}
	message := "connection denied"
	if d.Passed {
		message = "connection would be denied"
	}
	l.logger.Info(message, line...)
}

// turn reports whether a line may be written now, and how many were not since
// the last one.
func (l *denialLog) turn(now time.Time) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.second) >= time.Second {
		l.second, l.written = now, 0
	}
	if l.written == denialsPerSecond {
		l.dropped++
		return 0, false
	}
	l.written++
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}
