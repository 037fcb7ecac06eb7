// Package tree holds and bounds a process together with all that it starts, also
// what has left its session and lost its parent. The kernel does it, by control
// groups (cgroup v2, v1 or both, as the machine has); without any, the tree is
// known by a mark that processes hand down, and rlimits bound each process.
package tree

import (
	"errors"
	"fmt"
	"time"
)

// Limits of one process tree. A zero value means none.
type Limits struct {
	Memory    uint64  // bytes, swap included; beyond, the kernel kills one of the tree
	CPU       float64 // cores, at least 0.01
	Processes uint32  // at once; threads count
	OpenFiles uint32  // of each process; at its birth it is spawn that sets it
}

// Usage is what a tree uses, or has used.
type Usage struct {
	Processes int           // at present
	Memory    uint64        // bytes at present
	CPU       time.Duration // of all so far, those included that have ended
}

// ErrName is matched by errors about names that no group may have.
var ErrName = errors.New("a group's name has 1 to 100 letters, digits, \".\", \"_\" and \"-\"")

// maxName leaves room for a prefix and a suffix in a file name.
const maxName = 100

func checkName(name string) error {
	valid := len(name) > 0 && len(name) <= maxName
	for _, c := range []byte(name) {
		valid = valid && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !valid {
		return fmt.Errorf("tree: group %.120q: %w", name, ErrName)
	}
	return nil
}
