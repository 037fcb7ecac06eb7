package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Whoever opens a named pipe waits for somebody to write to it.
func TestAConfigThatIsAPipeIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.hcl")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, report := Load(path, nil)
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
}
