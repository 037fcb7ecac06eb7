package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// cpuPeriod is in microseconds; it is the kernel's default. leastQuota is the
	// least that it gives per period.
	cpuPeriod  = 100_000
	leastQuota = 1_000

	// untouched is how much more than its limit a process may map.
	untouched = 256 << 20
)

// Update changes the limits, also of processes that run. What it could not
// change it tells, and leaves as it was; what nothing here limits (see
// Forest.String) is no error. When more memory is in use than the limit it
// matches EBUSY.
func (g *Group) Update(l Limits) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	_, now := g.snapshot()
	adopted := g.adopted
	var faults []error
	for _, controller := range []string{"memory", "cpu", "pids"} {
		next := now
		next.take(controller, l)
		if next == now && !adopted {
			continue // to write it takes time
		}
		if err := g.limit(controller, next); err != nil {
			faults = append(faults, fmt.Errorf("tree: group %q: %s: %w", g.name, controller, err))
			continue
		}
		now = next
	}
	if l.OpenFiles != now.OpenFiles {
		now.OpenFiles = l.OpenFiles
		if err := g.limitOpenFiles(l.OpenFiles); err != nil {
			faults = append(faults, err)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits, g.adopted = now, adopted && len(faults) > 0
	return errors.Join(faults...)
}

// take copies what a controller limits.
func (l *Limits) take(controller string, from Limits) {
	switch controller {
	case "memory":
		l.Memory = from.Memory
	case "cpu":
		l.CPU = from.CPU
	case "pids":
		l.Processes = from.Processes
	}
}

// limit sets what a controller limits. If there is no directory for it and one is
// needed, it is made, and gets the processes that run.
func (g *Group) limit(controller string, l Limits) error {
	dirs, _ := g.snapshot()
	if len(dirs) == 0 {
		return nil
	}
	d, ok := with(dirs, controller)
	if !ok {
		i := slices.IndexFunc(g.forest.hierarchies, func(h hierarchy) bool { return h.has(controller) })
		if i < 0 || !g.forest.needs(i, l) {
			return nil // Forest.String says what is not limited
		}
		var err error
		if d, err = g.open(g.forest.hierarchies[i]); err != nil {
			return err
		}
		if err := d.takeAll(dirs[0]); err != nil {
			return err
		}
	}
	if d.version == 2 {
		parent := d.hierarchy
		parent.own = filepath.Dir(d.path) // an earlier instance's, if it was adopted
		if err := parent.enable(controller); err != nil {
			return err
		}
	}
	return d.limit(controller, l)
}

// limitOpenFiles limits the open files of each process that runs. None is closed.
// To lift the limit is to leave it as it is.
func (g *Group) limitOpenFiles(n uint32) error {
	if n == 0 {
		return nil
	}
	pids, err := g.Pids()
	for _, pid := range pids {
		limit := unix.Rlimit{Cur: uint64(n), Max: uint64(n)}
		if e := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil); e != nil && !errors.Is(e, unix.ESRCH) {
			err = fmt.Errorf("tree: group %q: open files of process %d: %w", g.name, pid, e)
		}
	}
	return err
}

func (d directory) write(file, value string) error { return write(filepath.Join(d.path, file), value) }

func orMax(n uint64) string {
	if n == 0 {
		return "max"
	}
	return strconv.FormatUint(n, 10)
}

func (d directory) limit(controller string, l Limits) error {
	switch controller {
	case "memory":
		return d.limitMemory(l.Memory)
	case "cpu":
		return d.limitCPU(l.CPU)
	default:
		return d.write("pids.max", orMax(uint64(l.Processes)))
	}
}

func (d directory) limitMemory(n uint64) error {
	if d.version == 1 {
		return d.limitMemoryV1(n)
	}
	if err := d.fits(n); err != nil {
		return err
	}
	swap := "0"
	if n == 0 {
		swap = "max"
	}
	if err := d.write("memory.swap.max", swap); err != nil && !errors.Is(err, fs.ErrNotExist) { // the kernel has no swap
		return err
	}
	return d.write("memory.max", orMax(n))
}

// fits reports an error if so much memory is in use that cannot be reclaimed
// that the kernel would enforce a limit by killing. In version 1 it refuses by
// itself.
func (d directory) fits(n uint64) error {
	used := uint64(0)
	for _, kind := range []string{"anon", "shmem"} {
		bytes, err := readCount(filepath.Join(d.path, "memory.stat"), kind)
		if err != nil {
			return err
		}
		used += bytes
	}
	if n > 0 && used > n {
		return fmt.Errorf("%d bytes are in use, more than %d: %w", used, n, unix.EBUSY)
	}
	return nil
}

// limitMemoryV1 sets two limits of which the first must never be above the
// second: of memory, and of memory and swap.
func (d directory) limitMemoryV1(n uint64) error {
	const file, withSwap = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	value := "-1"
	if n > 0 {
		value = strconv.FormatUint(n, 10)
	}
	raised := d.write(withSwap, value) // fails if it lowers
	if err := d.write(file, value); err != nil {
		return err
	}
	if errors.Is(raised, fs.ErrNotExist) { // the kernel does not count swap
		return d.write("memory.swappiness", "0")
	}
	if raised != nil {
		return d.write(withSwap, value)
	}
	return nil
}

func (d directory) limitCPU(cores float64) error {
	quota := "max"
	if cores > 0 {
		quota = strconv.FormatInt(max(int64(math.Round(cores*cpuPeriod)), leastQuota), 10)
	}
	if d.version == 2 {
		return d.write("cpu.max", quota+" "+strconv.Itoa(cpuPeriod))
	}
	if cores == 0 {
		quota = "-1"
	}
	return d.write("cpu.cfs_quota_us", quota)
}

// DataLimit is what each process may map by itself (RLIMIT_DATA), where nothing
// else limits its memory; 0 is no limit. It counts what is writable, used or not:
// a Go program that idles maps 136 MiB.
func (g *Group) DataLimit() uint64 {
	dirs, limits := g.snapshot()
	if _, ok := with(dirs, "memory"); ok || limits.Memory == 0 {
		return 0
	}
	return limits.Memory + untouched
}
