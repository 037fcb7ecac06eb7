package app

import (
	"io"
	"sync"
	"time"
)

const (
	// outletRoom is how many bytes of the log wait for somebody to read them.
	outletRoom = 1 << 20
	// outletGrace is how long the end waits for who does not read.
	outletGrace = time.Second
)

// outlet lets the log never wait: a terminal that was stopped, or a pipe that
// nobody reads, would else hold up whoever says something, and that may be a
// reload or the end. Lines for which there is no room are dropped and counted.
type outlet struct {
	to      io.Writer
	dropped func(lines int) // told when there is room again
	wake    chan struct{}   // has room for one
	ended   chan struct{}   // closed when all is written that was there at close

	mu      sync.Mutex
	waiting []byte
	lost    int // lines
	closed  bool
}

// openOutlet starts a goroutine, which close ends. dropped may say something
// itself.
func openOutlet(to io.Writer, dropped func(lines int)) *outlet {
	o := &outlet{to: to, dropped: dropped, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go o.run()
	return o
}

// Write takes one line of the log. It never fails: there is nobody to tell.
func (o *outlet) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting)+len(line) > outletRoom {
		o.lost++
		return len(line), nil
	}
	o.waiting = append(o.waiting, line...)
	o.nudge()
	return len(line), nil
}

func (o *outlet) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outlet) run() {
	defer close(o.ended)
	var spare []byte
	for range o.wake {
		o.mu.Lock()
		lines, lost, last := o.waiting, o.lost, o.closed
		o.waiting, o.lost = spare[:0], 0
		o.mu.Unlock()
		_, _ = o.to.Write(lines) // there is nobody to tell
		spare = lines
		switch {
		case lost > 0:
			o.dropped(lost)
			o.nudge() // for what it has said, and for the end
		case last:
			return
		}
	}
}

// close waits until all is written, but no longer than outletGrace: then the
// goroutine is left to the end of the process.
func (o *outlet) close() {
	o.mu.Lock()
	o.closed = true
	o.nudge()
	o.mu.Unlock()
	late := time.NewTimer(outletGrace)
	defer late.Stop()
	select {
	case <-o.ended:
	case <-late.C:
	}
}
