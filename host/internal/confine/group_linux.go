package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// maxNamesakes is how many groups may have one name; there should be one.
const maxNamesakes = 10

// maxRounds is how often the processes of a group are listed, to find those
// that were born while the others were treated. What is born of a process that
// was treated needs no treatment: one more round would do, if births came singly.
const maxRounds = 10

// Group bounds one process tree. Its methods are safe for concurrent use.
type Group struct {
	confiner *Confiner
	name     string // of its directories

	mu        sync.Mutex // held while files of the kernel are written, which does not wait for anybody
	limits    Limits
	dirs      []directory // one in each hierarchy, sorted by rank
	keepers   map[resource]keeper
	lost      map[resource]error // why there is no directory
	process   *os.Process        // the first of the tree; nil before its start
	inherited map[resource]unix.Rlimit
	notes     []string
	kills     uint64 // at the end
	closed    bool
}

// Mechanism says in one line what keeps the limits, such as
// "memory, processes: cgroup v1; open_files: rlimit; cpu: not available". It is
// "" if nothing is limited. It is final once the process has been started.
func (g *Group) Mechanism() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return mechanism(g.limits, g.keeper)
}

// Warnings are sentences about limits that are not kept as they should be, with
// the reason. They may be none.
func (g *Group) Warnings() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append(shortcomings(g.limits, g.keeper), g.notes...)
}

func (g *Group) keeper(r resource) keeper { return g.keepers[r] }

func (g *Group) note(format string, args ...any) {
	g.notes = append(g.notes, fmt.Sprintf(format, args...))
}

// open makes the group's directory in a hierarchy.
func (g *Group) open(h hierarchy) {
	path := filepath.Join(h.base, g.name)
	err := os.Mkdir(path, 0o755) //nolint:gosec // G301: as the kernel makes them
	for n := 2; errors.Is(err, os.ErrExist) && n <= maxNamesakes; n++ {
		path = filepath.Join(h.base, g.name+"."+strconv.Itoa(n))
		err = os.Mkdir(path, 0o755) //nolint:gosec // G301: as above
	}
	if err != nil {
		for _, r := range h.resources {
			g.lost[r] = err
		}
		return
	}
	g.dirs = append(g.dirs, directory{h, path})
}

// lose gives up a directory that the process could not be put into.
func (g *Group) lose(d directory, why error) {
	g.dirs = slices.DeleteFunc(g.dirs, func(other directory) bool { return other.path == d.path })
	if err := d.remove(); err != nil {
		g.note("%v", err)
	}
	for _, r := range d.resources {
		g.lost[r] = why
		if g.limits.has(r) {
			g.keepers[r] = fallback(r, why)
		}
	}
}

// Update changes the limits, of a running tree too. A limit that cannot be
// changed stays as it is, and the error says why: a tree may already use more
// memory (then it matches EBUSY), or an unprivileged host want more open files
// than before. Of files that are open already none is closed, and no process
// ends because there are too many.
func (g *Group) Update(l Limits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	var faults []error
	for _, r := range resources() {
		next := g.limits
		next.take(r, l)
		if next == g.limits {
			continue
		}
		if err := g.change(r, next); err != nil {
			faults = append(faults, fmt.Errorf("confine: %s: %w", r, err))
			continue
		}
		g.limits = next
	}
	return errors.Join(faults...)
}

// change sets or lifts the limit of r.
func (g *Group) change(r resource, next Limits) error {
	d, why := g.directory(r)
	if why == nil {
		why = d.limit(r, next)
		if why == nil {
			g.keepers[r] = keeper{name: d.String()}
			return nil
		}
		if g.process != nil {
			return why
		}
	}
	g.keepers[r] = fallback(r, why)
	return g.changeRlimit(r, next)
}

// directory is where r is limited. It makes one that is made on demand.
func (g *Group) directory(r resource) (directory, error) {
	limitsIt := func(d directory) bool { return d.limits(r) }
	if i := slices.IndexFunc(g.dirs, limitsIt); i >= 0 {
		d := g.dirs[i]
		if d.version == 2 {
			return d, d.enable(r)
		}
		return d, nil
	}
	hierarchies := g.confiner.hierarchies
	i := slices.IndexFunc(hierarchies, func(h hierarchy) bool { return h.limits(r) })
	if i < 0 {
		return directory{}, g.confiner.whyNot(r)
	}
	if err := g.lost[r]; err != nil {
		return directory{}, err
	}
	running := g.running()
	g.open(hierarchies[i])
	if err := g.lost[r]; err != nil {
		return directory{}, err
	}
	d := g.dirs[len(g.dirs)-1] // it ranks last
	return d, each(running, func(pid int) error { return d.write("cgroup.procs", strconv.Itoa(pid)) })
}

// running returns a function that lists the processes of the tree.
func (g *Group) running() func() []int {
	if len(g.dirs) > 0 {
		return g.dirs[0].pids
	}
	return func() []int {
		// Signal knows whether the process has been waited for.
		if g.process == nil || g.process.Signal(unix.Signal(0)) != nil {
			return nil
		}
		return []int{g.process.Pid} // of its descendants nothing is known
	}
}

// each calls do for all processes that are listed, also for those that are born
// of them meanwhile. One that ends meanwhile is no error.
func each(list func() []int, do func(pid int) error) error {
	done := make(map[int]bool)
	for range maxRounds {
		fresh := slices.DeleteFunc(list(), func(pid int) bool { return done[pid] })
		if len(fresh) == 0 {
			break
		}
		for _, pid := range fresh {
			done[pid] = true
			if err := do(pid); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return nil
}

// OOMKills counts the processes that the kernel has killed for want of memory
// since the group was made. It is 0 where no control group counts memory. A
// process killed by SIGKILL whose group's count has grown was killed so, unless
// it was somebody else of the tree; that the count is up to date when the end
// of a process is seen is sure. Valid after Close.
func (g *Group) OOMKills() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.dirs {
		if d.limits(memory) {
			g.kills = d.oomKills()
		}
	}
	return g.kills
}

// Kill kills whoever is in the group, those included who have left the process
// group or the session or lost their parent, and waits up to 2 s until they are
// gone. Without control groups it does nothing. The group is of no use
// afterwards.
func (g *Group) Kill() {
	g.mu.Lock()
	dirs := slices.Clone(g.dirs)
	g.mu.Unlock()
	for _, d := range dirs {
		d.kill()
	}
}

// Close removes the group. It kills nobody: an error tells of processes that
// are left; then Close may be called again, else to no effect.
func (g *Group) Close() error {
	_ = g.OOMKills()
	g.mu.Lock()
	dirs := g.dirs
	g.dirs, g.closed = nil, true
	g.mu.Unlock()
	var left []directory
	var faults []error
	for _, d := range dirs {
		if err := d.remove(); err != nil {
			left = append(left, d)
			faults = append(faults, fmt.Errorf("confine: %d processes are left: %w", len(d.pids()), err))
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dirs = left
	return errors.Join(faults...)
}
