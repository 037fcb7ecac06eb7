package tree

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// hierarchy is a tree of control groups that the kernel offers, as far as the
// plugin may write it.
type hierarchy struct {
	version     int
	controllers []string // of those that we use
	top, own    string   // the mount point; the plugin's own group: groups are made in it
}

func (h hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }

// wanted are the controllers that we use. Not the freezer: a group that lets
// nobody be born (pids.max) can be killed as surely as a frozen one.
func wanted() []string { return []string{"memory", "cpu", "pids", "cpuacct"} }

func amongWanted(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(wanted(), name) })
}

// survey finds the hierarchies that the plugin may write: that of version 2
// first. It reads proc_pid_mountinfo(5) and proc_pid_cgroup(5).
func survey(mountinfo, cgroup string) []hierarchy {
	membership := memberships(cgroup)
	var found []hierarchy
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 3 {
			continue
		}
		h, controller := hierarchy{version: 1}, ""
		switch what[0] {
		case "cgroup2":
			h.version = 2
		case "cgroup":
			if h.controllers = amongWanted(strings.Split(what[2], ",")); len(h.controllers) == 0 {
				continue
			}
			controller = h.controllers[0]
		default:
			continue
		}
		own, ok := visible(membership[controller], unescape(where[3]))
		if !ok {
			continue
		}
		h.top = unescape(where[4])
		h.own = filepath.Join(h.top, own)
		if err := h.open(); err != nil || slices.ContainsFunc(found, h.alike) {
			continue // not ours to write, or mounted twice
		}
		found = append(found, h)
	}
	slices.SortStableFunc(found, func(a, b hierarchy) int { return b.version - a.version })
	return found
}

// memberships are the groups that a process is in, by controller; that of
// version 2 is under "".
func memberships(cgroup string) map[string]string {
	paths := make(map[string]string)
	for line := range strings.Lines(cgroup) {
		if fields := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3); len(fields) == 3 {
			for name := range strings.SplitSeq(fields[1], ",") {
				paths[name] = fields[2]
			}
		}
	}
	return paths
}

// visible is the group at path as seen from a mount of which root is the top: a
// container may see only a part of a hierarchy.
func visible(path, root string) (string, bool) {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(root, "/"))
	if !ok || rest != "" && rest[0] != '/' || strings.HasPrefix(rest, "/..") {
		return "", false
	}
	return rest, true
}

// unescape undoes what the kernel does to blanks in paths.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

func (h hierarchy) alike(other hierarchy) bool {
	return h.version == other.version && slices.Equal(h.controllers, other.controllers)
}

// open reports an error unless groups can be made and used.
func (h *hierarchy) open() error {
	tasks := "tasks"
	if h.version == 2 {
		tasks = "cgroup.procs"
	}
	for _, path := range []string{h.own, filepath.Join(h.own, tasks)} {
		// Of a directory one may write what one may also search.
		if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	if h.version == 2 {
		return h.openUnified()
	}
	return nil
}
