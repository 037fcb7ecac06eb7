package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// This file knows what is particular to cgroup v2
// (https://docs.kernel.org/admin-guide/cgroup-v2.html): a part of the one tree
// has to be delegated to us, and a group that holds processes cannot have groups
// below it that limit anything.

var errNotOurs = errors.New("the control group is not ours to divide")

// openUnified finds out whether the part of cgroup v2 that the plugin is in is
// ours to divide, and which controllers it has.
func (h *hierarchy) openUnified() error {
	kind, err := readText(filepath.Join(h.own, "cgroup.type"))
	if err == nil && strings.TrimSpace(kind) != "domain" {
		return errNotOurs // threaded ones have none below them that can hold processes
	}
	_, managed := os.Stat("/run/systemd/system") // as sd_booted(3) has it
	if managed == nil && !isDelegated(h.own) && !isDelegated(filepath.Dir(h.own)) {
		return errNotOurs
	}
	place := h.own
	if madeByHost(place) {
		place = filepath.Dir(place) // what the host has we can have
	}
	text, err := readText(filepath.Join(place, "cgroup.controllers"))
	if err != nil {
		return err
	}
	h.controllers = amongWanted(strings.Fields(text))
	return nil
}

// isDelegated looks for the mark that systemd leaves on groups that others may
// divide. Here it is on the host's group, in or below which the plugin is.
func isDelegated(dir string) bool {
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		mark := make([]byte, 1)
		if n, err := unix.Getxattr(dir, name, mark); err == nil && n == 1 && mark[0] == '1' {
			return true
		}
	}
	return false
}

// leaf is the group into which the plugin steps aside where it shares cgroup v2
// with those below: a group that holds processes cannot have others below it
// that limit anything.
const leaf = "gaia-plugin"

// divide lets the groups in our own limit memory and processes. To share
// processor time by groups changes who gets how much of it, so that waits until
// somebody asks. Controllers that cannot be had are dropped.
func (h *hierarchy) divide() {
	if filepath.Base(h.own) == leaf {
		h.own = filepath.Dir(h.own)
	}
	h.controllers = slices.DeleteFunc(h.controllers, func(c string) bool { return c != "cpu" && h.enable(c) != nil })
}

// madeByHost reports whether a group was made by a gaia host for an instance.
func madeByHost(own string) bool { return strings.HasPrefix(filepath.Base(own), "gaia-") }

// enable lets the groups in our own limit what the controller does.
func (h hierarchy) enable(controller string) error {
	path := filepath.Join(h.own, "cgroup.subtree_control")
	enabled, err := readText(path)
	if err != nil || slices.Contains(strings.Fields(enabled), controller) {
		return err
	}
	if madeByHost(h.own) {
		// The host enables cpu when it has to limit it itself. An error shows in
		// what follows.
		_ = write(filepath.Join(filepath.Dir(h.own), "cgroup.subtree_control"), "+"+controller)
	}
	err = write(path, "+"+controller)
	if errors.Is(err, unix.EBUSY) {
		if err := h.stepAside(); err != nil {
			return err
		}
		err = write(path, "+"+controller)
	}
	return err
}

// stepAside moves the plugin out of its own group into a leaf of it, if it is
// alone there.
func (h hierarchy) stepAside() error {
	text, err := readText(filepath.Join(h.own, "cgroup.procs"))
	if err != nil {
		return err
	}
	if pids := strings.Fields(text); len(pids) != 1 || pids[0] != fmt.Sprint(os.Getpid()) {
		return fmt.Errorf("the plugin is not alone in %s", h.own)
	}
	path := filepath.Join(h.own, leaf)
	if err := unix.Mkdir(path, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return write(filepath.Join(path, "cgroup.procs"), "0")
}
