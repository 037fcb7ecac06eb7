package keeper

import (
	"iter"

	"golang.org/x/sys/unix"
)

// child is a process whose parent is the host.
type child struct {
	group, session int
	mark           mark
}

// verdict is what is to become of a child.
type verdict int

const (
	foreign verdict = iota // somebody else of the host started it and waits for it
	lives                  // is reaped when it ends by itself
	dies                   // is killed
)

// judge says what is to become of a child that is no instance and no kept
// process, and whose it is: nil if that session ended long ago.
//
// A child lives as long as the instance that it descends from, and with a kept
// process from which it descends, or whose process group or session it is in,
// for as long as the name is kept. It is ours if it descends from an instance,
// by its mark or by its group, but not in the host's own process group, where
// the host's own children are and no orphan has any business; and it is nobody's
// before the instance's process id is known, lest that be taken for an orphan.
func (k *Keeper) judge(c child, kept kept) (*Session, verdict) {
	if c.group == k.hostGroup {
		return nil, foreign
	}
	session := k.sessions[c.mark.number()]
	isKept := kept.groups[c.group] || kept.groups[c.session] || kept.marks[c.mark]
	if c.mark == k.hostMark || c.mark == unmarked {
		session = k.sessionOfGroup(c)
		if session == nil && !isKept {
			return nil, foreign
		}
	}
	switch {
	case session != nil && session.pid == 0:
		return nil, foreign
	case !isKept && (session == nil || session.isOver()):
		return session, dies
	default:
		return session, lives
	}
}

// sessionOfGroup finds the instance in whose process group or session an
// unmarked child is. It has lost its mark: pam_limits(8) may reset all limits,
// say for su.
func (k *Keeper) sessionOfGroup(c child) *Session {
	for _, s := range k.sessions {
		if s.pid != 0 && (s.pid == c.group || s.pid == c.session) {
			return s
		}
	}
	return nil
}

// kept is what to know children by that are kept processes or belong to one.
type kept struct {
	alive  map[int]bool // process ids of those that are not reaped
	groups map[int]bool // process ids of all: they may lead a group or a session that outlives them
	marks  map[mark]bool
}

func (k *Keeper) kept() kept {
	all := kept{alive: make(map[int]bool), groups: make(map[int]bool), marks: make(map[mark]bool)}
	for p := range k.processes() {
		if !p.own {
			continue
		}
		all.alive[p.pid] = p.isAlive() || all.alive[p.pid]
		all.groups[p.pid] = true
		if p.mark != unmarked {
			all.marks[p.mark] = true
		}
	}
	return all
}

// processes are the kept processes of all stores.
func (k *Keeper) processes() iter.Seq[*process] {
	return func(yield func(*process) bool) {
		for s := range k.stores {
			for _, e := range s.entries {
				if e.process != nil && !yield(e.process) {
					return
				}
			}
		}
	}
}

func (k *Keeper) isLeader(pid int) bool {
	for _, s := range k.sessions {
		if s.pid == pid && !s.reaped {
			return true
		}
	}
	return false
}

// clearOrphans reaps the adopted children that have ended, kills those that are
// to die, and returns how many it has reaped.
func (k *Keeper) clearOrphans() (reaped int) {
	k.dying = make(map[*Session]int)
	kept := k.kept()
	var spared map[int]bool
	for _, pid := range children() {
		if kept.alive[pid] || k.isLeader(pid) {
			continue
		}
		c := child{mark: markOf(pid)}
		c.group, _ = unix.Getpgid(pid) // -1, nobody's, if it fails
		c.session, _ = unix.Getsid(pid)
		session, verdict := k.judge(c, kept)
		if verdict == foreign {
			continue
		}
		if _, ok := reap(pid); ok {
			reaped++
			continue
		}
		if verdict == lives {
			continue
		}
		if spared == nil {
			spared = k.sparedGroups()
		}
		k.dying[session]++
		if session != nil {
			session.orphans[pid] = struct{}{}
		}
		if c.group > 1 && !spared[c.group] { // -1 would be everybody
			pid = -c.group // whoever is in it descends from an instance
		}
		_ = unix.Kill(pid, unix.SIGKILL) // ESRCH: it has just ended; EPERM: it has become somebody else's
	}
	return reaped
}

// sparedGroups are the process groups that have members who are to live.
func (k *Keeper) sparedGroups() map[int]bool {
	spared := map[int]bool{k.hostGroup: true}
	for _, s := range k.sessions {
		if s.pid != 0 && !s.isOver() {
			spared[s.pid] = true
		}
	}
	for p := range k.processes() {
		if !p.own || p.pid == 0 {
			continue
		}
		spared[p.pid] = true
		if group, err := unix.Getpgid(p.pid); err == nil {
			spared[group] = true
		}
	}
	return spared
}
