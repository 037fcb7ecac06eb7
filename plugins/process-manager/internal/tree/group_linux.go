package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Group holds one process with all that it starts. It is safe for concurrent
// use.
type Group struct {
	forest *Forest
	name   string
	mark   uint64 // what the processes are known by without control groups

	// turn is held while a process is born, all are killed, or limits change:
	// each writes what the others do. It comes before mu.
	turn    sync.Mutex
	adopted bool // what limits it has is not known

	mu     sync.Mutex
	limits Limits
	dirs   []directory // sorted by rank, the first holds the tree; none after Remove
}

// directory is the part of a group that is in one hierarchy.
type directory struct {
	hierarchy
	path string
}

// removeTime is how long a group may be busy after its last process has ended.
// The kernel lets go of it within milliseconds.
const removeTime = 500 * time.Millisecond

// Name is what the group was made by.
func (g *Group) Name() string { return g.name }

// open makes the group's directory in a hierarchy. It ranks last.
func (g *Group) open(h hierarchy) (directory, error) {
	d := directory{h, filepath.Join(h.own, g.forest.prefix+g.name)}
	if err := unix.Mkdir(d.path, 0o755); err != nil {
		return d, &fs.PathError{Op: "mkdir", Path: d.path, Err: err}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dirs = append(g.dirs, d)
	return d, nil
}

func (g *Group) snapshot() ([]directory, Limits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.dirs), g.limits
}

// with returns the directory in which the controller is.
func with(dirs []directory, controller string) (directory, bool) {
	i := slices.IndexFunc(dirs, func(d directory) bool { return d.has(controller) })
	if i < 0 {
		return directory{}, false
	}
	return dirs[i], true
}

// Pids are the processes in the group, in no order. One that has ended and waits
// to be reaped is not among them.
func (g *Group) Pids() ([]int, error) {
	dirs, _ := g.snapshot()
	switch {
	case len(dirs) > 0:
		return pidsBelow(dirs[0].path)
	case g.byMark():
		return marked(g.mark)
	default:
		return nil, nil
	}
}

func (g *Group) byMark() bool { return len(g.forest.hierarchies) == 0 }

// OOMKills counts the processes of the group that the kernel has killed for want
// of memory. It is up to date when the end of a process is seen. Where nothing
// counts them it is 0.
func (g *Group) OOMKills() uint64 {
	dirs, _ := g.snapshot()
	d, ok := with(dirs, "memory")
	if !ok {
		return 0
	}
	n, _ := readCount(filepath.Join(d.path, d.file("memory.events", "memory.oom_control")), "oom_kill") // 0 if the group is gone
	return n
}

// Usage is what the group's processes use. What cannot be known is 0.
func (g *Group) Usage() Usage {
	pids, _ := g.Pids()
	u := Usage{Processes: len(pids)}
	memory, cpu := false, false
	dirs, _ := g.snapshot()
	for _, d := range dirs {
		if d.has("memory") {
			memory = true
			u.Memory, _ = readNumber(filepath.Join(d.path, d.file("memory.current", "memory.usage_in_bytes")))
		}
		if d.version == 2 {
			cpu = true
			microseconds, _ := readCount(filepath.Join(d.path, "cpu.stat"), "usage_usec")
			u.CPU = time.Duration(microseconds) * time.Microsecond //nolint:gosec // G115: 292 years of nanoseconds
		} else if d.has("cpuacct") {
			cpu = true
			nanoseconds, _ := readNumber(filepath.Join(d.path, "cpuacct.usage"))
			u.CPU = time.Duration(nanoseconds) //nolint:gosec // G115: as above
		}
	}
	if !memory || !cpu {
		u.add(pids, !memory, !cpu)
	}
	return u
}

// file is the name of a control file in version 2 or in version 1.
func (d directory) file(v2, v1 string) string {
	if d.version == 2 {
		return v2
	}
	return v1
}

// Remove removes the group, which is of no use any more then. It kills nobody: if
// a process is left, the error matches EBUSY and Remove may be called again.
func (g *Group) Remove() error {
	g.turn.Lock()
	defer g.turn.Unlock()
	dirs, _ := g.snapshot()
	var left []directory
	var faults []error
	for _, d := range dirs {
		if err := d.remove(); err != nil {
			left = append(left, d)
			faults = append(faults, fmt.Errorf("tree: group %q: %w", g.name, err))
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dirs = left
	return errors.Join(faults...)
}

func (d directory) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTime) // the kernel's time, not a caller's
	defer cancel()
	var err error
	poll(ctx, func() bool {
		err = removeBelow(d.path)
		if !errors.Is(err, unix.EBUSY) {
			return true
		}
		pids, _ := pidsBelow(d.path)
		return len(pids) > 0
	})
	return err
}
