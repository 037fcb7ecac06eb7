package tree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSurveyFindsTheHierarchiesThatMayBeWritten(t *testing.T) {
	top := filepath.Join(t.TempDir(), "with blank")
	for _, dir := range []string{"memory/a", "pids", "cpu,cpuacct/a/b"} {
		path := filepath.Join(top, dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "tasks"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mount := func(root, dir, kind, options string) string {
		return "1 2 0:3 " + root + " " + strings.ReplaceAll(filepath.Join(top, dir), " ", `\040`) + " rw shared:1 - " + kind + " cgroup rw," + options + "\n"
	}
	mounts := mount("/", "memory", "cgroup", "memory") +
		mount("/docker/1", "pids", "cgroup", "pids") + // a container sees its own part
		mount("/", "pids", "cgroup", "pids") + // and another mount of the same
		mount("/", "cpu,cpuacct", "cgroup", "cpu,cpuacct") +
		mount("/", "devices", "cgroup", "devices") + // not wanted
		mount("/", "memory", "tmpfs", "memory") + // no cgroup
		mount("/else", "memory", "cgroup", "memory") + // our group is not there
		"nonsense\n"
	groups := "4:memory:/a\n3:cpu,cpuacct:/a/b\n2:pids:/docker/1\n1:devices:/\nnonsense\n0::/\n"
	var got []string
	for _, h := range survey(mounts, groups) {
		rest, _ := strings.CutPrefix(h.own, top+"/")
		got = append(got, rest+" "+strings.Join(h.controllers, "+"))
	}
	want := []string{"memory/a memory", "pids pids", "cpu,cpuacct/a/b cpu+cpuacct"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAForestSaysWhatItCannotDo(t *testing.T) {
	for _, test := range []struct {
		hierarchies []hierarchy
		want        string
	}{
		{[]hierarchy{{version: 2, controllers: []string{"pids", "cpu", "memory"}}}, "cgroup v2 (memory, cpu, pids)"},
		{[]hierarchy{{version: 2}, {version: 1, controllers: []string{"memory"}}}, "cgroup v2 (kill), cgroup v1 (memory); not limited: cpu, pids"},
		{[]hierarchy{{version: 1, controllers: []string{"pids"}}, {version: 1, controllers: []string{"cpu", "cpuacct"}}, {version: 1, controllers: []string{"memory"}}}, "cgroup v1 (memory, cpu, pids)"},
	} {
		if got := (&Forest{hierarchies: test.hierarchies}).String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	if got := (&Forest{}).String(); !strings.HasPrefix(got, "rlimits: ") || !strings.Contains(got, "cpu and processes are not limited") {
		t.Errorf("got %q", got)
	}
}
