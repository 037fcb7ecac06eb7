package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is what /proc counts processor time in: USER_HZ is 100 wherever Go runs
// Linux.
const tick = time.Second / 100

// tree is a process and all that descend from it, by process id, with the
// processor time of each and of its children that have ended. It is empty where
// there is no /proc.
func tree(root int) map[int]time.Duration {
	type process struct {
		parent int
		used   time.Duration
	}
	all := make(map[int]process)
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, file := range files {
		content, err := os.ReadFile(file) //nolint:gosec // G304: of /proc
		if err != nil {
			continue // it has ended
		}
		// The name of the command, in parentheses, may have anything in it.
		fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
		if len(fields) < 15 {
			continue
		}
		number := func(field int) int {
			n, _ := strconv.Atoi(string(fields[field-3])) // the kernel writes numbers
			return n
		}
		pid, _ := strconv.Atoi(strings.Split(file, "/")[2]) // by the pattern
		all[pid] = process{
			parent: number(4),
			// In user and system mode, of itself and of those that it has waited for.
			used: time.Duration(number(14)+number(15)+number(16)+number(17)) * tick,
		}
	}
	found := make(map[int]time.Duration)
	for pid, p := range all {
		up := pid
		for range len(all) { // no snapshot: there may be circles
			if up == root {
				found[pid] = p.used
				break
			}
			up = all[up].parent
		}
	}
	return found
}

// treeCPU is how much processor time a process and all that descend from it have
// used so far.
func treeCPU(root int) (total time.Duration, known bool) {
	for _, used := range tree(root) {
		total += used
		known = true
	}
	return total, known
}

// treePSS is the memory of a process and all that descend from it.
func treePSS(root int) (total int64, known bool) {
	for pid := range tree(root) {
		if size, ok := pss(pid); ok { // else it has ended meanwhile
			total += size
			known = true
		}
	}
	return total, known
}

// browsers are the browser processes below root, each the parent of its
// renderers.
func browsers(root int) []int {
	var found []int
	for pid := range tree(root) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.Contains(line, []byte("--remote-debugging-p")) && !bytes.Contains(line, []byte("--type=")) {
			found = append(found, pid)
		}
	}
	return found
}
