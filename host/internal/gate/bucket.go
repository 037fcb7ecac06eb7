package gate

import (
	"sync"
	"sync/atomic"
	"time"
)

// bucket holds the tokens of one pace. It is a GCRA: all that it remembers is
// one moment, the one at which it will be full again. A token that is taken
// moves that by an interval; there is none while it lies further ahead than
// the slack. Hence in any window of length t at most t/interval + burst tokens
// are taken, whatever happened before.
//
// The word has that moment in all bits but the lowest, which says that calls
// wait. While it is set only the first of them takes tokens, so that newcomers
// do not overtake. A word below zero says that the bucket was dropped.
//
// A bucket of a key takes 24 bytes.
type bucket struct {
	word atomic.Int64
	pace *pace
	line atomic.Pointer[line] // nil: nobody ever waited
}

// padded is a bucket for all calls. What lies beside it in memory would slow
// down each time that another core takes a token.
type padded struct {
	bucket

	_ [40]byte
}

// line is the calls that wait for a token. Tokens are taken for them when they
// are due, not before: a call that leaves has cost nothing.
type line struct {
	mu sync.Mutex

	queue
}

const (
	waitingBit = int64(1)
	dropped    = int64(-1)
)

// take takes a token if there is one and nobody waits for it.
func (b *bucket) take(now int64) verdict {
	for {
		word := b.word.Load()
		if word < 0 {
			return gone
		}
		full := max(word>>1, now)
		if word&waitingBit != 0 || full-now > b.pace.slack {
			return short
		}
		if b.word.CompareAndSwap(word, (full+b.pace.interval)<<1) {
			return taken
		}
	}
}

// giveBack returns the token of a call that was not forwarded after all. The
// time that has passed since it was taken is kept: in that time others went by
// what was left, and all of it could be too much.
func (b *bucket) giveBack(since, now int64) {
	back := b.pace.interval - max(0, now-since)
	if back <= 0 {
		return
	}
	for {
		word := b.word.Load()
		if word < 0 {
			return
		}
		full := max(0, word>>1-back)
		if !b.word.CompareAndSwap(word, full<<1|word&waitingBit) {
			continue
		}
		if word&waitingBit != 0 {
			b.callFirst()
		}
		return
	}
}

// callFirst makes the first in the line look again, because its token is due
// sooner.
func (b *bucket) callFirst() {
	l := b.line.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first != nil {
		l.first.call()
	}
}

// due is when there will be a token for a call that comes behind others. l.mu
// is held, if there is a line.
func (b *bucket) due(word int64, ahead int) int64 {
	return word>>1 - b.pace.slack + int64(ahead)*b.pace.interval
}

// join takes a token if there is one after all, or a place in the line for w,
// or neither when a token is due only after wait, or not before the deadline. Due
// is when it would be. Without a w it says no more than that there is a place.
//
// It reads the clock itself, after the word: who read it before, and then had to
// pause, would see tokens of later calls and none for itself.
func (b *bucket) join(w *waiter, k clock, wait time.Duration, deadline int64) (now, due int64, v verdict) {
	l := b.waiting()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		word := b.word.Load()
		if word < 0 {
			return 0, 0, gone
		}
		now, due = k.now(), b.due(word, l.length)
		switch {
		case word&waitingBit == 0 && due <= now:
			if b.word.CompareAndSwap(word, (max(word>>1, now)+b.pace.interval)<<1) {
				return now, due, taken
			}
		case due-now > int64(wait) || due >= deadline: // at the deadline itself the call is over
			return now, due, refused
		case w == nil:
			return now, due, short
		case word&waitingBit != 0 || b.word.CompareAndSwap(word, word|waitingBit):
			l.push(w)
			return now, due, short
		}
	}
}

func (b *bucket) waiting() *line {
	if l := b.line.Load(); l != nil {
		return l
	}
	b.line.CompareAndSwap(nil, new(line))
	return b.line.Load()
}

// look tells a call in the line whether it has its token. If it is the first
// one it takes those that are due, for itself and for those behind it, and
// learns when the next one is; the others are told.
func (b *bucket) look(w *waiter, now int64) (granted bool, next int64) {
	l := b.line.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first != w {
		return w.granted, never
	}
	for l.first != nil && b.draw(now) {
		first := l.first
		l.remove(first)
		first.granted, first.since = true, now-b.pace.late
		if first != w {
			first.call()
		}
	}
	if w.granted {
		b.handOn(l)
		return true, 0
	}
	return false, b.due(b.word.Load(), 0)
}

// draw takes a token for a call that waits, and reports whether one is due.
//
// The call's timer may be late. Up to a bound the token counts from when it
// was due: else a bucket without a burst would lose that time with every call
// and fall short of its limit. Where the burst is longer than the bound
// nothing is lost either way.
func (b *bucket) draw(now int64) bool {
	for {
		word := b.word.Load()
		if b.due(word, 0) > now {
			return false
		}
		full := max(word>>1, now-b.pace.late) + b.pace.interval
		if b.word.CompareAndSwap(word, full<<1|waitingBit) {
			return true
		}
	}
}

// leave gives up a place in the line. It reports whether the call had a token
// already.
func (b *bucket) leave(w *waiter) (granted bool) {
	l := b.line.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.granted {
		return true
	}
	first := l.first == w
	l.remove(w)
	if first {
		b.handOn(l)
	}
	return false
}

// handOn makes the next in the line the one that takes tokens, and opens the
// bucket to all when there is none. l.mu is held.
func (b *bucket) handOn(l *line) {
	if l.first != nil {
		l.first.call()
		return
	}
	for {
		word := b.word.Load()
		if b.word.CompareAndSwap(word, word&^waitingBit) {
			return
		}
	}
}

// retire drops the bucket, if it has been full since a moment: it is as good as
// a new one.
func (b *bucket) retire(since int64) bool {
	word := b.word.Load()
	return word >= 0 && word&waitingBit == 0 && word>>1 <= since && b.word.CompareAndSwap(word, dropped)
}

// counts is how many tokens are left and how many calls wait.
func (b *bucket) counts(now int64) (tokens int64, waiting int) {
	full := max(b.word.Load()>>1, now)
	tokens = max(0, (b.pace.slack+b.pace.interval-(full-now))/b.pace.interval)
	if l := b.line.Load(); l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		waiting = l.length
	}
	return tokens, waiting
}
