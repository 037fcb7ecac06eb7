// Package progress tells a person at a terminal how far long work has come, on
// one line that is gone when the work has ended.
package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// patience is how long work takes before anything is said of it: what
	// appears and goes at once is flicker.
	patience = 500 * time.Millisecond
	// redraw is how often the line changes: often enough to look alive, and
	// seldom enough to be read.
	redraw = 200 * time.Millisecond
)

// Line is work under way. All methods may be called on nil, which is a line that
// nobody sees, and from any goroutine.
type Line struct {
	stop, stopped chan struct{}

	mu       sync.Mutex
	to       io.Writer
	label    string
	begun    time.Time
	sent     int64
	total    int64 // of what is sent; 0 while that is not known
	received int64
	drawn    bool
}

// Start begins a line on a terminal. The caller stops it, before it writes
// anything else to the terminal than by Above.
func Start(terminal io.Writer, label string) *Line {
	l := &Line{to: terminal, label: label, begun: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{})}
	go l.run()
	return l
}

func (l *Line) run() {
	defer close(l.stopped)
	next := time.NewTimer(patience)
	defer next.Stop()
	for {
		select {
		case <-l.stop:
			l.Erase()
			return
		case <-next.C:
			l.draw()
			next.Reset(redraw)
		}
	}
}

// Stop takes the line away. It returns when that has been done.
func (l *Line) Stop() {
	if l == nil {
		return
	}
	close(l.stop)
	<-l.stopped
}

// Total says how many bytes are to be sent.
func (l *Line) Total(bytes int64) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total = bytes
}

// Sent counts bytes that were sent.
func (l *Line) Sent(bytes int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent += int64(bytes)
}

// Received counts bytes that have come.
func (l *Line) Received(bytes int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received += int64(bytes)
}

// Erase takes the line away until it is drawn again, so that something else may
// be printed.
func (l *Line) Erase() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}

const (
	eraseLine = "\r\x1b[K"
	noWrap    = "\x1b[?7l" // what a narrow terminal has no room for would be a second line, and stay
	wrap      = "\x1b[?7h"
)

func (l *Line) erase() {
	if l.drawn {
		_, _ = io.WriteString(l.to, eraseLine) // a terminal that is gone shows nothing
		l.drawn = false
	}
}

func (l *Line) draw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.to, eraseLine+noWrap+l.text(time.Since(l.begun))+wrap)
	l.drawn = true
}

// text is what the line says after a time.
func (l *Line) text(took time.Duration) string {
	text := l.label
	if l.sent > 0 {
		text += "  sent " + size(l.sent)
		if l.total > 0 {
			text += fmt.Sprintf(" of %s  %d%%", size(l.total), min(100, l.sent*100/l.total))
		}
		text += "  " + perSecond(l.sent, took) + left(l.sent, l.total, took)
	}
	if l.received > 0 {
		text += "  received " + size(l.received) + "  " + perSecond(l.received, took)
	}
	return text + "  " + took.Truncate(time.Second).String()
}

func perSecond(bytes int64, took time.Duration) string {
	return size(int64(float64(bytes)/max(took.Seconds(), 0.001))) + "/s"
}

// left is how long the rest takes at the speed until now.
func left(done, total int64, took time.Duration) string {
	if done <= 0 || total <= done {
		return ""
	}
	rest := time.Duration(float64(took) * float64(total-done) / float64(done))
	return "  " + rest.Round(time.Second).String() + " left"
}

func size(bytes int64) string {
	switch b := float64(bytes); {
	case b < 1<<10:
		return fmt.Sprintf("%dB", bytes)
	case b < 1<<20:
		return fmt.Sprintf("%.0fKiB", b/(1<<10))
	case b < 1<<30:
		return fmt.Sprintf("%.1fMiB", b/(1<<20))
	default:
		return fmt.Sprintf("%.2fGiB", b/(1<<30))
	}
}

// Reader counts what is read from r as sent.
func (l *Line) Reader(r io.ReadCloser) io.ReadCloser {
	if l == nil {
		return r
	}
	return counted{r, l}
}

type counted struct {
	io.ReadCloser

	line *Line
}

// Read reads and counts.
func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.line.Sent(n)
	return n, err
}

// Above returns a writer to the same terminal, whose lines stay, above this one.
func (l *Line) Above() io.Writer { return above{l} }

type above struct{ line *Line }

// Write writes whole lines.
func (a above) Write(p []byte) (int, error) {
	a.line.mu.Lock()
	defer a.line.mu.Unlock()
	a.line.erase()
	return a.line.to.Write(p)
}
