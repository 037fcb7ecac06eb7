package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// How often the kernel is asked for a process's proportional set size. It looks at each page for that, 2 to 15 ms for a renderer, while it takes
// 0.04 ms to say how many pages there are.
const (
	shareEvery = 30 * time.Second
	maxShares  = 20 // in one sample, so that it takes no longer than a tenth of a second
)

// Sampler measures the memory of browsers. The zero value is ready; it is not safe
// for concurrent use.
type Sampler struct {
	known  map[int]measured // of the last sample, by process id
	shares int              // that were asked for in this one
}

// measured is what was found of a process.
type measured struct {
	own    uint64    // bytes that it shares with nobody, about
	shared uint64    // its part in the rest, when that was last asked
	asked  time.Time // zero before the first time
}

// Sample returns the processes of browsers, by the id of the process group, with
// their memory. It is about the proportional set size, in which a page that many
// processes share counts once: resident sizes add up to six times as much. What
// grows is seen at once; a process that is new has the shared part not in it yet.
func (s *Sampler) Sample(groups map[int]bool) map[int][]Process {
	sampled := make(map[int][]Process, len(groups))
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return sampled
	}
	s.shares = 0
	known := make(map[int]measured, len(s.known))
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", entry.Name())
		if group := groupOf(dir); groups[group] {
			known[pid] = s.measure(pid, dir)
			sampled[group] = append(sampled[group], Process{PID: pid, IsRenderer: isRenderer(dir), Memory: known[pid].own + known[pid].shared})
		}
	}
	s.known = known
	return sampled
}

// measure asks for the shared part of a process that was there the last time:
// most renderers do not live that long.
func (s *Sampler) measure(pid int, dir string) measured {
	m, isKnown := s.known[pid]
	m.own = ownMemory(dir)
	if isKnown && s.shares < maxShares && time.Since(m.asked) > shareEvery {
		s.shares++
		m.asked = time.Now()
		m.shared = max(m.own, proportional(dir)) - m.own
	}
	return m
}

// groupOf is the process group in a stat file, the third field after the name,
// which ends with the last parenthesis.
func groupOf(dir string) int {
	stat, err := os.ReadFile(filepath.Join(dir, "stat")) //nolint:gosec // G304: in /proc
	if err != nil {
		return 0
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 3 {
		return 0
	}
	group, _ := strconv.Atoi(string(fields[2])) // 0 is nobody's
	return group
}

func isRenderer(dir string) bool {
	args, err := os.ReadFile(filepath.Join(dir, "cmdline")) //nolint:gosec // G304: in /proc
	return err == nil && bytes.Contains(args, []byte("--type=renderer"))
}

// ownMemory is what a process has that no file backs, in bytes.
func ownMemory(dir string) uint64 {
	text, err := os.ReadFile(filepath.Join(dir, "statm")) //nolint:gosec // G304: in /proc
	if err != nil {
		return 0
	}
	var size, resident, shared uint64 // in pages
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared); err != nil {
		return 0
	}
	return (max(resident, shared) - shared) * uint64(os.Getpagesize()) //nolint:gosec // G115: above 0
}

// proportional is the proportional set size of a process, in bytes.
func proportional(dir string) uint64 { return field(filepath.Join(dir, "smaps_rollup"), "Pss:") }

// Total is the machine's memory, 0 if it is not known.
func Total() uint64 { return field("/proc/meminfo", "MemTotal:") }

// field is what a file in /proc says of a name, in bytes; 0 if it does not.
func field(path, name string) uint64 {
	text, err := os.ReadFile(path) //nolint:gosec // G304: in /proc
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kilobytes, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 54)
			return kilobytes << 10
		}
	}
	return 0
}
