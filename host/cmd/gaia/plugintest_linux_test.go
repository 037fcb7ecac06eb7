package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gaia-go/gaia/sdk/conformance"
)

// TestThePluginsOfThisTreePassTheConformanceSuite is what their users do before
// they trust one.
func TestThePluginsOfThisTreePassTheConformanceSuite(t *testing.T) {
	dir := newHouse(t)
	for _, plugin := range []string{"hello", "gaia-api-client-pool", "gaia-browser-pool", "gaia-file-manager", "gaia-network-coordinator", "gaia-process-manager"} {
		t.Run(plugin, func(t *testing.T) { conforms(t, dir, filepath.Join("bin/plugins", plugin)) })
	}
	t.Run("hello-python", func(t *testing.T) { conforms(t, pythonHouse(t), "python/hello.py") })
}

func conforms(t *testing.T, dir, plugin string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "bin/gaia"), "plugin", "test", plugin, "--json")
	cmd.Dir = dir
	output, err := cmd.Output()
	var report struct {
		Failed int
		Checks []conformance.Result
	}
	if jsonErr := json.Unmarshal(output, &report); jsonErr != nil {
		t.Fatalf("%v, %v: %s", jsonErr, err, output)
	}
	if (err == nil) != (report.Failed == 0) {
		t.Errorf("%d checks failed, and the command ended with %v", report.Failed, err)
	}
	// What a skipped check would have needed is a matter of the plugin's API.
	reasons := []string{"side effects", "live_config", "AnnounceDrain", "link", "metrics", "source info"}
	for _, c := range report.Checks {
		switch {
		case c.Status == conformance.Failed:
			t.Errorf("%s\nwant  %s\ngot   %s\nto do %s", c.Name, c.Want, c.Got, c.Fix)
		case c.Status == conformance.Skipped && !slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(c.Reason, r) }):
			t.Errorf("%s: skipped: %s", c.Name, c.Reason)
		}
	}
}
