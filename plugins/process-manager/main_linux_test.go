package main

import (
	"strings"
	"syscall"
	"testing"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
)

func TestWhatThePluginHasInheritedIsNotInheritedOn(t *testing.T) {
	fd, err := syscall.Open("/dev/zero", syscall.O_RDONLY, 0) // for whoever is started
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }() // nothing was written
	plugin := plugintest.Start(t, plugintest.Config(&processv1.Config{
		LogDir:  t.TempDir(),
		Command: map[string]*processv1.Command{"ls": {Path: "/bin/ls", FirstArgs: []string{"-l", "/proc/self/fd"}}},
	}))
	r, err := processv1.NewProcessManagerClient(plugin.Conn()).Run(t.Context(), &processv1.RunRequest{Spec: &processv1.Spec{Command: "ls"}})
	if err != nil || strings.Contains(string(r.GetStdout()), "/dev/zero") {
		t.Errorf("got %v and\n%s", err, r.GetStdout())
	}
	plugin.Terminate(t)
}
