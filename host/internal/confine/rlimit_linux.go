package confine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// untouched is how much more than its limit a process may map where memory is
// limited by RLIMIT_DATA. That counts what is writable, used or not: an idle Go
// plugin maps 128 to 136 MiB, of which it uses 14 (32 are a table of Go's heap,
// 8 the stack of each thread if it is linked with cgo; measured with Go 1.26
// on amd64).
const untouched = 256 << 20

// rlimitOf returns the kernel's name and value of a limit.
func rlimitOf(r resource, l Limits) (kind int, value uint64) {
	if r == memory {
		return unix.RLIMIT_DATA, l.Memory + untouched
	}
	return unix.RLIMIT_NOFILE, uint64(max(l.OpenFiles, 0))
}

func (k keeper) isRlimit() bool { return k.name == rlimit || k.name == rlimitPerProcess }

// byRlimit lists the limits that rlimits keep.
func (g *Group) byRlimit() []resource {
	var kept []resource
	for _, r := range resources() {
		if g.limits.has(r) && g.keepers[r].isRlimit() {
			kept = append(kept, r)
		}
	}
	return kept
}

// setRlimits limits a process that has just been started.
func (g *Group) setRlimits(pid int) {
	for _, r := range g.byRlimit() {
		kind, value := rlimitOf(r, g.limits)
		// The soft limit alone would not do: a Go program raises it to the hard one.
		err := g.setRlimit(pid, r, kind, unix.Rlimit{Cur: value, Max: value})
		before, known := g.inherited[r]
		switch {
		case err == nil, errors.Is(err, unix.ESRCH): // it was killed
		case known && errors.Is(err, unix.EPERM) && value > before.Max:
			g.keepers[r] = keeper{g.keepers[r].name, fmt.Errorf("the hard limit of the host, %d, is lower than %d and holds", before.Max, value)}
		default:
			g.keepers[r] = keeper{why: err}
		}
	}
}

// setRlimit limits one process. What it had before it remembers from the first.
func (g *Group) setRlimit(pid int, r resource, kind int, limit unix.Rlimit) error {
	if _, known := g.inherited[r]; !known {
		var before unix.Rlimit
		if err := unix.Prlimit(pid, kind, nil, &before); err != nil {
			return err
		}
		g.inherited[r] = before
	}
	return unix.Prlimit(pid, kind, &limit, nil)
}

// changeRlimit sets or lifts the limit of r for all processes of the tree.
// Where nothing keeps it, there is nothing to do.
func (g *Group) changeRlimit(r resource, next Limits) error {
	if !g.keepers[r].isRlimit() {
		return nil
	}
	kind, value := rlimitOf(r, next)
	limit := unix.Rlimit{Cur: value, Max: value}
	if !next.has(r) {
		before, known := g.inherited[r]
		if !known {
			return nil // it was never set
		}
		limit = before
	}
	err := each(g.running(), func(pid int) error { return g.setRlimit(pid, r, kind, limit) })
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("the host has no right to give a running process more; the next one will have it: %w", err)
	}
	return err
}
