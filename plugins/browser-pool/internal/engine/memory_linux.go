package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Sample returns the processes of browsers, by the id of the process group, with
// their memory. It is the proportional set size, in which a page that many
// processes share counts once: resident sizes add up to six times as much.
func Sample(groups map[int]bool) map[int][]Process {
	sampled := make(map[int][]Process, len(groups))
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return sampled
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", entry.Name())
		if group := groupOf(dir); groups[group] {
			sampled[group] = append(sampled[group], Process{PID: pid, IsRenderer: isRenderer(dir), Memory: memoryOf(dir)})
		}
	}
	return sampled
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

func memoryOf(dir string) uint64 {
	text, err := os.ReadFile(filepath.Join(dir, "smaps_rollup")) //nolint:gosec // G304: in /proc
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kilobytes, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 54)
			return kilobytes << 10
		}
	}
	return 0
}

// Total is the machine's memory, 0 if it is not known.
func Total() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kilobytes, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 54)
			return kilobytes << 10
		}
	}
	return 0
}
