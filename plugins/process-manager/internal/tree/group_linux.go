package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Group holds one process with all that it starts. It is safe for concurrent
// use.
type Group struct {
	forest *Forest
	name   string
	mark   uint64 // what the processes are known by where dirs is empty

	mu     sync.Mutex
	limits Limits
	dirs   []directory // sorted by rank; the first holds the tree
}

// directory is the part of a group that is in one hierarchy.
type directory struct {
	hierarchy
	path string
}

const (
	// cpuPeriod is in microseconds; it is the kernel's default. leastQuota is the
	// least that it gives per period.
	cpuPeriod  = 100_000
	leastQuota = 1_000

	// removeTime is how long a group may be busy after its last process has
	// ended. The kernel lets go of it within milliseconds.
	removeTime = 500 * time.Millisecond
	firstPoll  = 200 * time.Microsecond
	maxPoll    = 10 * time.Millisecond
)

// Name is what the group was made by.
func (g *Group) Name() string { return g.name }

// open makes the group's directory in a hierarchy.
func (g *Group) open(h hierarchy) error {
	path := filepath.Join(h.own, g.forest.prefix+g.name)
	if err := unix.Mkdir(path, 0o755); err != nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	g.dirs = append(g.dirs, directory{h, path})
	return nil
}

func (g *Group) directories() []directory {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.dirs)
}

// with returns the directory in which the controller is.
func (g *Group) with(controller string) (directory, bool) {
	i := slices.IndexFunc(g.dirs, func(d directory) bool { return d.has(controller) })
	if i < 0 {
		return directory{}, false
	}
	return g.dirs[i], true
}

// Launch calls start on the calling thread, which the caller has locked. The
// process that start starts is born in the group: of cgroup v2, if it clones
// into the descriptor that it is given, unless that is -1; of version 1 and of
// none because it is born where this thread is, or with what this process bears.
// Nothing moves after its birth: the kernel takes 10 ms for that, and what a
// process starts meanwhile would stay behind. It returns the process's id.
func (g *Group) Launch(start func(cgroup int) (pid int, err error)) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.dirs) == 0 {
		return g.launchMarked(start)
	}
	defer g.leave()
	if err := g.enter(); err != nil {
		return 0, fmt.Errorf("tree: group %q: %w", g.name, err)
	}
	holder := g.dirs[0]
	if holder.version == 1 {
		return start(-1)
	}
	fd, err := unix.Open(holder.path, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("tree: group %q: %w", g.name, &fs.PathError{Op: "open", Path: holder.path, Err: err})
	}
	defer func() { _ = unix.Close(fd) }()
	return start(fd)
}

// enter moves the calling thread into the group's directories of version 1,
// where it counts as one of the processes.
func (g *Group) enter() error {
	for _, d := range g.dirs {
		if d.version != 1 {
			continue
		}
		if d.has("pids") && g.limits.Processes > 0 {
			if err := d.write("pids.max", strconv.FormatUint(uint64(g.limits.Processes)+1, 10)); err != nil {
				return err
			}
		}
		// "0" is the writing thread, the one that the kernel moves at once; for
		// any other it waits until no thread of the system forks.
		if err := d.write("tasks", "0"); err != nil {
			return err
		}
	}
	return nil
}

// leave moves the calling thread back, out of what throttles first.
func (g *Group) leave() {
	for _, d := range slices.Backward(g.dirs) {
		if d.version != 1 {
			continue
		}
		if err := write(filepath.Join(d.own, "tasks"), "0"); err != nil {
			// The thread must not serve anybody else: locked once more than the
			// caller will unlock it, it ends with the goroutine.
			runtime.LockOSThread()
		}
		if d.has("pids") && g.limits.Processes > 0 {
			_ = d.write("pids.max", orMax(uint64(g.limits.Processes))) // else one more is allowed than should be
		}
	}
}

// Pids are the processes in the group, in no order. One that has ended and waits
// to be reaped is not among them.
func (g *Group) Pids() ([]int, error) {
	dirs := g.directories()
	if len(dirs) == 0 {
		return marked(g.mark)
	}
	return pidsBelow(dirs[0].path)
}

// Kill kills all processes of the group, whatever they start meanwhile, and
// returns when there is none, or when ctx ends: the error tells who is left.
func (g *Group) Kill(ctx context.Context) error {
	dirs := g.directories()
	if len(dirs) == 0 {
		return killMarked(ctx, g.mark)
	}
	if i := slices.IndexFunc(dirs, func(d directory) bool { return d.has("pids") }); dirs[0].version == 1 && i >= 0 {
		defer func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			_ = dirs[i].write("pids.max", orMax(uint64(g.limits.Processes))) // it may have been removed
		}()
	}
	return dirs[0].kill(ctx)
}

// kill makes a directory empty.
func (d directory) kill(ctx context.Context) error {
	if d.version == 2 {
		_ = d.write("cgroup.kill", "1") // since Linux 5.14; else one by one
	}
	if d.has("pids") && d.version == 1 {
		_ = d.write("pids.max", "0") // nobody is born any more
	}
	return killAll(ctx, func() ([]int, error) { return pidsBelow(d.path) })
}

// killAll kills those who are listed until nobody is.
func killAll(ctx context.Context, list func() ([]int, error)) error {
	var pids []int
	var err error
	ended := poll(ctx, func() bool {
		pids, err = list()
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		return len(pids) == 0
	})
	if err != nil {
		return fmt.Errorf("tree: kill: %w", err)
	}
	if !ended {
		return fmt.Errorf("tree: kill: %d processes have not ended, such as %d: %w", len(pids), pids[0], ctx.Err())
	}
	return nil
}

// poll asks, less and less often, until the answer is yes, and reports whether
// that was before the end of ctx.
func poll(ctx context.Context, done func() bool) bool {
	for wait := firstPoll; !done(); wait = min(2*wait, maxPoll) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
	return true
}

// OOMKills counts the processes of the group that the kernel has killed for want
// of memory. It is up to date when the end of a process is seen. Where nothing
// counts them it is 0.
func (g *Group) OOMKills() uint64 {
	g.mu.Lock()
	d, ok := g.with("memory")
	g.mu.Unlock()
	if !ok {
		return 0
	}
	file := "memory.events"
	if d.version == 1 {
		file = "memory.oom_control"
	}
	n, _ := readCount(filepath.Join(d.path, file), "oom_kill") // 0 if the group is gone
	return n
}

// Usage is what the group's processes use. What cannot be known is 0.
func (g *Group) Usage() Usage {
	pids, _ := g.Pids()
	u := Usage{Processes: len(pids)}
	g.mu.Lock()
	dirs := slices.Clone(g.dirs)
	g.mu.Unlock()
	if len(dirs) == 0 {
		u.Memory, u.CPU = usageOf(pids)
		return u
	}
	for _, d := range dirs {
		switch {
		case d.version == 2:
			usec, _ := readCount(filepath.Join(d.path, "cpu.stat"), "usage_usec")
			u.CPU = time.Duration(usec) * time.Microsecond //nolint:gosec // G115: 292 years of nanoseconds
			if d.has("memory") {
				u.Memory, _ = readNumber(filepath.Join(d.path, "memory.current"))
			}
		case d.has("memory"):
			u.Memory, _ = readNumber(filepath.Join(d.path, "memory.usage_in_bytes"))
		case d.has("cpuacct"):
			nanoseconds, _ := readNumber(filepath.Join(d.path, "cpuacct.usage"))
			u.CPU = time.Duration(nanoseconds) //nolint:gosec // G115: as above
		}
	}
	return u
}

// Update changes the limits, also of processes that run. What it could not
// change it tells, and leaves as it was; what nothing here limits (see
// Forest.String) is no error. When more memory is in use than the limit it
// matches EBUSY.
func (g *Group) Update(l Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var faults []error
	for _, change := range []struct {
		controller string
		limited    bool
		set        func(d directory) error
		keep       func()
	}{
		{"memory", l.Memory > 0, func(d directory) error { return d.limitMemory(l.Memory) }, func() { g.limits.Memory = l.Memory }},
		{"cpu", l.CPU > 0, func(d directory) error { return d.limitCPU(l.CPU) }, func() { g.limits.CPU = l.CPU }},
		{"pids", l.Processes > 0, func(d directory) error { return d.write("pids.max", orMax(uint64(l.Processes))) }, func() { g.limits.Processes = l.Processes }},
	} {
		d, ok, err := g.ready(change.controller, change.limited)
		if err == nil && ok {
			err = change.set(d)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("tree: group %q: %s: %w", g.name, change.controller, err))
			continue
		}
		change.keep()
	}
	g.limits.OpenFiles = l.OpenFiles
	return errors.Join(faults...)
}

// ready returns the directory in which the controller is, if there is one; one
// that is needed is made, and gets the processes that run.
func (g *Group) ready(controller string, needed bool) (directory, bool, error) {
	if d, ok := g.with(controller); ok || !needed {
		return d, ok, nil
	}
	i := slices.IndexFunc(g.forest.hierarchies, func(h hierarchy) bool { return h.has(controller) })
	if i < 0 {
		return directory{}, false, nil
	}
	if err := g.open(g.forest.hierarchies[i]); err != nil {
		return directory{}, false, err
	}
	d := g.dirs[len(g.dirs)-1]
	return d, true, nil
}

func (d directory) write(file, value string) error { return write(filepath.Join(d.path, file), value) }

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
	swap := "0"
	if n == 0 {
		swap = "max"
	}
	if err := d.write("memory.swap.max", swap); err != nil && !errors.Is(err, fs.ErrNotExist) { // the kernel has no swap
		return err
	}
	return d.write("memory.max", orMax(n))
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

// Remove removes the group. It kills nobody: if a process is left, the error
// matches EBUSY and Remove may be called again.
func (g *Group) Remove() error {
	dirs := g.directories()
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
