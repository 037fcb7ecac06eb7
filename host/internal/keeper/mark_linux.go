package keeper

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// mark says from which instance a process descends. It is the process's soft
// limit RLIMIT_LOCKS: the kernel has ignored that limit since Linux 2.4.25, but
// still hands it down from each process to those that it starts, and neither a
// new session nor the death of its parent changes it. Nothing else tells orphans
// of several plugins apart without privileges; control groups are for limits,
// and not every machine has them.
//
// The upper bits are the number of a session, the lower ones are 0 or tell a
// kept process with its descendants from the others.
type mark uint64

const (
	// serialBits leave room for 4 million processes that one instance keeps,
	// before marks are used again.
	serialBits = 22
	numberBits = 40

	unmarked = mark(unix.RLIM_INFINITY)
)

// newNumber returns a number for a session. It is random, because a host that
// runs below another host gives marks of the same kind.
func newNumber() uint64 {
	return 1 + rand.Uint64N(1<<numberBits-1) //nolint:gosec // G404: no secret
}

// markWith makes the mark of a session, or with a serial other than 0 that of a
// kept process.
func markWith(number uint64, serial uint32) mark {
	return mark(number<<serialBits | uint64(serial)&(1<<serialBits-1))
}

// number is that of the session, 0 if it is none of ours.
func (m mark) number() uint64 {
	if n := uint64(m) >> serialBits; n < 1<<numberBits {
		return n
	}
	return 0
}

// setMark marks a process, 0 for the host itself, and all that it will start.
func setMark(pid int, m mark) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_LOCKS, nil, &limit); err != nil {
		return err
	}
	limit.Cur = uint64(m)
	return unix.Prlimit(pid, unix.RLIMIT_LOCKS, &limit, nil)
}

// markOf returns the mark of a process, also of one that waits to be reaped.
func markOf(pid int) mark {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_LOCKS, nil, &limit); err == nil {
		return mark(limit.Cur)
	}
	// It may have become somebody else's, such as root's by sudo.
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return unmarked
	}
	found := regexp.MustCompile(`(?m)^Max file locks +(\d+)`).FindSubmatch(text)
	if found == nil {
		return unmarked
	}
	value, err := strconv.ParseUint(string(found[1]), 10, 64)
	if err != nil {
		return unmarked
	}
	return mark(value)
}
