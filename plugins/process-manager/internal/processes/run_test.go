package processes

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
)

func (b *bench) run(r *processv1.RunRequest) *processv1.RunResponse {
	b.t.Helper()
	response, err := b.Run(b.context(), r)
	if err != nil {
		b.t.Fatal(err)
	}
	return response
}

func TestARunReturnsWhatACommandHasWrittenAndHowItEnded(t *testing.T) {
	b := open(t, testConfig(t))
	r := b.run(&processv1.RunRequest{Spec: shell("cat; echo to stderr >&2; exit 3"), Input: []byte("to stdin\n")})
	if string(r.GetStdout()) != "to stdin\n" || string(r.GetStderr()) != "to stderr\n" || r.GetStdoutBytes() != 9 || r.GetStderrBytes() != 10 {
		t.Errorf("got %v", r)
	}
	if e := r.GetExit(); e.GetCause() != processv1.Cause_EXIT || e.GetCode() != 3 || !strings.HasPrefix(e.GetMessage(), "exit code 3 after ") {
		t.Errorf("got %v", e)
	}
	if r.GetTook().AsDuration() <= 0 || r.GetMaxMemory() == 0 {
		t.Errorf("got %v", r)
	}
	if r.GetMaxMemory() > 8<<20 && b.bounds("memory") {
		t.Errorf("a shell is said to have needed %d bytes", r.GetMaxMemory())
	}
	r = b.run(&processv1.RunRequest{Spec: shell("echo a; echo b >&2; echo c"), Merge: true})
	if string(r.GetStdout()) != "a\nb\nc\n" || len(r.GetStderr()) != 0 {
		t.Errorf("merged: got %v", r)
	}
}

func TestARunReadsInputAndOutputThatIsLargerThanAPipe(t *testing.T) {
	b := open(t, testConfig(t))
	input := []byte(strings.Repeat("0123456789abcdef", 1<<17)) // 2 MiB
	r := b.run(&processv1.RunRequest{Spec: shell("cat"), Input: input, MaxOutput: 16 << 20})
	if string(r.GetStdout()) != string(input) {
		t.Errorf("got %d bytes, want %d", len(r.GetStdout()), len(input))
	}
	r = b.run(&processv1.RunRequest{Spec: shell("head -c 5000000 /dev/zero"), MaxOutput: 1000})
	if len(r.GetStdout()) != 1000 || r.GetStdoutBytes() != 5000000 {
		t.Errorf("got %d of %d bytes, want 1000 of 5000000", len(r.GetStdout()), r.GetStdoutBytes())
	}
	b.run(&processv1.RunRequest{Spec: shell("exit 0"), Input: input}) // which nobody reads
}

func TestARunsTimeoutKillsItsTreeAndReturnsWhatThereIs(t *testing.T) {
	b := open(t, testConfig(t))
	r := b.run(&processv1.RunRequest{Spec: shell(family + "trap '' TERM; sleep 600"), Timeout: seconds(2)})
	if e := r.GetExit(); e.GetCause() != processv1.Cause_TIMEOUT || e.GetSignal() != "SIGKILL" || e.GetBy() != "timeout" {
		t.Errorf("got %v", e)
	}
	pids := strings.Fields(string(r.GetStdout()))
	if len(pids) != 3 {
		t.Errorf("it has written %q", r.GetStdout())
	}
	for _, pid := range pids {
		if isAlive(pid) {
			t.Errorf("process %s is alive", pid)
		}
	}
}

func TestARunThatIsGivenUpIsKilled(t *testing.T) {
	b := open(t, testConfig(t))
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(b.context())
	ended := make(chan error, 1)
	go func() {
		_, err := b.Run(ctx, &processv1.RunRequest{Spec: shell("echo $$ >" + dir + "/pid; sleep 600")})
		ended <- err
	}()
	pid := ""
	soon(func() bool { pid = strings.TrimSpace(read(dir + "/pid")); return pid != "" })
	cancel()
	refused(t, <-ended, codes.Canceled)
	if !soon(func() bool { return !isAlive(pid) }) {
		t.Errorf("process %s is alive", pid)
	}
}

func TestARunWaitsForNobodyWhoHoldsItsOutput(t *testing.T) {
	b := open(t, testConfig(t))
	begun := time.Now()
	r := b.run(&processv1.RunRequest{Spec: shell("echo done; setsid sleep 600 & exit 0")})
	if string(r.GetStdout()) != "done\n" || r.GetExit().GetCode() != 0 || time.Since(begun) > patience {
		t.Errorf("got %v", r)
	}
}

func TestNoMoreRunsAreUnderWayThanAreAllowed(t *testing.T) {
	config := testConfig(t)
	config.MaxRuns = 2
	b := open(t, config)
	ctx, cancel := context.WithCancel(b.context())
	var runs sync.WaitGroup
	for range 2 {
		runs.Go(func() { _, _ = b.Run(ctx, &processv1.RunRequest{Spec: shell("sleep 600")}) })
	}
	soon(func() bool { return b.manager.runs.Load() == 2 })
	_, err := b.Run(b.context(), &processv1.RunRequest{Spec: shell("exit 0")})
	refused(t, err, codes.ResourceExhausted, "max_runs")
	cancel()
	runs.Wait()
	soon(func() bool { return b.manager.runs.Load() == 0 })
	b.run(&processv1.RunRequest{Spec: shell("exit 0")})
}

func TestARunThatIsNoneIsRefused(t *testing.T) {
	b := open(t, testConfig(t))
	for want, r := range map[string]*processv1.RunRequest{
		"spec.command": {},
		"spec.tty":     {Spec: &processv1.Spec{Command: "sh", Tty: true}},
		"max_output":   {Spec: shell("exit 0"), MaxOutput: 16<<20 + 1},
		"timeout":      {Spec: shell("exit 0"), Timeout: seconds(-1)},
		"spec.args[1]": {Spec: &processv1.Spec{Command: "sh", Args: []string{"-c", "a\x00b"}}},
	} {
		_, err := b.Run(b.context(), r)
		refused(t, err, codes.InvalidArgument, want)
	}
}

func TestARunDoesNotPayForTheMemoryOfTheOneBefore(t *testing.T) {
	b := open(t, testConfig(t))
	if !b.bounds("memory") {
		t.Skip("no control group limits memory here")
	}
	file := "/dev/shm/" + filepath.Base(t.TempDir()) + "-gaia-test"
	defer func() { _ = os.Remove(file) }() // it need not be there
	run := func(script string) *processv1.RunResponse {
		t.Helper()
		r, err := b.Run(b.context(), &processv1.RunRequest{Spec: &processv1.Spec{Command: "small", Args: []string{"-c", script}}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if e := run("head -c 28000000 /dev/zero >" + file).GetExit(); e.GetCause() != processv1.Cause_EXIT || e.GetCode() != 0 {
		t.Fatalf("got %v", e)
	}
	r := run("x=$(head -c 8000000 /dev/zero | tr '\\0' x); echo ${#x}")
	if e := r.GetExit(); e.GetCause() != processv1.Cause_EXIT || e.GetCode() != 0 {
		t.Errorf("got %v", e)
	}
}
