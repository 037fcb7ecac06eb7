package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// openChecked makes a config with a plugin that runs a script, and returns their
// folder and what gaia validate says of it.
func openChecked(t *testing.T, host, script string) (dir string, check func() string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"config.hcl": fmt.Sprintf("host {\n  plugin_dir = %q\n  data_dir = %q\n%s}\nsubsystem \"it\" { plugin = \"it\" }\n", dir, dir, host),
		"it":         fmt.Sprintf("#!/bin/sh\ncd %s\n%s\nexit 1\n", dir, script),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir, func() string {
		_, report := Check(t.Context(), filepath.Join(dir, "config.hcl"))
		if !report.HasErrors() {
			return ""
		}
		return text(report)
	}
}

func TestNoPluginIsAskedWhileNobodyCanSayWhichAreTrusted(t *testing.T) {
	for _, test := range []struct {
		name, host, lock string
		want             string // a fault; "" for none, and then the plugin is asked
	}{
		{name: "all are"},
		{name: "a faulty key", host: "  trusted_keys = [\"rubbish\"]\n", want: "Invalid public key"},
		{name: "a faulty lock file", lock: "rubbish", want: "Lock file not usable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, check := openChecked(t, test.host, "touch ran")
			if test.lock != "" {
				if err := os.WriteFile(filepath.Join(dir, "gaia.lock.hcl"), []byte(test.lock), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := check(); !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "ran")); (err == nil) != (test.want == "") {
				t.Errorf("that the plugin ran: %v", err)
			}
		})
	}
}

func TestKeysThatAreWrittenWhileTheConfigIsReadAreNotOverlooked(t *testing.T) {
	const key = "RWTQkPQpmIlTNzsnaG7bEYi4HXg+OmXQQvbP3bFbjmP3YpnYc41V3ICm"
	_, check := openChecked(t, "", fmt.Sprintf("sed -i 's|^host {|host {\\n  trusted_keys = [%q]|' config.hcl", key))
	if got := check(); !strings.Contains(got, "Config has changed") {
		t.Errorf("got %q", got)
	}
	if got := check(); !strings.Contains(got, "Plugin without a signature") {
		t.Errorf("once more: got %q", got)
	}
}
