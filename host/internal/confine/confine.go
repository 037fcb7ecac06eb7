// Package confine bounds what a plugin's process tree may use: memory, processor
// time, processes and open files. The kernel keeps the bounds, by control groups
// (cgroup v2 or v1, whichever the host may write), else by rlimits where they
// mean the same; what cannot be had any way is said and stops nobody.
//
// It keeps honest programs from eating the machine, and finds all that a plugin
// has started. It is no jail: who runs as root may leave a control group.
package confine

import (
	"errors"
	"strings"
)

// Limits of one process tree. A zero value means none.
type Limits struct {
	// Memory is in bytes, swap included. When the tree needs more, the kernel
	// kills one of its processes, usually the largest.
	Memory uint64
	// CPU is in processor cores, at least 0.01.
	CPU float64
	// Processes counts threads too, because the kernel does. A Go plugin that
	// idles has about ten.
	Processes int
	// OpenFiles holds for each process of the tree by itself.
	OpenFiles int
}

// resource is what a limit is about, named as in the config.
type resource string

const (
	memory    resource = "memory"
	cpu       resource = "cpu"
	processes resource = "processes"
	openFiles resource = "open_files"
)

// resources returns all of them in the order of the config.
func resources() []resource { return []resource{memory, cpu, processes, openFiles} }

func (l Limits) has(r resource) bool {
	switch r {
	case memory:
		return l.Memory > 0
	case cpu:
		return l.CPU > 0
	case processes:
		return l.Processes > 0
	case openFiles:
		return l.OpenFiles > 0
	default:
		return false
	}
}

// take copies the limit of r.
func (l *Limits) take(r resource, from Limits) {
	switch r {
	case memory:
		l.Memory = from.Memory
	case cpu:
		l.CPU = from.CPU
	case processes:
		l.Processes = from.Processes
	case openFiles:
		l.OpenFiles = from.OpenFiles
	}
}

// everything is a limit of each kind, to ask what would keep it.
func everything() Limits { return Limits{Memory: 1, CPU: 1, Processes: 1, OpenFiles: 1} }

// keeper says what keeps a limit.
type keeper struct {
	name string // as in status; "" if nothing does
	why  error  // why it is not another, better one; nil if it is the best
}

const (
	rlimit           = "rlimit"
	rlimitPerProcess = "rlimit per process"
	notAvailable     = "not available"
)

var errNoControlGroup = errors.New("this machine has no control group for it")

// mechanism is one line for people, such as
// "memory, processes: cgroup v1; open_files: rlimit; cpu: not available".
// It is "" if nothing is limited.
func mechanism(l Limits, by func(resource) keeper) string {
	var names []string
	limited := make(map[string][]string)
	for _, r := range resources() {
		if !l.has(r) {
			continue
		}
		name := by(r).name
		if name == "" {
			name = notAvailable
		}
		if limited[name] == nil {
			names = append(names, name)
		}
		limited[name] = append(limited[name], string(r))
	}
	for i, name := range names {
		names[i] = strings.Join(limited[name], ", ") + ": " + name
	}
	return strings.Join(names, "; ")
}

// shortcomings are sentences about limits that are not kept as they should be.
func shortcomings(l Limits, by func(resource) keeper) []string {
	var said []string
	for _, r := range resources() {
		k := by(r)
		if !l.has(r) || k.why == nil {
			continue
		}
		name := k.name
		if name == "" {
			name = notAvailable
		}
		said = append(said, string(r)+": "+name+": "+k.why.Error())
	}
	return said
}
