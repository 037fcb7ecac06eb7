package processes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
)

func TestWhatCannotBeStartedSaysWhyAndIsFailed(t *testing.T) {
	b := open(t, testConfig(t))
	tests := map[string]struct {
		spec *processv1.Spec
		want string
	}{
		"missing":        {&processv1.Spec{Command: "missing"}, "no such file"},
		"not-executable": {&processv1.Spec{Command: "text"}, "not executable"},
		"unknown-user":   {&processv1.Spec{Command: "sh", User: "no-such-user"}, "no-such-user"},
		"no-directory":   {&processv1.Spec{Command: "sh", Dir: "/tmp/no/such/directory"}, "/tmp/no/such/directory"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := b.Start(b.context(), &processv1.StartRequest{Name: name, Spec: test.spec, Restart: &processv1.RestartPolicy{When: processv1.When_ALWAYS}})
			refused(t, err, codes.FailedPrecondition, name, test.want)
			p := b.get(name)
			if p.GetState() != processv1.State_FAILED || p.GetExit().GetCause() != processv1.Cause_NOT_STARTED || !strings.Contains(p.GetReason(), test.want) {
				t.Errorf("got %v, want FAILED, NOT_STARTED and %q", p, test.want)
			}
			_, err = b.Run(b.context(), &processv1.RunRequest{Spec: test.spec})
			refused(t, err, codes.FailedPrecondition, test.want)
		})
	}
}

func TestARequestThatIsNoneIsRefusedAndLeavesNothing(t *testing.T) {
	b := open(t, testConfig(t))
	ok := &processv1.Spec{Command: "sleep", Args: []string{"9"}}
	tests := map[string]struct {
		r    *processv1.StartRequest
		code codes.Code
		want string
	}{
		"no name":           {&processv1.StartRequest{Spec: ok}, codes.InvalidArgument, "name"},
		"a path":            {&processv1.StartRequest{Name: "../x", Spec: ok}, codes.InvalidArgument, "name"},
		"a hidden name":     {&processv1.StartRequest{Name: ".x", Spec: ok}, codes.InvalidArgument, "name"},
		"a long name":       {&processv1.StartRequest{Name: strings.Repeat("x", 101), Spec: ok}, codes.InvalidArgument, "name"},
		"no command":        {&processv1.StartRequest{Name: "x"}, codes.InvalidArgument, "spec.command"},
		"another command":   {&processv1.StartRequest{Name: "x", Spec: &processv1.Spec{Command: "rm"}}, codes.PermissionDenied, "missing, sh, sleep, small, text"},
		"another argument":  {&processv1.StartRequest{Name: "x", Spec: &processv1.Spec{Command: "sleep", Args: []string{"9", "-x"}}}, codes.PermissionDenied, `argument 1, "-x", matches none of the patterns "[0-9.]+" (rule args)`},
		"another user":      {&processv1.StartRequest{Name: "x", Spec: &processv1.Spec{Command: "sleep", User: "root"}}, codes.PermissionDenied, "caller_users"},
		"too much memory":   {&processv1.StartRequest{Name: "x", Spec: &processv1.Spec{Command: "small", Limits: &processv1.Limits{Memory: 33 << 20}}}, codes.PermissionDenied, "limits.memory"},
		"a signal":          {&processv1.StartRequest{Name: "x", Spec: ok, Stop: &processv1.StopPolicy{Signal: "SIGNONE"}}, codes.InvalidArgument, "SIGNONE"},
		"a long grace":      {&processv1.StartRequest{Name: "x", Spec: ok, Stop: &processv1.StopPolicy{Grace: seconds(601)}}, codes.InvalidArgument, "stop.grace"},
		"two probes":        {&processv1.StartRequest{Name: "x", Spec: ok, Ready: &processv1.Probe{Tcp: "localhost:1", LogLine: "x"}}, codes.InvalidArgument, "exactly one"},
		"a probe far away":  {&processv1.StartRequest{Name: "x", Spec: ok, Ready: &processv1.Probe{Http: "http://example.com/"}}, codes.InvalidArgument, "localhost"},
		"a probe's command": {&processv1.StartRequest{Name: "x", Spec: ok, Live: &processv1.Probe{Exec: &processv1.ExecProbe{Command: "rm"}}}, codes.PermissionDenied, `"rm"`},
		"a live log line":   {&processv1.StartRequest{Name: "x", Spec: ok, Live: &processv1.Probe{LogLine: "x"}}, codes.InvalidArgument, "live.log_line"},
		"terminal and pipe": {&processv1.StartRequest{Name: "x", Spec: &processv1.Spec{Command: "sh", Tty: true, Stdin: true}}, codes.InvalidArgument, "spec.stdin"},
		"a large request":   {&processv1.StartRequest{Name: "x", Spec: shell(strings.Repeat("x", 50<<10))}, codes.InvalidArgument, "limit"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := b.Start(b.context(), test.r)
			refused(t, err, test.code, test.want)
		})
	}
	list, err := b.List(b.context(), &processv1.ListRequest{})
	if err != nil || len(list.GetProcesses()) != 0 {
		t.Errorf("got %v and %v, want no process", list, err)
	}
}

func TestAnEnvironmentIsWhatIsAllowedAndIsNeverShown(t *testing.T) {
	config := testConfig(t)
	config.Command["sh"].Env = map[string]string{"SECRET": "hush", "A": "operator"}
	b := open(t, config)
	spec := shell("echo $SECRET $A $X_B")
	spec.Env = map[string]string{"X_B": "whisper"}
	p := b.start(&processv1.StartRequest{Name: "env", Spec: spec})
	b.wait("env")
	if log := b.log("env"); log != "hush operator whisper\n" {
		t.Errorf("it saw %q", log)
	}
	if text := fmt.Sprint(p, b.get("env")); strings.Contains(text, "hush") || strings.Contains(text, "whisper") {
		t.Errorf("a value is shown: %s", text)
	}
	spec.Env = map[string]string{"LD_PRELOAD": "whisper"}
	_, err := b.Start(b.context(), &processv1.StartRequest{Name: "x", Spec: spec})
	refused(t, err, codes.PermissionDenied, "LD_PRELOAD", "X_*", "caller_env")
	if strings.Contains(err.Error(), "whisper") {
		t.Errorf("a value is shown: %v", err)
	}
}

func TestAProcessIsToldOfTheProxyWhichIsNeverShown(t *testing.T) {
	const proxy = "http://ci:hush@127.0.0.1:3128"
	config := testConfig(t)
	config.Proxy = proxy
	config.Command["sh"].HostEnv = []string{"PATH"}
	b := open(t, config)
	p := b.start(&processv1.StartRequest{Name: "env", Spec: shell("env")})
	b.wait("env")
	lines := strings.Split(b.log("env"), "\n")
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		if !slices.Contains(lines, name+"="+proxy) {
			t.Errorf("%s is not the proxy in %q", name, lines)
		}
	}
	for _, entry := range []string{"NODE_USE_ENV_PROXY=1", "NO_PROXY=localhost,127.0.0.1,::1,127.0.0.0/8", "no_proxy=localhost,127.0.0.1,::1,127.0.0.0/8"} {
		if !slices.Contains(lines, entry) {
			t.Errorf("%s is not in %q", entry, lines)
		}
	}
	if text := fmt.Sprint(p, b.get("env")); strings.Contains(text, "hush") {
		t.Errorf("the proxy is shown: %s", text)
	}
	config.Proxy = "http://ci:hush@127.0.0.1"
	if err := b.manager.Reconfigure(t.Context(), config); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("got %v, want a fault without the proxy", err)
	}
}

func TestANameIsTakenUntilItsProcessHasEnded(t *testing.T) {
	b := open(t, testConfig(t))
	sleep := &processv1.StartRequest{Name: "one", Spec: &processv1.Spec{Command: "sleep", Args: []string{"60"}}}
	b.start(sleep)
	_, err := b.Start(b.context(), sleep)
	refused(t, err, codes.AlreadyExists, `"one"`, "RUNNING")
	_, err = b.Remove(b.context(), &processv1.RemoveRequest{Name: "one"})
	refused(t, err, codes.FailedPrecondition, "stop it first")
	b.stop("one", nil)
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("echo again")})
	if p := b.wait("one"); p.GetExit().GetCode() != 0 || b.log("one") != "again\n" {
		t.Errorf("got %v and %q", p, b.log("one"))
	}
	for range 2 { // the second time there is nothing to do
		if _, err := b.Remove(b.context(), &processv1.RemoveRequest{Name: "one"}); err != nil {
			t.Error(err)
		}
	}
	_, err = b.Get(b.context(), &processv1.GetRequest{Name: "one"})
	refused(t, err, codes.NotFound, `"one"`)
}

func TestNoMoreProcessesRunThanAreAllowed(t *testing.T) {
	config := testConfig(t)
	config.MaxProcesses = 2
	b := open(t, config)
	sleep := &processv1.Spec{Command: "sleep", Args: []string{"60"}}
	b.start(&processv1.StartRequest{Name: "a", Spec: shell("exit 1")})
	b.wait("a")
	b.start(&processv1.StartRequest{Name: "b", Spec: sleep})
	b.start(&processv1.StartRequest{Name: "c", Spec: sleep})
	_, err := b.Start(b.context(), &processv1.StartRequest{Name: "d", Spec: sleep})
	refused(t, err, codes.ResourceExhausted, "limit 2 (max_processes)")
	_, err = b.Restart(b.context(), &processv1.RestartRequest{Name: "a"})
	refused(t, err, codes.ResourceExhausted, "limit 2 (max_processes)")
	b.stop("b", nil)
	b.start(&processv1.StartRequest{Name: "d", Spec: sleep})
}

func TestAReconfigurationHoldsForTheNextStart(t *testing.T) {
	config := testConfig(t)
	b := open(t, config)
	b.start(&processv1.StartRequest{Name: "old", Spec: &processv1.Spec{Command: "sleep", Args: []string{"60"}}})
	delete(config.Command, "sleep")
	if err := b.manager.Reconfigure(context.WithoutCancel(t.Context()), config); err != nil {
		t.Fatal(err)
	}
	p := b.get("old")
	_, err := b.Restart(b.context(), &processv1.RestartRequest{Name: "old"})
	refused(t, err, codes.PermissionDenied, `"sleep" is not allowed`)
	if now := b.get("old"); now.GetState() != processv1.State_RUNNING || now.GetPid() != p.GetPid() {
		t.Errorf("got %v, want that it runs on", now)
	}
}

func TestTwoManagersCannotHaveOneLogDirectory(t *testing.T) {
	config := testConfig(t)
	open(t, config)
	second := New()
	err := second.Configure(t.Context(), config)
	if err == nil || !strings.HasPrefix(err.Error(), "log_dir: ") || !strings.Contains(err.Error(), "in use elsewhere") {
		t.Errorf("got %v", err)
	}
	if err := second.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
