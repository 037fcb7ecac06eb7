package telemetry

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// startTree starts a shell in a process group of its own and returns its pid
// and those of two descendants: a child of which it is the parent, and one
// whose parent has ended.
func startTree(t *testing.T) (root int, others []int) {
	t.Helper()
	// The inner shell ends once it has started its sleep, which thereby loses
	// its parent. "cat" ends with its input, that is, with the test.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `sleep 60 & echo $!; sh -c 'sleep 60 >/dev/null & echo $!'; cat`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		_ = stdin.Close()
		_ = cmd.Wait() // it was killed
	})
	lines := bufio.NewScanner(stdout)
	for len(others) < 2 && lines.Scan() {
		pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, pid)
	}
	return cmd.Process.Pid, others
}

func TestAProcessTreeIncludesOrphansOfItsGroup(t *testing.T) {
	root, others := startTree(t)
	all := processes("/proc")
	roots := map[int]usage{root: {}}
	for _, pid := range append(others, root) {
		if got, ok := rootOf(pid, all, roots); !ok || got != root {
			t.Errorf("process %d is of tree %d, %t; want %d", pid, got, ok, root)
		}
	}
	if got, ok := rootOf(1, all, roots); ok {
		t.Errorf("process 1 is of tree %d", got)
	}
	used := processTrees([]int{root})[root]
	alone := int64(0)
	for _, pid := range append(others, root) {
		alone += openFiles(pid)
	}
	if used.openFiles < alone || alone < 9 { // each has stdin, stdout, stderr
		t.Errorf("%d open files, want at least %d and 9", used.openFiles, alone)
	}
	if used.resident < 3*4096 {
		t.Errorf("%d bytes resident", used.resident)
	}
}

func TestARootThatIsGoneUsesNothing(t *testing.T) {
	const nobody = 1 << 30 // above the largest possible pid
	got, ok := processTrees([]int{nobody})[nobody]
	if !ok || got != (usage{}) {
		t.Errorf("got %+v, %t", got, ok)
	}
}

func TestStatOfAProcessWithAnUglyName(t *testing.T) {
	// proc_pid_stat(5): pid (comm) state ppid pgrp …
	stat := "7 (a) b (c)) S 3 7 7 0 -1 4194560 100 0 0 0 11 12 13 14 20 0 1 0 55 999424 321 18446744073709551615\n"
	got, err := parseStat([]byte(stat))
	want := process{parent: 3, group: 7, ticks: 50, pages: 321}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "7 (x", "7 (x) S 3 7", "7 (x) S a b c d e f g h i j k l m n o p q r s t u v w"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q parsed as %+v", bad, got)
		}
	}
}

func BenchmarkProcessTrees(b *testing.B) {
	for b.Loop() {
		processTrees([]int{1})
	}
}
