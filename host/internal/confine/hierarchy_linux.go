package confine

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hierarchy is a tree of control groups that the kernel offers, as far as the
// host may write it.
type hierarchy struct {
	version   int        // 1 or 2
	resources []resource // that its groups can limit; if none, they still hold a tree together
	base      string     // the directory in which the host makes groups
}

func (h hierarchy) limits(r resource) bool { return slices.Contains(h.resources, r) }

func (h hierarchy) String() string { return "cgroup v" + strconv.Itoa(h.version) }

// controllers maps what the kernel calls its controllers to what they limit.
func controllers() map[string]resource {
	return map[string]resource{"memory": memory, "cpu": cpu, "pids": processes}
}

func controllerOf(r resource) string {
	if r == processes {
		return "pids"
	}
	return string(r)
}

// resourcesOf returns what the named controllers limit; others are ignored.
func resourcesOf(names []string) []resource {
	var known []resource
	for _, name := range names {
		if r, ok := controllers()[name]; ok {
			known = append(known, r)
		}
	}
	return known
}

// mount is a mounted hierarchy.
type mount struct {
	version     int
	controllers []string // of version 1
	root, point string   // the group that is seen at point
}

// parseMounts reads proc_pid_mountinfo(5). Lines that it does not understand
// are not about control groups.
func parseMounts(mountinfo string) []mount {
	var mounts []mount
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 3 {
			continue
		}
		m := mount{root: unescape(where[3]), point: unescape(where[4])}
		switch what[0] {
		case "cgroup2":
			m.version = 2
		case "cgroup":
			m.version = 1
			m.controllers = strings.Split(what[2], ",")
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// unescape undoes what the kernel does to blanks in paths: "\040".
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// parseMembership reads proc_pid_cgroup(5): the path of the group that a
// process is in, by controller; that of version 2 is under "".
func parseMembership(cgroup string) map[string]string {
	paths := make(map[string]string)
	for line := range strings.Lines(cgroup) {
		fields := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(fields) < 3 {
			continue
		}
		for name := range strings.SplitSeq(fields[1], ",") {
			paths[name] = fields[2]
		}
	}
	return paths
}

// dir is the directory of the group at path. A container may see only a part of
// a hierarchy: then other groups have none.
func (m mount) dir(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(m.root, "/"))
	if !ok || (rest != "" && rest[0] != '/') || strings.HasPrefix(rest, "/..") {
		return "", false
	}
	return filepath.Join(m.point, rest), true
}

// survey finds the hierarchies that the host may write, and why it may not
// write the others. In each, groups are made below the host's own, so that
// whatever bounds the host bounds its plugins.
func survey(mountinfo, cgroup string) (found []hierarchy, why map[resource]error) {
	why = make(map[resource]error)
	mine := parseMembership(cgroup)
	for _, m := range parseMounts(mountinfo) {
		h, err := m.open(mine)
		if err == nil && slices.ContainsFunc(found, h.alike) {
			continue // mounted twice
		}
		for _, r := range h.resources {
			why[r] = err
		}
		if h.base == "" {
			continue
		}
		if err != nil {
			h.resources = nil
		}
		found = append(found, h)
	}
	// What comes first is killed first and left last: version 2 kills a whole
	// group at once, and a group that lets nobody be born is emptied in one go.
	slices.SortStableFunc(found, func(a, b hierarchy) int {
		return rank(a) - rank(b)
	})
	return found, why
}

func rank(h hierarchy) int {
	switch {
	case h.version == 2:
		return 0
	case h.limits(processes):
		return 1
	case h.limits(memory):
		return 2
	default:
		return 3 // to be the last that a thread enters: it throttles
	}
}

// onlyOnDemand is true of groups that do nothing but share processor time, which
// changes who gets how much of it even without a limit.
func (h hierarchy) onlyOnDemand() bool {
	return len(h.resources) == 1 && h.limits(cpu)
}

func (h hierarchy) alike(other hierarchy) bool {
	return h.version == other.version && slices.Equal(h.resources, other.resources)
}

// open finds the host's place in a hierarchy. The error says why its resources
// cannot be limited; there may be a place none the less.
func (m mount) open(mine map[string]string) (hierarchy, error) {
	h := hierarchy{version: m.version}
	key := ""
	if m.version == 1 {
		h.resources = resourcesOf(m.controllers)
		if len(h.resources) == 0 {
			return h, errors.ErrUnsupported
		}
		key = controllerOf(h.resources[0])
	}
	own, ok := m.dir(mine[key])
	if !ok {
		return h, fmt.Errorf("the host's control group %s is not visible at %s", mine[key], m.point)
	}
	if m.version == 2 {
		return openUnified(own)
	}
	if err := writable(own, "tasks"); err != nil {
		return h, err
	}
	h.base = own
	return h, nil
}

// writable reports an error unless groups can be made in dir, and processes
// moved to it.
func writable(dir, tasks string) error {
	for _, path := range []string{dir, filepath.Join(dir, tasks)} {
		// Of a directory one may write what one may also search.
		if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS); err != nil {
			return fmt.Errorf("the host may not write %s: %w", path, err)
		}
	}
	return nil
}
