package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// This file knows what is particular to cgroup v2
// (https://docs.kernel.org/admin-guide/cgroup-v2.html): a part of the one tree
// has to be delegated to the host, and a group that holds processes cannot have
// groups with controllers below it.

// hostLeaf is the group into which the host steps aside, so that its former
// group may have others below it.
const hostLeaf = "gaia-host"

// openUnified finds a place for groups near the host's own, as mount.open does.
func openUnified(own string) (hierarchy, error) {
	h := hierarchy{version: 2}
	names, err := readFields(filepath.Join(own, "cgroup.controllers"))
	if err != nil {
		return h, err
	}
	h.resources = resourcesOf(names)
	_, err = os.Stat("/run/systemd/system") // as sd_booted(3) has it
	base, err := place(own, err == nil, isDelegated)
	if err != nil {
		return h, err
	}
	if err := writable(base, "cgroup.procs"); err != nil {
		return h, err
	}
	h.base = base
	// Memory and processes are counted from the start, so that a limit may
	// come later. To share processor time by groups changes who gets how much
	// of it; that waits until somebody asks.
	for _, r := range []resource{memory, processes} {
		if h.limits(r) {
			if err := h.enable(r); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

// place returns the directory in which groups may be made: the host's own group
// or, where the host is in a leaf below a group that was delegated to it, that
// group. managed says that somebody, systemd, takes every other group for his.
func place(own string, managed bool, delegated func(dir string) bool) (string, error) {
	kind, err := readFields(filepath.Join(own, "cgroup.type"))
	if errors.Is(err, os.ErrNotExist) {
		return own, nil // the root of all
	}
	if err != nil {
		return "", err
	}
	if !slices.Equal(kind, []string{"domain"}) {
		return "", fmt.Errorf("the host's control group %s is of type %q, which cannot have others below it", own, strings.Join(kind, " "))
	}
	switch parent := filepath.Dir(own); {
	case filepath.Base(own) == hostLeaf, delegated(parent):
		return parent, nil
	case delegated(own), !managed:
		return own, nil
	default:
		return "", fmt.Errorf("the host's control group %s is not delegated to it; in a systemd unit Delegate=yes does that", own)
	}
}

// isDelegated looks for the mark that systemd leaves on delegated groups.
func isDelegated(dir string) bool {
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		mark := make([]byte, 1)
		if n, err := unix.Getxattr(dir, name, mark); err == nil && n == 1 && mark[0] == '1' {
			return true
		}
	}
	return false
}

// enable lets the groups below base limit r.
func (h hierarchy) enable(r resource) error {
	path := filepath.Join(h.base, "cgroup.subtree_control")
	enabled, err := readFields(path)
	if err != nil || slices.Contains(enabled, controllerOf(r)) {
		return err
	}
	err = write(path, "+"+controllerOf(r))
	if errors.Is(err, unix.EBUSY) {
		if err := stepAside(h.base); err != nil {
			return err
		}
		err = write(path, "+"+controllerOf(r))
	}
	return err
}

// stepAside moves the host out of its group into a leaf below it. It moves
// nobody else: their groups are not the host's business.
func stepAside(base string) error {
	pids, err := readPIDs(filepath.Join(base, "cgroup.procs"))
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() })
	if len(others) > 0 {
		return fmt.Errorf("the host is not alone in its control group %s, process %d is there too; start it in one of its own", base, others[0])
	}
	leaf := filepath.Join(base, hostLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // G301: as the kernel makes them
		return err
	}
	return write(filepath.Join(leaf, "cgroup.procs"), strconv.Itoa(os.Getpid()))
}
