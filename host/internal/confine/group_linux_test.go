package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestKillReachesWhoHasLeftTheProcessGroup(t *testing.T) {
	for name, wanted := range map[string]func(hierarchy) bool{
		"what there is": anyHierarchy, "version 2": unified, "version 1": separate, "memory of version 1": onlyMemory,
	} {
		t.Run(name, func(t *testing.T) {
			c := confiner(t, wanted)
			if len(c.hierarchies) == 0 {
				t.Skip("no such hierarchy may be written here")
			}
			g := group(t, c, Limits{})
			p := launch(t, g, "has-daemons")
			daemons := p.numbers(t)
			if got := g.dirs[0].pids(); len(got) != 3 {
				t.Errorf("processes %v, want 3", got)
			}
			if err := g.Close(); err == nil || !strings.Contains(err.Error(), "3 processes are left") {
				t.Errorf("Close of a group in use: got %v", err)
			}
			g.Kill()
			if err := g.Close(); err != nil {
				t.Error(err)
			}
			if len(daemons) != 2 {
				t.Fatalf("daemons %v, want 2", daemons)
			}
			for _, pid := range append(daemons, p.Process.Pid) {
				await(t, "the end of "+strconv.Itoa(pid), func() bool { return hasEnded(pid) })
			}
		})
	}
}

func TestGroupsThatAPluginMadeAreRemovedToo(t *testing.T) {
	g := group(t, confiner(t, anyHierarchy), Limits{})
	if len(g.dirs) == 0 {
		t.Skip("no control group may be written here")
	}
	d := g.dirs[0]
	inner := filepath.Join(d.path, "inner")
	if err := os.MkdirAll(filepath.Join(inner, "most"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := launch(t, g, "waits")
	if err := write(filepath.Join(inner, "cgroup.procs"), strconv.Itoa(p.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	g.Kill()
	_ = p.Wait()
	if got := p.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != syscall.SIGKILL {
		t.Errorf("ended by %v", got)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestANewHostSweepsWhatItsPredecessorLeftAndNothingElse(t *testing.T) {
	mine, others := confiner(t, anyHierarchy), New(t.Name()+"another"+strconv.Itoa(os.Getpid()))
	if len(mine.hierarchies) == 0 {
		t.Skip("no control group may be written here")
	}
	leftover, foreign := launch(t, mine.Group("left", Limits{}), "has-daemons"), launch(t, group(t, others, Limits{}), "waits")
	daemons := leftover.numbers(t)
	foreign.line(t)
	if said := New(t.Name() + strconv.Itoa(os.Getpid())).Warnings(); len(said) > len(others.Warnings()) {
		t.Errorf("warnings: %q", said)
	}
	for _, pid := range append(daemons, leftover.Process.Pid) {
		if !hasEnded(pid) {
			t.Errorf("process %d has survived", pid)
		}
	}
	if hasEnded(foreign.Process.Pid) {
		t.Error("another host's process was killed")
	}
}

func TestLimitsChangeWhileTheTreeRuns(t *testing.T) {
	c := confiner(t, anyHierarchy)
	for _, r := range []resource{memory, cpu, processes} {
		needs(t, c, r)
	}
	g := group(t, c, Limits{Memory: 32 * mib, OpenFiles: 64})
	p := launch(t, g, "hogs")
	grow := func() string {
		if _, err := p.input.WriteString("\n"); err != nil {
			t.Fatal(err)
		}
		return p.line(t)
	}
	for range 8 {
		grow()
	}
	if err := g.Update(Limits{Memory: mib, OpenFiles: 64}); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a limit below what is in use: got %v, want EBUSY", err)
	}
	if err := g.Update(Limits{Memory: 64 * mib, OpenFiles: 33, CPU: 0.5, Processes: 99}); err != nil {
		t.Fatal(err)
	}
	for range 28 { // more than 32 MiB
		if got := grow(); got == "" {
			t.Fatal("the old limit holds")
		}
	}
	var files unix.Rlimit
	if err := unix.Prlimit(p.Process.Pid, unix.RLIMIT_NOFILE, nil, &files); err != nil || files.Max != 33 {
		t.Errorf("open files %+v, %v; want 33", files, err)
	}
	d := g.directoryOf(t, cpu)
	if got := d.pids(); !slices.Equal(got, []int{p.Process.Pid}) {
		t.Errorf("processes %v share the time, want %d", got, p.Process.Pid)
	}
	version := "cgroup v" + strconv.Itoa(d.version)
	if got, want := g.Mechanism(), fmt.Sprintf("memory, cpu, processes: %s; open_files: rlimit", version); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// To raise an rlimit takes CAP_SYS_RESOURCE.
	wantFiles, wantMechanism := g.inherited[openFiles].Max, ""
	if err := g.Update(Limits{}); errors.Is(err, unix.EPERM) {
		wantFiles, wantMechanism = 33, "open_files: rlimit"
	} else if err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(p.Process.Pid, unix.RLIMIT_NOFILE, nil, &files); err != nil || files.Max != wantFiles {
		t.Errorf("open files %+v, %v; want %d", files, err, wantFiles)
	}
	if got := g.Mechanism(); got != wantMechanism {
		t.Errorf("got %q, want %q", got, wantMechanism)
	}
}

func TestManyLaunchesLeaveNothingBehind(t *testing.T) {
	c := confiner(t, anyHierarchy)
	openFiles := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := openFiles()
	for n := range 200 {
		g := c.Group(fmt.Sprint("many-", n), Limits{Memory: 64 * mib, CPU: 1, Processes: 16, OpenFiles: 64})
		cmd, out, in := command(t, "/bin/true")
		if err := g.Launch(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		_, _, _, _ = out.Close(), in.Close(), cmd.Stdin.(*os.File).Close(), cmd.Stdout.(*os.File).Close()
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := openFiles(); after > before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

func TestTheLaunchingThreadIsBackInItsGroups(t *testing.T) {
	c := confiner(t, anyHierarchy)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	groups := func() string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/cgroup", unix.Gettid()))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := groups()
	g := group(t, c, Limits{Memory: 64 * mib, CPU: 1, Processes: 16, OpenFiles: 64})
	missing, _, _ := command(t, "/no/such/program")
	if err := g.Launch(missing); err == nil {
		t.Error("a missing program was started")
	}
	if after := groups(); after != before {
		t.Errorf("after a launch that failed: in\n%s, was in\n%s", after, before)
	}
	launch(t, g, "waits").line(t)
	if after := groups(); after != before {
		t.Errorf("in\n%s, was in\n%s", after, before)
	}
}

func TestLaunchesAtOnceDoNotMixUpTheirGroups(t *testing.T) {
	c := confiner(t, anyHierarchy)
	var launches sync.WaitGroup
	for i := range 32 {
		launches.Go(func() {
			g := c.Group("at-once-"+strconv.Itoa(i), Limits{Memory: 64 * mib, Processes: 8, OpenFiles: 32 + i})
			wanted := len(g.dirs)
			out, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Error(err)
				return
			}
			defer out.Close()
			cmd := &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "ulimit -n; cat /proc/self/cgroup"}, Stdout: out}
			if err := errors.Join(g.Launch(cmd), cmd.Wait(), g.Close()); err != nil {
				t.Error(err)
			}
			text, err := os.ReadFile(out.Name())
			limit, groups, _ := strings.Cut(string(text), "\n")
			if got := strings.Count(groups, g.name+"\n"); err != nil || got != wanted || limit != strconv.Itoa(32+i) {
				t.Errorf("in %d of its %d groups, limit %s: %s%v", got, wanted, limit, groups, err)
			}
		})
	}
	launches.Wait()
	threads, err := filepath.Glob("/proc/self/task/*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if text, err := os.ReadFile(thread); err == nil && strings.Contains(string(text), c.prefix) {
			t.Errorf("%s is left in\n%s", thread, text)
		}
	}
}

// A part of the kernel that a sandbox may deny to the host.
func TestWhatIsForbiddenIsReplacedOrSaid(t *testing.T) {
	const traceme, later = unix.SYS_PTRACE, "a moment after the process had started: "
	for name, tt := range map[string]struct {
		syscall uint32
		errno   unix.Errno
		warning string
	}{
		"tracing":             {traceme, unix.EPERM, later},
		"birth in a group":    {unix.SYS_CLONE3, unix.ENOSYS, ""},
		"nothing of interest": {unix.SYS_ACCT, unix.EPERM, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := confiner(t, anyHierarchy)
			g := group(t, c, Limits{Memory: 64 * mib, OpenFiles: 64, Processes: 32})
			cmd, _, _ := command(t, "waits")
			done := make(chan error)
			go func() {
				runtime.LockOSThread() // for good: the thread ends with the goroutine
				if err := forbid(tt.syscall, tt.errno); err != nil {
					done <- err
					return
				}
				cmd.SysProcAttr.Pdeathsig = 0
				done <- g.Launch(cmd)
			}()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
			var files unix.Rlimit
			if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &files); err != nil || files.Max != 64 {
				t.Errorf("open files %+v, %v; want 64", files, err)
			}
			for _, d := range g.dirs {
				if got := d.pids(); !slices.Equal(got, []int{cmd.Process.Pid}) {
					t.Errorf("%s: processes %v, want %d", d.path, got, cmd.Process.Pid)
				}
			}
			said := strings.Join(g.Warnings()[len(shortcomings(g.limits, g.keeper)):], "\n")
			if (said == "") != (tt.warning == "") || !strings.Contains(said, tt.warning) {
				t.Errorf("warnings %q, want %q", said, tt.warning)
			}
		})
	}
}

// forbid denies a system call to this thread and to whatever it starts.
func forbid(number uint32, errno unix.Errno) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: number},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0)
}
