package processes

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
)

func isAlive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestAnEndHasOneReason(t *testing.T) {
	b := open(t, testConfig(t))
	tests := map[string]struct {
		r     *processv1.StartRequest
		do    func(name string)
		cause processv1.Cause
		code  int32
		sig   string
		by    string
		words string
	}{
		"exit":    {r: &processv1.StartRequest{Spec: shell("exit 3")}, cause: processv1.Cause_EXIT, code: 3, words: "exit code 3 after "},
		"signal":  {r: &processv1.StartRequest{Spec: shell("kill -SEGV $$")}, cause: processv1.Cause_SIGNAL, code: -1, sig: "SIGSEGV", words: "SIGSEGV"},
		"timeout": {r: &processv1.StartRequest{Spec: shell("sleep 60"), Timeout: seconds(.05)}, cause: processv1.Cause_TIMEOUT, code: -1, sig: "SIGTERM", by: "timeout", words: "timeout: SIGTERM after "},
		"memory":  {r: &processv1.StartRequest{Spec: &processv1.Spec{Command: "small", Args: []string{"-c", "x=x; while :; do x=$x$x; done"}}}, cause: processv1.Cause_OOM, code: -1, sig: "SIGKILL", words: "out of memory: SIGKILL"},
		"pipes":   {r: &processv1.StartRequest{Spec: shell("exec >&- 2>&- <&-; exit 4")}, cause: processv1.Cause_EXIT, code: 4, words: "exit code 4"},
		"asked": {
			r:     &processv1.StartRequest{Spec: shell("sleep 60")},
			do:    func(name string) { b.stop(name, nil) },
			cause: processv1.Cause_REQUESTED, code: -1, sig: "SIGTERM", by: "test", words: "stopped by test: SIGTERM after ",
		},
		"asked nicely": {
			r:     &processv1.StartRequest{Spec: shell("trap 'exit 7' INT; echo up; while :; do sleep .01; done"), Ready: &processv1.Probe{LogLine: "up"}, WaitReady: true},
			do:    func(name string) { b.stop(name, &processv1.StopPolicy{Signal: "int"}) },
			cause: processv1.Cause_REQUESTED, code: 7, by: "test", words: "stopped by test: exit code 7",
		},
		"deaf": {
			r:     &processv1.StartRequest{Spec: shell("trap '' TERM; echo up; while :; do sleep .01; done"), Ready: &processv1.Probe{LogLine: "up"}, WaitReady: true},
			do:    func(name string) { b.stop(name, &processv1.StopPolicy{Grace: seconds(.1)}) },
			cause: processv1.Cause_REQUESTED, code: -1, sig: "SIGKILL", by: "test", words: "its tree was killed when the grace was over",
		},
		"stopped": {
			r: &processv1.StartRequest{Spec: shell("sleep 60")},
			do: func(name string) {
				b.signal(name, "STOP")
				b.stop(name, nil) // one that stands still hears it all the same
			},
			cause: processv1.Cause_REQUESTED, code: -1, sig: "SIGTERM", by: "test", words: "SIGTERM",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if name == "memory" && !b.bounds("memory") {
				t.Skip("no control group limits memory here")
			}
			test.r.Name = strings.ReplaceAll(name, " ", "-")
			b.start(test.r)
			if test.do != nil {
				test.do(test.r.GetName())
			}
			p := b.wait(test.r.GetName())
			e := p.GetExit()
			if p.GetState() != processv1.State_EXITED || e.GetCause() != test.cause || e.GetCode() != test.code || e.GetSignal() != test.sig ||
				e.GetBy() != test.by || !strings.Contains(e.GetMessage(), test.words) || p.GetPid() != 0 || p.GetProcesses() != 0 {
				t.Errorf("got %v", p)
			}
		})
	}
}

// family is a script that starts a process in its group, one in a session of its
// own and one that has lost its parent, and writes their ids.
const family = `
sleep 600 & echo $!
setsid sleep 601 & echo $!
( setsid sh -c 'sleep 602 & echo $!' & )
sleep .1
`

func TestNobodyOfTheTreeOutlivesAStop(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "tree", Spec: shell("trap '' TERM;" + family + "echo up; while :; do sleep .01; done"), Ready: &processv1.Probe{LogLine: "up"}, WaitReady: true})
	if n := b.get("tree").GetProcesses(); n < 4 {
		t.Errorf("the tree has %d processes, want 4 or more", n)
	}
	p := b.stop("tree", &processv1.StopPolicy{Grace: seconds(.1)})
	if p.GetState() != processv1.State_EXITED {
		t.Errorf("got %v", p)
	}
	for _, pid := range strings.Fields(b.log("tree"))[:3] {
		if isAlive(pid) {
			t.Errorf("process %s is alive", pid)
		}
	}
}

func TestAProcessIsNotOverBeforeWhatItHasLeftBehindIs(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "daemon", Spec: shell(family + "exit 0")})
	p := b.wait("daemon")
	if p.GetExit().GetCause() != processv1.Cause_EXIT || !strings.Contains(p.GetReason(), "exit code 0 after ") || !strings.Contains(p.GetReason(), "left behind and killed: ") {
		t.Errorf("got %v", p)
	}
	for pid := range strings.FieldsSeq(b.log("daemon")) {
		if isAlive(pid) {
			t.Errorf("process %s is alive", pid)
		}
	}
}

func TestAStopAsksDaemonsToo(t *testing.T) {
	b := open(t, testConfig(t))
	script := `setsid sh -c 'trap "echo daemon was asked; exit" TERM; echo up; while :; do sleep .01; done' & wait`
	b.start(&processv1.StartRequest{Name: "daemon", Spec: shell(script), Ready: &processv1.Probe{LogLine: "up"}, WaitReady: true})
	p := b.stop("daemon", &processv1.StopPolicy{Grace: seconds(600)})
	if log := b.log("daemon"); p.GetState() != processv1.State_EXITED || !strings.Contains(log, "daemon was asked") {
		t.Errorf("got %v and %q", p, log)
	}
}

func TestAForkBombIsBoundedAndEnds(t *testing.T) {
	b := open(t, testConfig(t))
	if !b.bounds("pids") {
		t.Skip("no control group limits processes here")
	}
	bomb := &processv1.Spec{Command: "small", Args: []string{"-c", `b() { b | b & }; b; while :; do b; done 2>/dev/null`}}
	b.start(&processv1.StartRequest{Name: "bomb", Spec: bomb})
	p := b.stop("bomb", &processv1.StopPolicy{Grace: seconds(.1)})
	if p.GetState() != processv1.State_EXITED || p.GetProcesses() != 0 {
		t.Errorf("got %v", p)
	}
}

func TestStopsAtOnceAllReturnAndOneSignalIsSent(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep .01; done"), Ready: &processv1.Probe{LogLine: "up"}, WaitReady: true})
	var stops sync.WaitGroup
	for i := range 10 {
		stops.Go(func() {
			if _, err := b.Stop(b.context(), &processv1.StopRequest{Name: "one", By: strconv.Itoa(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	stops.Wait()
	if log := b.log("one"); strings.Count(log, "asked") != 1 {
		t.Errorf("it has written %q", log)
	}
	if p := b.stop("one", nil); p.GetState() != processv1.State_EXITED {
		t.Errorf("got %v", p)
	}
}

func TestASignalReachesTheProcessOrItsGroupAndNobodyElse(t *testing.T) {
	b := open(t, testConfig(t))
	script := `trap 'echo parent' USR1; sh -c 'trap "echo child" USR1; echo up; while :; do sleep .01; done' & while :; do wait; done`
	b.start(&processv1.StartRequest{Name: "one", Spec: shell(script), Ready: &processv1.Probe{LogLine: "up"}, WaitReady: true})
	send := func(signal string, group bool) error {
		_, err := b.Signal(b.context(), &processv1.SignalRequest{Name: "one", Signal: signal, Group: group})
		return err
	}
	if err := send("SIGUSR1", false); err != nil {
		t.Fatal(err)
	}
	if log := b.awaitLog("one", "parent"); strings.Contains(log, "child") {
		t.Errorf("the group was signalled: %q", log)
	}
	if err := send("usr1", true); err != nil {
		t.Fatal(err)
	}
	b.awaitLog("one", "child")
	refused(t, send("SIGWHAT", false), codes.InvalidArgument, "SIGWHAT")
	b.stop("one", nil)
	refused(t, send("SIGUSR1", false), codes.FailedPrecondition, "does not run")
}

func TestWhatASignalOfACallerHasEndedSaysSo(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("sleep 60")})
	b.signal("one", "KILL")
	if e := b.wait("one").GetExit(); e.GetCause() != processv1.Cause_SIGNAL || e.GetSignal() != "SIGKILL" || e.GetBy() != "Signal" {
		t.Errorf("got %v", e)
	}
}

func TestTwoHundredProcessesStartAndEndAtOnce(t *testing.T) {
	b := open(t, testConfig(t))
	var calls sync.WaitGroup
	for i := range 200 {
		calls.Go(func() {
			name := fmt.Sprint("p", i)
			if _, err := b.Start(b.context(), &processv1.StartRequest{Name: name, Spec: shell("echo $$; exec sleep 600")}); err != nil {
				t.Error(err)
				return
			}
			b.awaitLog(name, "\n")
			if _, err := b.Stop(b.context(), &processv1.StopRequest{Name: name}); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	for i := range 200 {
		if pid := strings.TrimSpace(b.log(fmt.Sprint("p", i))); isAlive(pid) {
			t.Errorf("process %s is alive", pid)
		}
	}
}

func TestAStopIsAStopAlthoughOneOfTheTreeHadRunOutOfMemory(t *testing.T) {
	b := open(t, testConfig(t))
	if !b.bounds("memory") {
		t.Skip("no control group limits memory here")
	}
	script := "sh -c 'x=x; while :; do x=$x$x; done'; echo survived; exec sleep 60"
	b.start(&processv1.StartRequest{Name: "one", Spec: &processv1.Spec{Command: "small", Args: []string{"-c", script}}, Restart: always(.001, 3)})
	b.awaitLog("one", "survived")
	p := b.stop("one", nil)
	if e := p.GetExit(); p.GetState() != processv1.State_EXITED || e.GetCause() != processv1.Cause_REQUESTED || e.GetBy() != "test" || p.GetRestarts() != 0 {
		t.Errorf("got %v", p)
	}
}

func TestNobodyRunsWhoWasRemovedWhileHeWasRestarted(t *testing.T) {
	b := open(t, testConfig(t))
	pids := filepath.Join(t.TempDir(), "pids")
	for range 100 {
		b.start(&processv1.StartRequest{Name: "one", Spec: shell("echo $$ >>" + pids + "; exec sleep 600")})
		b.stop("one", nil)
		var calls sync.WaitGroup
		calls.Go(func() { _, _ = b.Restart(b.context(), &processv1.RestartRequest{Name: "one"}) })
		calls.Go(func() { _, _ = b.Remove(b.context(), &processv1.RemoveRequest{Name: "one"}) })
		calls.Wait()
		_, _ = b.Stop(b.context(), &processv1.StopRequest{Name: "one"})
		if _, err := b.Remove(b.context(), &processv1.RemoveRequest{Name: "one"}); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(text)) {
		if isAlive(pid) {
			t.Errorf("process %s is alive", pid)
		}
	}
}

func TestWhoAsksIsBounded(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("exec sleep 60")})
	_, err := b.Stop(b.context(), &processv1.StopRequest{Name: "one", By: strings.Repeat("x", 60<<10)})
	refused(t, err, codes.InvalidArgument, "by")
	_, err = b.Restart(b.context(), &processv1.RestartRequest{Name: "one", By: strings.Repeat("x", 60<<10)})
	refused(t, err, codes.InvalidArgument, "by")
}

// groupsOf are the directories of the control groups that a process is in and that
// were made for it.
func groupsOf(pid int32) (dirs []string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(text)) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), ":/"); ok && strings.Contains(path, "gaia-tree-") {
			found, _ := filepath.Glob("/sys/fs/cgroup/*/" + path)
			dirs = append(dirs, found...)
		}
	}
	return dirs
}

func TestACloseLeavesNoGroups(t *testing.T) {
	var dirs []string
	t.Run("use", func(t *testing.T) {
		b := open(t, testConfig(t))
		p := b.start(&processv1.StartRequest{Name: "one", Spec: shell("exec sleep 60")})
		if dirs = groupsOf(p.GetPid()); len(dirs) == 0 {
			t.Skip("no control groups here")
		}
	})
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}
