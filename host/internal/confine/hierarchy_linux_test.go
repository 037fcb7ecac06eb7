package confine

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// files makes a directory as the kernel would.
func files(t *testing.T, dir string, contents map[string]string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[entry.Name()] = string(text)
	}
	return all
}

func TestMountsAreFoundAmongOthers(t *testing.T) {
	const mountinfo = `23 1 254:0 / / rw,relatime - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/0a1b /sys/fs/cgroup/memory ro,relatime master:12 propagate_from:2 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /mnt/with\040blank rw,relatime - cgroup2 none rw,nsdelegate
nonsense - cgroup2 a
`
	want := []mount{
		{version: 1, controllers: []string{"rw", "cpu", "cpuacct"}, root: "/", point: "/sys/fs/cgroup/cpu,cpuacct"},
		{version: 1, controllers: []string{"rw", "memory"}, root: "/docker/0a1b", point: "/sys/fs/cgroup/memory"},
		{version: 1, controllers: []string{"rw", "name=systemd"}, root: "/", point: "/sys/fs/cgroup/systemd"},
		{version: 2, root: "/", point: "/mnt/with blank"},
	}
	if diff := cmp.Diff(want, parseMounts(mountinfo), cmp.AllowUnexported(mount{})); diff != "" {
		t.Error(diff)
	}
}

func TestMembershipIsKnownByController(t *testing.T) {
	got := parseMembership("9:name=systemd:/\n2:cpu,cpuacct:/a:b\n0::/user.slice\nnonsense\n")
	want := map[string]string{"name=systemd": "/", "cpu": "/a:b", "cpuacct": "/a:b", "": "/user.slice"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAContainerSeesOnlyItsOwnGroups(t *testing.T) {
	for _, tt := range []struct{ root, path, want string }{
		{"/", "/", "/m"},
		{"/", "/a/b", "/m/a/b"},
		{"/docker/1", "/docker/1", "/m"},
		{"/docker/1", "/docker/1/sub", "/m/sub"},
		{"/docker/1", "/docker/12", ""},
		{"/docker/1", "/", ""},
		{"/", "/../outside", ""},
	} {
		got, ok := mount{root: tt.root, point: "/m"}.dir(tt.path)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s of %s: got %q, %t; want %q", tt.path, tt.root, got, ok, tt.want)
		}
	}
}

// machine writes the mountinfo of a machine whose hierarchies are below dir.
func machine(dir string, controllers ...string) string {
	var lines strings.Builder
	for _, name := range controllers {
		kind := "cgroup"
		if name == "unified" {
			kind = "cgroup2"
		}
		lines.WriteString("1 1 0:1 / " + filepath.Join(dir, name) + " rw - " + kind + " cgroup rw," + name + "\n")
	}
	return lines.String()
}

func TestSurvey(t *testing.T) {
	v1 := map[string]string{"tasks": ""}
	v2 := map[string]string{"cgroup.controllers": "cpuset cpu io memory pids", "cgroup.subtree_control": "memory pids", "cgroup.procs": ""}
	for name, tt := range map[string]struct {
		trees map[string]map[string]string
		want  string
	}{
		"version 2":             {map[string]map[string]string{"unified": v2}, "memory, cpu, processes: cgroup v2; open_files: rlimit"},
		"version 1":             {map[string]map[string]string{"memory": v1, "cpu": v1, "pids": v1}, "memory, cpu, processes: cgroup v1; open_files: rlimit"},
		"both":                  {map[string]map[string]string{"unified": {"cgroup.controllers": "hugetlb", "cgroup.procs": ""}, "memory": v1}, "memory: cgroup v1; cpu, processes: not available; open_files: rlimit"},
		"version 1 unwritable":  {map[string]map[string]string{"memory": {}, "pids": v1}, "memory: rlimit per process; cpu: not available; processes: cgroup v1; open_files: rlimit"},
		"version 2 of a kind":   {map[string]map[string]string{"unified": {"cgroup.controllers": "memory", "cgroup.subtree_control": "memory", "cgroup.procs": ""}}, "memory: cgroup v2; cpu, processes: not available; open_files: rlimit"},
		"version 2 that shares": {map[string]map[string]string{"unified": {"cgroup.controllers": "memory", "cgroup.procs": "1"}}, "memory: rlimit per process; cpu, processes: not available; open_files: rlimit"},
		"nothing":               {nil, "memory: rlimit per process; cpu, processes: not available; open_files: rlimit"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cgroup := "0::/\n"
			for controller, contents := range tt.trees {
				files(t, filepath.Join(dir, controller), contents)
				cgroup += "1:" + controller + ":/\n"
			}
			c := &Confiner{}
			c.hierarchies, c.why = survey(machine(dir, slices.Collect(maps.Keys(tt.trees))...), cgroup)
			if got := c.Mechanism(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			wanting := strings.Contains(tt.want, notAvailable) || strings.Contains(tt.want, rlimitPerProcess)
			if said := c.Warnings(); (len(said) > 0) != wanting {
				t.Errorf("warnings: %q", said)
			}
		})
	}
}

func TestInVersion2GroupsAreMadeWhereSomebodyHasDelegated(t *testing.T) {
	dir := t.TempDir()
	domain := map[string]string{"cgroup.type": "domain\n"}
	unit := files(t, filepath.Join(dir, "unit"), domain)
	sub := files(t, filepath.Join(unit, "sub"), domain)
	leaf := files(t, filepath.Join(unit, hostLeaf), domain)
	threaded := files(t, filepath.Join(dir, "threaded"), map[string]string{"cgroup.type": "threaded\n"})
	for name, tt := range map[string]struct {
		own       string
		managed   bool
		delegated string
		want      string
	}{
		"the root":                      {own: dir, managed: true, want: dir},
		"a container":                   {own: unit, want: unit},
		"a unit":                        {own: unit, managed: true},
		"a unit with Delegate=":         {own: unit, managed: true, delegated: unit, want: unit},
		"a unit with DelegateSubgroup=": {own: sub, managed: true, delegated: unit, want: unit},
		"a host that has stepped aside": {own: leaf, want: unit},
		"a group for threads":           {own: threaded},
	} {
		got, err := place(tt.own, tt.managed, func(dir string) bool { return dir == tt.delegated })
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, tt.want)
		}
	}
}

func TestControllersAreEnabledOnce(t *testing.T) {
	dir := files(t, t.TempDir(), map[string]string{"cgroup.subtree_control": "pids"})
	h := hierarchy{version: 2, base: dir}
	for _, tt := range []struct {
		r    resource
		want string
	}{{processes, "pids"}, {cpu, "+cpu"}} {
		if err := h.enable(tt.r); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, dir)["cgroup.subtree_control"]; got != tt.want {
			t.Errorf("%s: wrote %q, want %q", tt.r, got, tt.want)
		}
	}
}

func TestTheHostStepsAsideOnlyIfItIsAlone(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	dir := files(t, t.TempDir(), map[string]string{"cgroup.procs": me + "\n"})
	leaf := files(t, filepath.Join(dir, hostLeaf), map[string]string{"cgroup.procs": ""})
	if err := stepAside(dir); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, leaf)["cgroup.procs"]; got != me {
		t.Errorf("moved %q, want %s", got, me)
	}
	files(t, dir, map[string]string{"cgroup.procs": "1\n" + me + "\n"})
	if err := stepAside(dir); err == nil || !strings.Contains(err.Error(), "process 1 is there too") {
		t.Errorf("got %v", err)
	}
}

func TestLimitsAreWrittenAsTheKernelReadsThem(t *testing.T) {
	const stat = "anon 5000\nfile 70000\nshmem 3000\n"
	all := Limits{Memory: 8192, CPU: 1.5, Processes: 7}
	for name, tt := range map[string]struct {
		version     int
		given, want map[string]string
		limits      Limits
	}{
		"version 2": {
			2, map[string]string{"memory.max": "", "memory.swap.max": "", "memory.stat": stat, "pids.max": "", "cpu.max": ""},
			map[string]string{"memory.max": "8192", "memory.swap.max": "0", "memory.stat": stat, "pids.max": "7", "cpu.max": "150000 100000"}, all,
		},
		"version 2 without swap": {
			2, map[string]string{"memory.max": "", "memory.stat": stat, "pids.max": "", "cpu.max": ""},
			map[string]string{"memory.max": "8192", "memory.stat": stat, "pids.max": "7", "cpu.max": "150000 100000"}, all,
		},
		"version 2 lifted": {
			2, map[string]string{"memory.max": "", "memory.swap.max": "", "pids.max": "", "cpu.max": ""},
			map[string]string{"memory.max": "max", "memory.swap.max": "max", "pids.max": "max", "cpu.max": "max 100000"}, Limits{},
		},
		"version 1": {
			1, map[string]string{"memory.limit_in_bytes": "", "memory.memsw.limit_in_bytes": "", "pids.max": "", "cpu.cfs_quota_us": ""},
			map[string]string{"memory.limit_in_bytes": "8192", "memory.memsw.limit_in_bytes": "8192", "pids.max": "7", "cpu.cfs_quota_us": "150000"}, all,
		},
		"version 1 without account of swap": {
			1, map[string]string{"memory.limit_in_bytes": "", "memory.swappiness": "", "pids.max": "", "cpu.cfs_quota_us": ""},
			map[string]string{"memory.limit_in_bytes": "8192", "memory.swappiness": "0", "pids.max": "7", "cpu.cfs_quota_us": "1000"},
			Limits{Memory: 8192, CPU: 0.001, Processes: 7}, // less than the kernel can give
		},
		"version 1 lifted": {
			1, map[string]string{"memory.limit_in_bytes": "", "memory.memsw.limit_in_bytes": "", "pids.max": "", "cpu.cfs_quota_us": ""},
			map[string]string{"memory.limit_in_bytes": "-1", "memory.memsw.limit_in_bytes": "-1", "pids.max": "max", "cpu.cfs_quota_us": "-1"}, Limits{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := directory{hierarchy{version: tt.version}, files(t, t.TempDir(), tt.given)}
			for _, r := range []resource{memory, cpu, processes} {
				if err := d.limit(r, tt.limits); err != nil {
					t.Errorf("%s: %v", r, err)
				}
			}
			if diff := cmp.Diff(tt.want, contents(t, d.path)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestALimitThatWouldKillAtOnceIsRefused(t *testing.T) {
	d := directory{hierarchy{version: 2}, files(t, t.TempDir(), map[string]string{"memory.max": "max", "memory.swap.max": "max", "memory.stat": "anon 5000\nshmem 3193\n"})}
	if err := d.limit(memory, Limits{Memory: 8192}); !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v, want EBUSY", err)
	}
	if got := contents(t, d.path)["memory.max"]; got != "max" {
		t.Errorf("wrote %q", got)
	}
}

func TestKillsForWantOfMemoryAreCounted(t *testing.T) {
	for name, tt := range map[string]struct {
		version int
		files   map[string]string
		want    uint64
	}{
		"version 2":              {2, map[string]string{"memory.events": "oom 9\noom_kill 9\n", "memory.events.local": "max 5\noom 3\noom_kill 2\n"}, 2},
		"version 2 before 5.2":   {2, map[string]string{"memory.events": "oom 3\noom_kill 4\n"}, 4},
		"version 1":              {1, map[string]string{"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n"}, 6},
		"version 1 before 4.13":  {1, map[string]string{"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, 0},
		"nothing that can count": {2, nil, 0},
	} {
		d := directory{hierarchy{version: tt.version}, files(t, t.TempDir(), tt.files)}
		if got := d.oomKills(); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}
