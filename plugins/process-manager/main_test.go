package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestThePluginAnswersOverARealHandshakeAndItsProcessesEndWithIt(t *testing.T) {
	plugin := plugintest.Start(t, plugintest.Config(&processv1.Config{
		LogDir:  t.TempDir(),
		Command: map[string]*processv1.Command{"sh": {Path: "/bin/sh", Args: []string{`(?s).*`}}},
	}))
	client := processv1.NewProcessManagerClient(plugin.Conn())
	r, err := client.Run(t.Context(), &processv1.RunRequest{Spec: &processv1.Spec{Command: "sh", Args: []string{"-c", "echo hello"}}})
	if err != nil || string(r.GetStdout()) != "hello\n" {
		t.Errorf("got %v and %v", r, err)
	}
	started, err := client.Start(t.Context(), &processv1.StartRequest{Name: "one", Spec: &processv1.Spec{Command: "sh", Args: []string{"-c", "exec sleep 600." + strconv.Itoa(os.Getpid())}}, Restart: &processv1.RestartPolicy{When: processv1.When_ALWAYS}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Start(t.Context(), &processv1.StartRequest{Name: "two", Spec: &processv1.Spec{Command: "rm"}})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("another command: %v", err)
	}
	faults := plugin.Configure(t, &processv1.Config{Command: map[string]*processv1.Command{"x": {Path: "/bin/x", Args: []string{"("}}}})
	if len(faults) != 1 || faults[0].GetPath() != `command["x"].args[0]` {
		t.Errorf("faults: got %v, want one at command[\"x\"].args[0]", faults)
	}
	if _, metrics := plugin.Metrics(t); !strings.Contains(string(metrics), "gaia_process_starts_total") {
		t.Error("no metrics")
	}
	// There is no keeper, so nothing outlives the plugin.
	plugin.Terminate(t)
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		if line, _ := os.ReadFile(file); strings.Contains(string(line), "600."+strconv.Itoa(os.Getpid())) {
			t.Errorf("there still is %s, which began as %d", file, started.GetProcess().GetPid())
		}
	}
}

func TestThePluginDescribesItsAPIWithItsComments(t *testing.T) {
	plugin := plugintest.Start(t)
	d := plugin.Description()
	if got, want := d.GetServices(), processv1.ProcessManager_ServiceDesc.ServiceName; len(got) != 1 || got[0] != want {
		t.Errorf("services: got %q, want %q", got, want)
	}
	if !d.GetExclusive() || !d.GetLiveConfig() {
		t.Errorf("got exclusive %v and live config %v, want both", d.GetExclusive(), d.GetLiveConfig())
	}
	for _, file := range d.GetFiles().GetFile() {
		for _, location := range file.GetSourceCodeInfo().GetLocation() {
			if strings.Contains(location.GetLeadingComments(), "Start starts a command under a name and supervises it") {
				return
			}
		}
	}
	t.Error("the descriptors have no comments")
}
