package confine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Confiner makes groups. It is safe for concurrent use.
type Confiner struct {
	prefix      string // of the names of all groups
	hierarchies []hierarchy
	why         map[resource]error // nothing better than an rlimit limits it
	leftovers   []string
}

// New finds out what the machine offers. Then it kills and removes what an
// earlier host of the same identity left behind, and nobody else's; so there
// must be only one host of an identity at a time. Any text is an identity, say
// the path of the host's socket.
//
// In a part of cgroup v2 that was delegated to the host and where it is alone,
// New moves the host to a group of its own, "gaia-host": the kernel demands it.
func New(identity string) *Confiner {
	sum := sha256.Sum256([]byte(identity))
	c := &Confiner{prefix: "gaia-" + hex.EncodeToString(sum[:6]) + "-"}
	mounts, mountsErr := os.ReadFile("/proc/self/mountinfo")
	groups, groupsErr := os.ReadFile("/proc/self/cgroup")
	c.hierarchies, c.why = survey(string(mounts), string(groups))
	if err := errors.Join(mountsErr, groupsErr); err != nil {
		c.why = map[resource]error{memory: err, cpu: err, processes: err}
	}
	c.sweep()
	return c
}

func (c *Confiner) sweep() {
	for _, h := range c.hierarchies {
		entries, _ := os.ReadDir(h.base) // if it cannot be read, no group can be made either
		for _, entry := range entries {
			if !entry.IsDir() || !strings.HasPrefix(entry.Name(), c.prefix) {
				continue
			}
			d := directory{h, filepath.Join(h.base, entry.Name())}
			d.kill()
			if err := d.remove(); err != nil {
				c.leftovers = append(c.leftovers, "left by an earlier host: "+err.Error())
			}
		}
	}
}

// Mechanism says in one line what would keep which limit, such as
// "memory, cpu, processes: cgroup v2; open_files: rlimit".
func (c *Confiner) Mechanism() string { return mechanism(everything(), c.keeper) }

// Warnings are sentences about limits that this machine cannot keep well, with
// the reason, and about what could not be removed. They may be none.
func (c *Confiner) Warnings() []string {
	return append(shortcomings(everything(), c.keeper), c.leftovers...)
}

func (c *Confiner) keeper(r resource) keeper {
	for _, h := range c.hierarchies {
		if h.limits(r) {
			return keeper{name: h.String()}
		}
	}
	return fallback(r, c.whyNot(r))
}

// whyNot says why no control group limits r.
func (c *Confiner) whyNot(r resource) error {
	if err := c.why[r]; err != nil {
		return err
	}
	return errNoControlGroup
}

// fallback is what keeps a limit without a control group.
func fallback(r resource, why error) keeper {
	switch r {
	case memory:
		return keeper{rlimitPerProcess, fmt.Errorf("%w; each process may map %d MiB more than the limit, for what programs map and never touch", why, untouched>>20)}
	case openFiles:
		return keeper{name: rlimit} // control groups do not count files
	case cpu, processes:
		// RLIMIT_CPU ends a process, and RLIMIT_NPROC is about all processes of
		// a user, and not about root's.
	}
	return keeper{why: why}
}

// Group returns a new group for one process tree. What it cannot limit it
// tells, and does not limit; it is never nil. The name becomes part of the name
// of a directory: letters, digits, "_" and "-". The caller closes the group.
func (c *Confiner) Group(name string, l Limits) *Group {
	g := &Group{
		confiner:  c,
		name:      c.prefix + strings.ReplaceAll(name, "/", "_"),
		keepers:   make(map[resource]keeper),
		lost:      make(map[resource]error),
		inherited: make(map[resource]unix.Rlimit),
	}
	for _, h := range c.hierarchies {
		if !h.onlyOnDemand() {
			g.open(h)
		}
	}
	_ = g.Update(l) // without a process, what it cannot do is a warning
	return g
}
