package tree

import (
	"errors"
	"slices"
)

// OpenOn opens a forest that uses those hierarchies of the machine only that it
// is told to; ok reports whether there is one.
func OpenOn(identity string, use func(version int, controllers []string) bool, kept ...string) (f *Forest, ok bool, err error) {
	mounts, err := readText("/proc/self/mountinfo")
	if err != nil {
		return nil, false, err
	}
	groups, err := readText("/proc/self/cgroup")
	if err != nil {
		return nil, false, err
	}
	used := slices.DeleteFunc(survey(mounts, groups), func(h hierarchy) bool { return !use(h.version, h.controllers) })
	f, err = openWith(identity, used, kept)
	return f, len(used) > 0, err
}

// Directories are those of a group.
func (g *Group) Directories() []string {
	var paths []string
	dirs, _ := g.snapshot()
	for _, d := range dirs {
		paths = append(paths, d.path)
	}
	return paths
}

// Divide lets groups below our own in cgroup v2 have a controller.
func Divide(controller string) error {
	mounts, err := readText("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	groups, err := readText("/proc/self/cgroup")
	if err != nil {
		return err
	}
	for _, h := range survey(mounts, groups) {
		if h.version == 2 {
			return h.enable(controller)
		}
	}
	return errors.ErrUnsupported
}
