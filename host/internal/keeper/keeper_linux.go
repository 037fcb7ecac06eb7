package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sweepPause is the shortest time between two sweeps that nobody waits for: a
	// flood of short-lived orphans must not keep the host busy. A sweep takes
	// 16 µs, and 1.3 µs more for each kept process (BenchmarkSweep).
	sweepPause = 5 * time.Millisecond
	// maxPasses bounds one sweep. Each pass but the last has reaped a process.
	maxPasses = 100
	// killTime is how long a killed process may take to end. Only one that hangs
	// in the kernel takes longer.
	killTime = 2 * time.Second

	// A store may hold a quarter of the descriptors that the host may have, all
	// stores together a half: the rest is for connections and plugins.
	storeShare  = 4
	keeperShare = 2
)

var errStopped = errors.New("keeper: the host is stopping")

// Keeper is the host's. There is at most one in a process, because orphans are
// adopted by the process as a whole. Its methods are safe for concurrent use
// and wait for Run to have begun.
type Keeper struct {
	lacks     error // why orphans are not adopted; nil if they are
	hostMark  mark  // of the host, and so of children that it starts for itself
	hostGroup int   // its process group, as above
	storeRoom int   // descriptors of one store
	room      int   // descriptors of all stores

	launching chan struct{} // has room for the one who starts a process
	work      chan func()
	stopped   chan struct{} // closed by Run

	// What follows is Run's.
	stores   map[*Store]struct{}
	sessions map[uint64]*Session // by number
	waiters  map[*waiter]struct{}
	files    int              // in all stores
	dying    map[*Session]int // killed processes, by whose they were; nil is a session long ended
	closing  bool
	sweeps   *time.Timer // the next sweep that nobody waits for
	swept    time.Time
}

// waiter waits for what a sweep may bring about.
type waiter struct {
	ready func() bool // called by Run
	done  chan struct{}
}

// New makes this process adopt its orphaned descendants, if it can; see
// Degraded. Run does the rest.
func New() *Keeper {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		files.Cur = 1024 // as if it had never been raised
	}
	limit := int(min(files.Cur, 1<<20))
	k := &Keeper{
		hostGroup: unix.Getpgrp(),
		storeRoom: limit / storeShare,
		room:      limit / keeperShare,
		launching: make(chan struct{}, 1),
		work:      make(chan func()),
		stopped:   make(chan struct{}),
		stores:    make(map[*Store]struct{}),
		sessions:  make(map[uint64]*Session),
		waiters:   make(map[*waiter]struct{}),
		sweeps:    time.NewTimer(0),
	}
	k.hostMark, k.lacks = adopt()
	return k
}

// Degraded returns nil, or what this system lacks and what does not work
// because of it. Descriptors are kept in any case.
func (k *Keeper) Degraded() error {
	if k.lacks == nil {
		return nil
	}
	return fmt.Errorf("keeper: orphans of plugins are not adopted: %w; those in a process group of their own outlive "+
		"the plugin and the host, and how a kept process ends is known on Linux 6.15 and later only", k.lacks)
}

// Store returns a new store. The name is the subsystem's, for messages.
func (k *Keeper) Store(subsystem string) *Store {
	return &Store{keeper: k, subsystem: subsystem}
}

// Run keeps, until ctx ends, which must not be before the last instance has
// ended. Then it closes all stores, waits until what they kept is gone, and
// returns. It is called once.
func (k *Keeper) Run(ctx context.Context) error {
	defer close(k.stopped)
	if k.lacks == nil {
		defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	}
	defer k.sweeps.Stop()
	children := make(chan os.Signal, 1) // one is as good as many: a sweep looks at all
	signal.Notify(children, unix.SIGCHLD)
	defer signal.Stop(children)
	done := ctx.Done()
	var closed chan error
	for {
		select {
		case f := <-k.work:
			f()
		case <-children:
			k.sweepSoon()
		case <-k.sweeps.C:
			k.sweep()
		case <-done:
			done, closed, k.closing = nil, make(chan error, 1), true
			stores := make([]*Store, 0, len(k.stores))
			for s := range k.stores {
				stores = append(stores, s)
			}
			go func() { closed <- closeAll(context.WithoutCancel(ctx), stores) }()
		case err := <-closed:
			return err
		}
	}
}

func closeAll(ctx context.Context, stores []*Store) error {
	faults := make([]error, len(stores))
	var closing sync.WaitGroup
	for i, s := range stores {
		closing.Go(func() { faults[i] = s.Close(ctx) })
	}
	closing.Wait()
	return errors.Join(faults...)
}

// do lets Run call f and waits until it has. The error is errStopped.
func (k *Keeper) do(f func()) error {
	done := make(chan struct{})
	select {
	case k.work <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-k.stopped:
		return errStopped
	}
}

// await sweeps and then waits until ready, which Run calls after each sweep,
// returns true; it reports whether that was within the limit, before cut was
// closed.
func (k *Keeper) await(limit time.Duration, cut <-chan struct{}, ready func() bool) bool {
	w := &waiter{ready: ready, done: make(chan struct{})}
	if err := k.do(func() { k.waiters[w] = struct{}{}; k.sweep() }); err != nil {
		return false
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.done:
		return true
	case <-timer.C:
	case <-cut:
	}
	_ = k.do(func() { delete(k.waiters, w) }) // errStopped: nobody calls it any more
	return false
}

// sweepSoon sweeps at once, unless the last sweep has only just been and nobody
// waits for the next one.
func (k *Keeper) sweepSoon() {
	if len(k.waiters) > 0 {
		k.sweeps.Reset(0)
		return
	}
	k.sweeps.Reset(time.Until(k.swept.Add(sweepPause)))
}

// sweep looks at all processes that may have changed.
func (k *Keeper) sweep() {
	for _, s := range k.sessions {
		s.look()
	}
	k.reapKept()
	settled := k.lacks != nil
	for pass := 0; !settled && pass < maxPasses; pass++ {
		settled = k.clearOrphans() == 0 // else the orphans of those who have been reaped may have come
	}
	k.swept = time.Now()
	if !settled {
		k.sweepSoon()
		return
	}
	k.dropSessions()
	for w := range k.waiters {
		if w.ready() {
			delete(k.waiters, w)
			close(w.done)
		}
	}
}
