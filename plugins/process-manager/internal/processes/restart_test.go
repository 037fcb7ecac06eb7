package processes

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func always(backoff float64, exits int32) *processv1.RestartPolicy {
	return &processv1.RestartPolicy{When: processv1.When_ALWAYS, Backoff: seconds(backoff), Exits: exits}
}

func TestAProcessThatIsKilledRunsAgainAtOnce(t *testing.T) {
	b := open(t, testConfig(t))
	// The second exit in a row would wait for a minute.
	p := b.start(&processv1.StartRequest{Name: "one", Spec: shell("sleep 60"), Restart: always(60, 0)})
	b.signal("one", "KILL")
	var again *processv1.Process
	if !soon(func() bool { again = b.get("one"); return again.GetPid() != 0 && again.GetPid() != p.GetPid() }) {
		t.Fatalf("got %v", again)
	}
	if again.GetState() != processv1.State_RUNNING || again.GetRestarts() != 1 || again.GetExit().GetSignal() != "SIGKILL" {
		t.Errorf("got %v", again)
	}
}

func TestTheSecondExitInARowWaitsAndAStopEndsTheWait(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("exit 5"), Restart: always(20, 0)})
	p := b.wait("one", processv1.State_BACKOFF)
	until := time.Until(p.GetNextStart().AsTime())
	if p.GetState() != processv1.State_BACKOFF || p.GetRestarts() != 1 || until < 14*time.Second || until > 25*time.Second {
		t.Errorf("got %v, next start in %v", p, until)
	}
	if !strings.Contains(p.GetReason(), "exit code 5 after ") || !strings.Contains(p.GetReason(), ", restart in ") {
		t.Errorf("reason: %q", p.GetReason())
	}
	p = b.stop("one", nil)
	if p.GetState() != processv1.State_EXITED || p.GetExit().GetCode() != 5 || !strings.Contains(p.GetReason(), "stopped (test) while it waited") {
		t.Errorf("got %v", p)
	}
}

func TestTooManyExitsAreACrashLoopAndARestartForgivesThem(t *testing.T) {
	b := open(t, testConfig(t))
	r := &processv1.StartRequest{Name: "one", Spec: shell("exit 5"), Restart: always(.001, 4)}
	b.start(r)
	p := b.wait("one")
	if p.GetState() != processv1.State_FAILED || p.GetRestarts() != 3 || !strings.Contains(p.GetReason(), "4 exits within 1m0s") {
		t.Errorf("got %v", p)
	}
	if _, err := b.Restart(b.context(), &processv1.RestartRequest{Name: "one"}); err != nil {
		t.Fatal(err)
	}
	if p := b.wait("one"); p.GetState() != processv1.State_FAILED || p.GetRestarts() != 7 {
		t.Errorf("after a restart: got %v, want 4 more exits", p)
	}
}

func TestAPolicySaysWhichEndsAreFailures(t *testing.T) {
	b := open(t, testConfig(t))
	onFailure := processv1.When_ON_FAILURE
	tests := map[string]struct {
		when   processv1.When
		script string
		want   uint32 // restarts
	}{
		"never":           {processv1.When_NEVER, "exit 1", 0},
		"success":         {onFailure, "exit 0", 0},
		"another success": {onFailure, "exit 9", 0},
		"failure":         {onFailure, "exit 1", 2},
		"signal":          {onFailure, "kill -9 $$", 2},
		"always":          {processv1.When_ALWAYS, "exit 0", 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			name := strings.ReplaceAll(name, " ", "-")
			b.start(&processv1.StartRequest{Name: name, Spec: shell(test.script), Restart: &processv1.RestartPolicy{
				When: test.when, Backoff: seconds(.001), Exits: 3, SuccessCodes: []int32{9},
			}})
			if p := b.wait(name); p.GetRestarts() != test.want {
				t.Errorf("got %d restarts, want %d: %v", p.GetRestarts(), test.want, p)
			}
		})
	}
}

func TestARestartEndsWhatRunsAndCountsAsNoFailure(t *testing.T) {
	b := open(t, testConfig(t))
	p := b.start(&processv1.StartRequest{Name: "one", Spec: shell("echo run; exec sleep 60")})
	for n := range uint32(3) {
		b.awaitLog("one", strings.Repeat("run\n", int(n)+1))
		r, err := b.Restart(b.context(), &processv1.RestartRequest{Name: "one", By: "test"})
		if err != nil {
			t.Fatal(err)
		}
		again := r.GetProcess()
		if again.GetPid() == p.GetPid() || again.GetState() != processv1.State_RUNNING || again.GetRestarts() != n+1 || again.GetExit().GetBy() != "test" {
			t.Errorf("got %v", again)
		}
		p = again
	}
	b.awaitLog("one", "run\nrun\nrun\nrun\n")
	b.stop("one", nil)
	if r, err := b.Restart(b.context(), &processv1.RestartRequest{Name: "one"}); err != nil || r.GetProcess().GetState() != processv1.State_RUNNING {
		t.Errorf("a restart of what has ended: %v, %v", r, err)
	}
	_, err := b.Restart(b.context(), &processv1.RestartRequest{Name: "two"})
	refused(t, err, codes.NotFound, `"two"`)
}

func TestATimeoutHoldsAcrossRestarts(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("sleep .05"), Restart: always(.001, -1), Timeout: seconds(1)})
	p := b.wait("one")
	if p.GetState() != processv1.State_EXITED || p.GetRestarts() == 0 {
		t.Errorf("got %v", p)
	}
}

func TestRestartsAtOnceDoNotExceedWhatMayRun(t *testing.T) {
	config := testConfig(t)
	config.MaxProcesses = 3
	b := open(t, config)
	const ended = 60
	for i := range ended {
		name := strconv.Itoa(i)
		b.start(&processv1.StartRequest{Name: name, Spec: shell("exec sleep 60")})
		b.stop(name, nil)
	}
	var calls sync.WaitGroup
	var refusals atomic.Int32
	for i := range ended {
		calls.Go(func() {
			_, err := b.Restart(b.context(), &processv1.RestartRequest{Name: strconv.Itoa(i)})
			if status.Code(err) == codes.ResourceExhausted {
				refusals.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	running := b.manager.states()[life.Running]
	if running > 3 || running+int(refusals.Load()) != ended {
		t.Errorf("%d run, limit 3, and %d were refused", running, refusals.Load())
	}
}
