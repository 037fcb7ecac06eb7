package keeper

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

const (
	// maxBytes is how much data one store keeps.
	maxBytes = 16 << 20
	// stopGrace is the time from SIGTERM to SIGKILL for kept processes when
	// their store is closed.
	stopGrace = 3 * time.Second
)

// Store keeps what the instances of one subsystem hand over. It outlives them.
// Its methods are safe for concurrent use.
type Store struct {
	keeper    *Keeper
	subsystem string

	// What follows is Run's.
	entries []*entry // sorted by name
	files   int
	bytes   int
	serial  uint64 // of the last process
	closed  bool
}

// entry is what is kept under a name. Data is never written to.
type entry struct {
	name    string
	data    []byte
	files   []int
	process *process // of the first pidfd among files, or nil
}

// find returns where the entry of that name is, or would be.
func (s *Store) find(name string) (i int, found bool) {
	return slices.BinarySearchFunc(s.entries, name, func(e *entry, name string) int { return strings.Compare(e.name, name) })
}

// keep puts e in the place of what was there, and returns that, whose files are
// the caller's then; it is empty if there was nothing. After an error everything
// is as it was, and the files of e are the caller's.
func (s *Store) keep(e *entry, by *Session) (old *entry, err error) {
	i, found := s.find(e.name)
	if found {
		old = s.entries[i]
	} else {
		old = &entry{}
	}
	files, bytes := len(e.files)-len(old.files), len(e.data)-len(old.data)
	switch k := s.keeper; {
	case s.closed:
		return nil, errStopped
	case !found && len(s.entries) == wire.MaxKeptNames:
		return nil, fmt.Errorf("%d names are kept, limit %[1]d", wire.MaxKeptNames)
	case bytes > 0 && s.bytes+bytes > maxBytes:
		return nil, fmt.Errorf("%d bytes of data would be kept, limit %d", s.bytes+bytes, maxBytes)
	case files > 0 && s.files+files > k.storeRoom:
		return nil, fmt.Errorf("%d files would be kept, limit %d, a quarter of what the host may open (ulimit -n)", s.files+files, k.storeRoom)
	case files > 0 && k.files+files > k.room:
		return nil, fmt.Errorf("%d files of all subsystems would be kept, limit %d, half of what the host may open (ulimit -n)", k.files+files, k.room)
	}
	if e.process != nil {
		s.serial++
		e.process.serial = s.serial
		if s.keeper.lacks == nil {
			s.own(e.process, by)
		}
	}
	s.count(files, bytes)
	if found {
		s.entries[i] = e
	} else {
		s.entries = slices.Insert(s.entries, i, e)
	}
	s.released(old)
	return old, nil
}

// own marks a process that descends from an instance of this store. What others
// have started is kept as a file and nothing else: no plugin can have a process
// killed, or spared, that is not its own.
func (s *Store) own(p *process, by *Session) {
	if p.pid == 0 || s.keeper.isLeader(p.pid) {
		return
	}
	was := markOf(p.pid)
	for _, e := range s.entries {
		known := e.process
		if known == nil || !known.own {
			continue
		}
		if known.isAlive() && known.pid == p.pid {
			p.own, p.mark = true, known.mark
			return
		}
		p.own = p.own || known.mark == was && was != unmarked
	}
	if from := s.keeper.sessions[was.number()]; from != nil && from.store == s && from.pid != 0 {
		p.own = true
	}
	if !p.own {
		return
	}
	by.serial++
	if next := markWith(by.number, by.serial); setMark(p.pid, next) == nil {
		p.mark = next
	}
}

// count adds to what is kept.
func (s *Store) count(files, bytes int) {
	s.files += files
	s.keeper.files += files
	s.bytes += bytes
}

// released sees to a process whose name is given up, and to those that belong
// to it.
func (s *Store) released(e *entry) {
	if e.process != nil {
		s.keeper.sweepSoon()
	}
}

// keepData replaces an entry's data.
func (s *Store) keepData(name string, data []byte) error {
	i, found := s.find(name)
	if !found {
		return errNotKept
	}
	bytes := len(data) - len(s.entries[i].data)
	if bytes > 0 && s.bytes+bytes > maxBytes {
		return fmt.Errorf("%d bytes of data would be kept, limit %d", s.bytes+bytes, maxBytes)
	}
	s.count(0, bytes)
	s.entries[i].data = data
	return nil
}

// forget removes an entry and returns it, or nil. Its files are the caller's.
func (s *Store) forget(name string) *entry {
	i, found := s.find(name)
	if !found {
		return nil
	}
	e := s.entries[i]
	s.entries = slices.Delete(s.entries, i, i+1)
	s.count(-len(e.files), -len(e.data))
	s.released(e)
	return e
}

// isSettled reports whether of all instances that have ended nothing is left
// that is to go.
func (s *Store) isSettled() bool {
	for _, session := range s.keeper.sessions {
		if session.store == s && (session.dead || session.closed) && !session.isGone() {
			return false
		}
	}
	return true
}

// Close ends what is kept: processes get SIGTERM, with their groups, and 3 s
// later, or when ctx ends, SIGKILL. It returns when they have been reaped and
// everything is closed. All sessions of the store must have been closed. It may
// be called again, to no effect.
func (s *Store) Close(ctx context.Context) error {
	k := s.keeper
	err := k.do(func() {
		s.closed = true
		s.signal(unix.SIGTERM, unix.SIGCONT)
	})
	if err != nil {
		return nil //nolint:nilerr // Run has done it
	}
	gone := func() bool { return len(s.running()) == 0 }
	if !k.await(stopGrace, ctx.Done(), gone) {
		_ = k.do(func() { s.signal(unix.SIGKILL) })
		k.await(killTime, nil, gone)
	}
	var left int
	var files []int
	err = k.do(func() {
		left = len(s.running())
		for _, e := range s.entries {
			files = append(files, e.files...)
		}
		s.count(-s.files, -s.bytes)
		s.entries = nil
		delete(k.stores, s)
	})
	wire.CloseFiles(files)
	// What a kept process has left behind is not kept any more.
	cleared := k.await(killTime, nil, func() bool { return k.dying[nil] == 0 && s.isSettled() })
	if err == nil && (left > 0 || !cleared) {
		err = fmt.Errorf("keeper: subsystem %q: kept processes, or what they started, have not ended %v after SIGKILL", s.subsystem, killTime)
	}
	return err
}

// Keeps reports whether a process is kept that still runs. Whatever kills what
// an instance has left behind must leave it alone.
func (s *Store) Keeps() bool {
	kept := false
	_ = s.keeper.do(func() { // after the end of the host nothing is kept
		for _, e := range s.entries {
			kept = kept || e.process != nil && e.process.isAlive()
		}
	})
	return kept
}

// running are the kept processes that the host has to end: its children.
func (s *Store) running() (found []*process) {
	for _, e := range s.entries {
		if p := e.process; p != nil && p.own && p.isAlive() {
			if child, _ := p.isChild(); child {
				found = append(found, p)
			}
		}
	}
	return found
}

func (s *Store) signal(signals ...unix.Signal) {
	for _, p := range s.running() {
		for _, signal := range signals {
			p.signal(signal)
		}
	}
}
