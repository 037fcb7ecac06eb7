// Package keyed has locks by name, which take no memory while nobody holds them.
package keyed

import (
	"context"
	"sync"
)

// Locks are locks by name. The zero value is ready. They are safe for concurrent
// use.
type Locks struct {
	mu   sync.Mutex
	held map[string]*lock // those that somebody holds or waits for
}

type lock struct {
	free  chan struct{} // has a token while nobody holds the lock
	users int           // who hold it or wait for it
}

// Lock waits for the lock of a name until ctx ends. The caller calls unlock once.
// Who holds several asks for them in the order of their names.
func (l *Locks) Lock(ctx context.Context, name string) (unlock func(), err error) {
	k := l.join(name)
	select {
	case <-k.free:
		return func() {
			k.free <- struct{}{}
			l.leave(name, k)
		}, nil
	case <-ctx.Done():
		l.leave(name, k)
		return nil, ctx.Err()
	}
}

func (l *Locks) join(name string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.held[name]
	if k == nil {
		if l.held == nil {
			l.held = map[string]*lock{}
		}
		k = &lock{free: make(chan struct{}, 1)}
		k.free <- struct{}{}
		l.held[name] = k
	}
	k.users++
	return k
}

func (l *Locks) leave(name string, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.held, name)
	}
}
