// Package turn decides whose turn it is where many wait. Clients take turns: one
// that has a hundred jobs waiting does not keep another's only job from being the
// next but one. The jobs of one client are served in the order in which they came.
package turn

import (
	"cmp"
	"slices"
)

// Line is those who wait, in the order in which they are to be served. It has no
// lock: whoever owns it has one. The zero value is empty.
type Line[T any] struct {
	round   uint64 // in which the last one was served
	waiting []*Ticket[T]
	clients map[string]client // of those who wait
}

// client is one of those who wait.
type client struct {
	waiting int
	last    uint64 // round of its newest ticket
}

// Ticket is the place of one in a line.
type Ticket[T any] struct {
	Value T

	client string
	round  uint64 // each client has one in a round
}

// Join adds one to the line: into the round after the client's last one, or after
// the one that is being served.
func (l *Line[T]) Join(name string, value T) *Ticket[T] {
	if l.clients == nil {
		l.clients = make(map[string]client)
	}
	c := l.clients[name]
	c.last = max(c.last, l.round) + 1
	c.waiting++
	l.clients[name] = c
	t := &Ticket[T]{Value: value, client: name, round: c.last}
	i, _ := slices.BinarySearchFunc(l.waiting, t.round+1, byRound)
	l.waiting = slices.Insert(l.waiting, i, t) // behind the others of its round
	return t
}

func byRound[T any](t *Ticket[T], round uint64) int { return cmp.Compare(t.round, round) }

// Len is how many wait.
func (l *Line[T]) Len() int { return len(l.waiting) }

// At is the one whose turn is after those of i others.
func (l *Line[T]) At(i int) T { return l.waiting[i].Value }

// Serve takes the one at i out of the line: it has got what it waited for.
func (l *Line[T]) Serve(i int) {
	l.round = max(l.round, l.waiting[i].round)
	l.remove(i)
}

// Leave takes one out of the line that waits no longer. It reports whether it was
// still there.
func (l *Line[T]) Leave(t *Ticket[T]) bool {
	i := slices.Index(l.waiting, t)
	if i >= 0 {
		l.remove(i)
	}
	return i >= 0
}

func (l *Line[T]) remove(i int) {
	name := l.waiting[i].client
	l.waiting = slices.Delete(l.waiting, i, i+1)
	c := l.clients[name]
	c.waiting--
	l.clients[name] = c
	if c.waiting == 0 {
		delete(l.clients, name)
	}
}
