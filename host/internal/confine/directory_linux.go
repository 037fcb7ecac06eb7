package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// directory is a control group in one hierarchy.
type directory struct {
	hierarchy
	path string
}

const (
	// cpuPeriod is in microseconds; it is the kernel's default.
	cpuPeriod = 100_000
	// leastQuota is the least that the kernel gives per period, in microseconds.
	leastQuota = 1_000

	// killTime is how long killed processes may take to end. Only one that
	// hangs inside the kernel takes longer.
	killTime = 2 * time.Second
	// removeTime is how long a group may be busy after its last process has
	// ended. The kernel lets go of it within milliseconds.
	removeTime = 500 * time.Millisecond
	pollTime   = time.Millisecond
)

func (d directory) write(file, value string) error { return write(filepath.Join(d.path, file), value) }

// limit sets the limit of r, or lifts it.
func (d directory) limit(r resource, l Limits) error {
	switch r {
	case memory:
		return d.limitMemory(l.Memory)
	case cpu:
		return d.limitCPU(l.CPU)
	case processes:
		return d.write("pids.max", orMax(uint64(max(l.Processes, 0))))
	case openFiles:
	}
	return errors.ErrUnsupported
}

func orMax(n uint64) string {
	if n == 0 {
		return "max"
	}
	return strconv.FormatUint(n, 10)
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
	if err := d.write("memory.swap.max", swap); err != nil && !errors.Is(err, os.ErrNotExist) { // the kernel has no swap
		return err
	}
	return d.write("memory.max", orMax(n))
}

// fits reports an error if so much memory is in use that cannot be reclaimed
// that the kernel, in cgroup v2, would enforce a limit of n bytes by killing.
// In cgroup v1 it refuses by itself.
func (d directory) fits(n uint64) error {
	if n == 0 {
		return nil
	}
	used := uint64(0)
	for _, kind := range []string{"anon", "shmem"} {
		bytes, err := readCount(filepath.Join(d.path, "memory.stat"), kind)
		if err != nil {
			return err
		}
		used += bytes
	}
	if used > n {
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
	if errors.Is(raised, os.ErrNotExist) { // the kernel does not count swap
		return d.write("memory.swappiness", "0")
	}
	if raised != nil {
		return d.write(withSwap, value)
	}
	return nil
}

func (d directory) limitCPU(cores float64) error {
	if d.version == 1 {
		return d.write("cpu.cfs_quota_us", cpuQuota(cores, "-1"))
	}
	return d.write("cpu.max", cpuQuota(cores, "max")+" "+strconv.Itoa(cpuPeriod))
}

// cpuQuota is the time that so many cores have in a period.
func cpuQuota(cores float64, none string) string {
	if cores == 0 {
		return none
	}
	return strconv.FormatInt(max(int64(math.Round(cores*cpuPeriod)), leastQuota), 10)
}

// oomKills counts the processes of this very group that the kernel has killed
// for want of memory. Groups that a plugin makes below tell their own.
func (d directory) oomKills() uint64 {
	files := []string{"memory.events.local", "memory.events"} // the first since Linux 5.2
	if d.version == 1 {
		files = []string{"memory.oom_control"}
	}
	for _, file := range files {
		if n, err := readCount(filepath.Join(d.path, file), "oom_kill"); err == nil {
			return n
		}
	}
	return 0
}

// pids lists the processes of the group and of groups below it, but for the
// host: one of its threads is here while it starts a plugin.
func (d directory) pids() []int {
	var all []int
	_ = filepath.WalkDir(d.path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil //nolint:nilerr // a group that is gone has no processes
		}
		pids, err := readPIDs(filepath.Join(path, "cgroup.procs"))
		for _, pid := range pids {
			if err == nil && pid > 0 && pid != os.Getpid() {
				all = append(all, pid)
			}
		}
		return nil
	})
	return all
}

// kill kills whoever is in the group, whoever they become meanwhile, and waits
// until they are gone, for killTime at most.
func (d directory) kill() {
	if d.version == 2 {
		_ = d.write("cgroup.kill", "1") // since Linux 5.14; else as in version 1
	}
	if d.limits(processes) {
		_ = d.write("pids.max", "0") // nobody is born any more
	}
	_ = poll(killTime, func() bool {
		pids := d.pids()
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		return len(pids) == 0
	})
}

// remove removes the group and those below it.
func (d directory) remove() error {
	var err error
	poll(removeTime, func() bool {
		err = removeTree(d.path)
		return !errors.Is(err, unix.EBUSY) || len(d.pids()) > 0
	})
	return err
}

// removeTree removes directories, the inner ones first. Control files go with
// their directory, and cannot be removed.
func removeTree(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if entry.IsDir() {
			err = errors.Join(err, removeTree(filepath.Join(path, entry.Name())))
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}

// poll asks until the answer is yes, and reports whether it was in time.
func poll(limit time.Duration, done func() bool) bool {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}
