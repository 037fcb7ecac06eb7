package tree

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Forest makes groups. It is safe for concurrent use.
//
// Groups are made inside the control group that the plugin itself is in. So what
// bounds the subsystem bounds all that it has started, too, and what the host
// sweeps when it was killed includes them. They survive a crash of the plugin:
// the host neither kills nor removes the group of an instance as long as a
// process lives that is kept (sdk.Keep). Then they are still in the group of
// that earlier instance; Adopt looks there.
type Forest struct {
	identity    string
	prefix      string      // of the names of all directories
	hierarchies []hierarchy // the first holds the tree together; if none, marks do

	left []map[string]string // by hierarchy, the directories that Open has found and left, by the name of their group

	bearing sync.Mutex // held while this process bears a mark
}

// sweepTime is how long Open may take to kill what nobody keeps.
const sweepTime = 2 * time.Second

// Open finds out what the system has, and kills and removes the groups that an
// earlier instance of the same identity has left, but for those that are kept.
// Any text is an identity that no other plugin has at the same time, such as the
// absolute path of a directory: the caller makes sure of that. Without control
// groups nobody can be swept. The error is about groups that could not be
// removed; the forest can be used none the less.
func Open(identity string, kept ...string) (*Forest, error) {
	mounts, err := readText("/proc/self/mountinfo")
	if err != nil {
		return openWith(identity, nil, kept)
	}
	groups, err := readText("/proc/self/cgroup")
	if err != nil {
		return openWith(identity, nil, kept)
	}
	return openWith(identity, survey(mounts, groups), kept)
}

func openWith(identity string, hierarchies []hierarchy, kept []string) (*Forest, error) {
	sum := sha256.Sum256([]byte(identity))
	f := &Forest{
		identity:    identity,
		prefix:      "gaia-tree-" + hex.EncodeToString(sum[:6]) + "-",
		hierarchies: hierarchies,
	}
	// The first holds a tree together, and kills it: so it is one that can be
	// frozen, or lets nobody be born. What throttles comes last.
	slices.SortStableFunc(f.hierarchies, func(a, b hierarchy) int { return a.rank() - b.rank() })
	for i := range f.hierarchies {
		if f.hierarchies[i].version == 2 {
			f.hierarchies[i].divide()
		}
	}
	return f, f.sweep(kept)
}

func (h hierarchy) rank() int {
	switch {
	case h.version == 2:
		return 0
	case h.has("pids"):
		return 1
	case h.has("memory"):
		return 2
	default:
		return 3
	}
}

// sweep removes what is left of groups that are not kept.
func (f *Forest) sweep(kept []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), sweepTime) // a constructor: nobody else bounds it
	defer cancel()
	var faults []error
	f.left = make([]map[string]string, len(f.hierarchies))
	for i, h := range f.hierarchies {
		f.left[i] = make(map[string]string)
		for _, path := range h.existing(f.prefix + "*") {
			if name := strings.TrimPrefix(filepath.Base(path), f.prefix); slices.Contains(kept, name) {
				f.left[i][name] = path
				continue
			}
			d := directory{h, path}
			if err := d.kill(ctx, orMax(0)); err != nil {
				faults = append(faults, err)
				continue
			}
			faults = append(faults, d.remove())
		}
	}
	return errors.Join(faults...)
}

// existing are the directories of a name, or a pattern, in the plugin's own group
// and in those of earlier instances, which are next to it.
func (h hierarchy) existing(name string) []string {
	places := []string{h.own}
	if h.own != h.top {
		places, _ = filepath.Glob(filepath.Join(escape(filepath.Dir(h.own)), "*"))
	}
	var found []string
	for _, place := range places {
		paths, _ := filepath.Glob(filepath.Join(escape(place), name)) // a sound pattern
		found = append(found, paths...)
	}
	return found
}

// escape keeps filepath.Glob from taking a path for a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// String says what holds and bounds processes, and what that cannot do, such as
// "cgroup v2 (memory, cpu, pids)".
func (f *Forest) String() string {
	if len(f.hierarchies) == 0 {
		return "rlimits: memory is limited for each process by itself, with 256 MiB more for what programs map and never touch; " +
			"cpu and processes are not limited; what a process has started is found by a mark that it can put off"
	}
	controllers := []string{"memory", "cpu", "pids"}
	lacks := slices.Clone(controllers)
	var parts []string
	for version := 2; version >= 1; version-- {
		var has []string
		used := false
		for _, h := range f.hierarchies {
			used = used || h.version == version
			if h.version == version {
				has = append(has, h.controllers...)
			}
		}
		does := slices.DeleteFunc(slices.Clone(controllers), func(c string) bool { return !slices.Contains(has, c) })
		lacks = slices.DeleteFunc(lacks, func(c string) bool { return slices.Contains(has, c) })
		if len(does) == 0 {
			does = []string{"kill"}
		}
		if used {
			parts = append(parts, fmt.Sprintf("cgroup v%d (%s)", version, strings.Join(does, ", ")))
		}
	}
	said := strings.Join(parts, ", ")
	if len(lacks) > 0 {
		said += "; not limited: " + strings.Join(lacks, ", ")
	}
	return said
}

// New makes a group. There must be none of that name; the caller removes it.
func (f *Forest) New(name string, l Limits) (*Group, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	g := f.group(name)
	for i, h := range f.hierarchies {
		if !f.needs(i, l) {
			continue
		}
		if _, err := g.open(h); err != nil {
			return nil, errors.Join(fmt.Errorf("tree: group %q: %w", name, err), g.Remove())
		}
	}
	if err := g.Update(l); err != nil {
		return nil, errors.Join(err, g.Remove())
	}
	return g, nil
}

// Adopt returns the group that an earlier instance has made, with the limits
// that it has until Update. What is missing of it is made. It stays in the control
// group of that instance, so the next start is better made in a new group.
func (f *Forest) Adopt(name string) (*Group, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	g := f.group(name)
	g.adopted = true
	for i, h := range f.hierarchies {
		if path, ok := f.find(i, name); ok {
			g.dirs = append(g.dirs, directory{h, path})
			continue
		}
		if !f.needs(i, Limits{}) {
			continue
		}
		if _, err := g.open(h); err != nil {
			return nil, fmt.Errorf("tree: group %q: %w", name, err)
		}
	}
	return g, nil
}

// find returns the directory of a group in the i-th hierarchy. To look for one takes
// milliseconds on a machine with many groups, so those that Open has seen are known.
func (f *Forest) find(i int, name string) (path string, ok bool) {
	if path, ok := f.left[i][name]; ok {
		return path, true
	}
	if slices.ContainsFunc(f.left, func(left map[string]string) bool { return left[name] != "" }) {
		return "", false // it is known, and has none here
	}
	if paths := f.hierarchies[i].existing(f.prefix + name); len(paths) > 0 {
		return paths[0], true
	}
	return "", false
}

// needs reports whether a group with such limits has a directory in the i-th
// hierarchy. To make one takes time, and to share processor time by groups
// changes who gets how much of it, so the fewer the better.
func (f *Forest) needs(i int, l Limits) bool {
	h := f.hierarchies[i]
	switch {
	case i == 0, h.has("memory"): // what holds the tree, and what tells of its memory
		return true
	case h.has("pids") && l.Processes > 0, h.has("cpu") && l.CPU > 0:
		return true
	default:
		return h.has("cpuacct") && f.hierarchies[0].version == 1 // version 2 tells of cpu time itself
	}
}

func (f *Forest) group(name string) *Group {
	sum := sha256.Sum256([]byte(f.identity + "\x00" + name))
	return &Group{forest: f, name: name, mark: binary.BigEndian.Uint64(sum[:]) >> 2}
}
