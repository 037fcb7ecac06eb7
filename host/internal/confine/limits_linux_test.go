package confine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

func TestAHogIsKilledAtItsLimitAndTheCountSaysSo(t *testing.T) {
	c := confiner(t, anyHierarchy)
	needs(t, c, memory)
	g := group(t, c, Limits{Memory: 48 * mib})
	p := launch(t, g, "hogs")
	got := 0
	for range 64 {
		if _, err := p.input.WriteString("\n"); err != nil {
			break
		}
		if p.line(t) == "" {
			break
		}
		got++
	}
	_ = p.Wait() // it says that it was killed, which is looked at below
	status := p.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signal() != syscall.SIGKILL {
		t.Errorf("%v, want it killed", p.ProcessState)
	}
	if got < 16 || got > 48 { // the process itself uses some, more under the race detector
		t.Errorf("killed after %d MiB, want just under 48", got)
	}
	if n := g.OOMKills(); n != 1 {
		t.Errorf("%d kills for want of memory, want 1", n)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if n := g.OOMKills(); n != 1 {
		t.Errorf("after Close: %d kills, want 1", n)
	}
}

func TestAKillBySomebodyIsNoOOMKill(t *testing.T) {
	g := group(t, confiner(t, anyHierarchy), Limits{Memory: 64 * mib})
	p := launch(t, g, "waits")
	p.line(t)
	_ = p.Process.Kill()
	_ = p.Wait()
	if n := g.OOMKills(); n != 0 {
		t.Errorf("%d kills for want of memory, want 0", n)
	}
}

func TestAGoPluginLivesWith64MiBWhateverKeepsTheLimit(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "hello")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../../examples/hello")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sockets, err := os.MkdirTemp("", "g")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(sockets)
	for name, wanted := range map[string]func(hierarchy) bool{
		"control groups": anyHierarchy,
		"rlimits":        noHierarchy,
	} {
		t.Run(name, func(t *testing.T) {
			g := group(t, confiner(t, wanted), Limits{Memory: 64 * mib, OpenFiles: 64, Processes: 64, CPU: 1})
			p, err := wire.Start(t.Context(), wire.Command{Path: bin, SocketDir: sockets, Launch: g.Launch})
			if err != nil {
				t.Fatalf("%v; %s", err, g.Mechanism())
			}
			defer p.Close()
			if n := g.OOMKills(); n > 0 {
				t.Errorf("%d kills for want of memory", n)
			}
		})
	}
}

func TestWithoutControlGroupsWhatAProcessMapsIsLimited(t *testing.T) {
	c := confiner(t, noHierarchy)
	g := group(t, c, Limits{Memory: 64 * mib, CPU: 1, Processes: 10, OpenFiles: 64})
	// dd asks for its buffer at once, and does not use it before it has it.
	p := launch(t, g, "/bin/sh", "-c", "ulimit -d; exec 2>/dev/null; dd if=/dev/zero bs=400M count=1 >/dev/null || echo refused")
	if got, want := p.line(t), strconv.Itoa((64+256)*1024); got != want {
		t.Errorf("limit of data: %s KiB, want %s", got, want)
	}
	if got := p.line(t); got != "refused" {
		t.Errorf("400 MiB: got %q, want it refused", got)
	}
	const want = "memory: rlimit per process; cpu, processes: not available; open_files: rlimit"
	if got := g.Mechanism(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := strings.Join(g.Warnings(), "\n"); !strings.Contains(got, "256 MiB more") || !strings.Contains(got, "processes: not available: ") {
		t.Errorf("warnings: %s", got)
	}
}

func TestAForkBombStaysWithinItsLimit(t *testing.T) {
	const limit = 48
	c := confiner(t, anyHierarchy)
	needs(t, c, processes)
	g := group(t, c, Limits{Processes: limit, CPU: 0.5})
	// Its complaints would fill the log.
	p := launch(t, g, "/bin/sh", "-c", "exec 2>/dev/null; bomb() { bomb | bomb & }; bomb; read x")
	d := g.directoryOf(t, processes)
	refused := func() bool {
		if n := len(d.pids()); n > limit {
			t.Errorf("%d processes, limit %d", n, limit)
		}
		n, err := readCount(filepath.Join(d.path, "pids.events"), "max")
		return err != nil || n >= 10
	}
	await(t, "a refused fork", refused)
	if free := launch(t, group(t, c, Limits{}), "waits"); free.line(t) != "waiting" {
		t.Error("another group is affected")
	}
	g.Kill()
	if left := d.pids(); len(left) > 0 {
		t.Errorf("processes %v have survived", left)
	}
	_ = p.Wait()
}

func TestOneProcessIsAllowedToBeAlone(t *testing.T) {
	c := confiner(t, anyHierarchy)
	needs(t, c, processes)
	g := group(t, c, Limits{Processes: 1})
	p := launch(t, g, "/bin/sh", "-c", "exec 2>/dev/null; echo alone; (:) || :; echo not reached")
	if got := p.line(t); got != "alone" {
		t.Errorf("got %q", got)
	}
	if got := p.line(t); got == "not reached" {
		t.Error("a second process was started")
	}
}

func TestOpenFilesAreRefusedAtTheLimit(t *testing.T) {
	const limit = 64
	g := group(t, confiner(t, anyHierarchy), Limits{OpenFiles: limit})
	got := launch(t, g, "opens-files").numbers(t)
	if len(got) != 2 || syscall.Errno(got[1]) != syscall.EMFILE {
		t.Fatalf("got %v, want a count and EMFILE", got)
	}
	if opened := got[0]; opened > limit-3 || opened < limit-10 { // some are the runtime's
		t.Errorf("%d files opened besides the standard ones, limit %d", opened, limit)
	}
	if got, want := g.Mechanism(), "open_files: rlimit"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALimitAboveTheHostsOwnIsGivenOrSaidToBeLower(t *testing.T) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	want := int(own.Max) + 1
	g := group(t, confiner(t, anyHierarchy), Limits{OpenFiles: want})
	got := launch(t, g, "/bin/sh", "-c", "ulimit -Hn").line(t)
	said := strings.Join(g.Warnings(), "\n")
	if given := got == strconv.Itoa(want); given == strings.Contains(said, "the hard limit of the host") {
		t.Errorf("limit %s, want %d; warnings: %q", got, want, said)
	}
}

func TestAProcessIsLimitedBeforeItsFirstInstruction(t *testing.T) {
	c := confiner(t, anyHierarchy)
	g := group(t, c, Limits{OpenFiles: 77, Memory: 64 * mib, CPU: 1, Processes: 32})
	p := launch(t, g, "/bin/sh", "-c", "ulimit -n; ulimit -Hn; cat /proc/self/cgroup")
	for range 2 {
		if got := p.line(t); got != "77" {
			t.Errorf("soft, then hard limit: %s, want 77", got)
		}
	}
	var groups strings.Builder
	for line := p.line(t); line != ""; line = p.line(t) {
		groups.WriteString(line + "\n")
	}
	in := parseMembership(groups.String())
	for _, d := range g.dirs {
		key := ""
		if d.version == 1 {
			key = controllerOf(d.resources[0])
		}
		if got := filepath.Base(in[key]); got != filepath.Base(d.path) {
			t.Errorf("%s: in group %q, want %q", d, got, filepath.Base(d.path))
		}
	}
	if said := g.Warnings(); len(said) > len(c.Warnings()) {
		t.Errorf("warnings: %q", said)
	}
}

func TestProcessorTimeIsShared(t *testing.T) {
	const cores = 0.2
	c := confiner(t, anyHierarchy)
	needs(t, c, cpu)
	g := group(t, c, Limits{CPU: cores})
	p := launch(t, g, "spins")
	d := g.directoryOf(t, cpu)
	stat := func(name string) uint64 {
		n, err := readCount(filepath.Join(d.path, "cpu.stat"), name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	await(t, "five throttled periods", func() bool { return stat("nr_throttled") >= 5 })
	_ = p.Process.Kill()
	_ = p.Wait()
	periods := stat("nr_periods")
	used := p.ProcessState.UserTime() + p.ProcessState.SystemTime()
	given := time.Duration(float64(periods) * cores * cpuPeriod * float64(time.Microsecond))
	// Each core may overdraw by a slice of 5 ms, and has to make up for it.
	if used > given+given/2+50*time.Millisecond || used < given/2 {
		t.Errorf("used %v in %d periods that give %v", used, periods, given)
	}
}

func TestTheHostKeepsItsOwnLimits(t *testing.T) {
	var before, after syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	g := group(t, confiner(t, anyHierarchy), Limits{OpenFiles: 32})
	launch(t, g, "waits").line(t)
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &after); err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("got %+v, want %+v", after, before)
	}
}

func TestAMissingProgramIsSaidToBeMissing(t *testing.T) {
	g := group(t, confiner(t, anyHierarchy), Limits{OpenFiles: 32, Memory: 64 * mib})
	cmd, _, _ := command(t, "/no/such/program")
	if err := g.Launch(cmd); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
	if cmd.Process != nil {
		t.Error("there is a process")
	}
}
