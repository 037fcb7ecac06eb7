package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
)

func needBrowser(t *testing.T) {
	t.Helper()
	if _, err := engine.Find(t.Context(), browserv1.Engine_HEADLESS_SHELL, ""); err != nil {
		t.Skip(err)
	}
}

// with are the processes that have a text among their arguments, zombies
// included.
func with(t *testing.T, text string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		args, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(args), text) {
			found = append(found, path)
		}
	}
	return found
}

func TestNothingIsLeftOfAKilledPlugin(t *testing.T) {
	needBrowser(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<title>hello</title>"))
	}))
	defer server.Close()
	temp, err := os.MkdirTemp("", "b")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temp)
	config := &browserv1.Config{Egress: &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}}}}}
	open := func() *plugintest.Plugin {
		plugin := plugintest.Start(t, plugintest.Config(config), plugintest.Env("TMPDIR="+temp))
		response, err := browserv1.NewBrowserPoolClient(plugin.Conn()).Content(t.Context(), &browserv1.ContentRequest{Url: server.URL})
		if err != nil || response.GetPage().GetTitle() != "hello" {
			t.Fatalf("got %v, %v", response.GetPage(), err)
		}
		return plugin
	}
	open()
	home := filepath.Join(temp, fmt.Sprintf("gaia-browser-%d", os.Getuid()))
	first, err := os.ReadDir(home)
	if err != nil || len(first) != 1 {
		t.Fatalf("homes: got %v, %v, want one", first, err)
	}
	for _, path := range with(t, "/browser-pool") { // as plugintest names what it builds
		if pid := parentOf(t, path); pid == os.Getpid() {
			kill(t, path)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for len(with(t, home)) > 0 {
		if time.Now().After(deadline) {
			for _, path := range with(t, home) {
				args, _ := os.ReadFile(path)
				state, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "stat"))
				t.Errorf("5s after the plugin's death there is %s: %q %q", path, args, state)
			}
			t.FailNow()
		}
	}
	open()
	second, err := os.ReadDir(home)
	if err != nil || len(second) != 1 || second[0].Name() == first[0].Name() {
		t.Errorf("homes after the next start: got %v, %v, want one that is not %v", second, err, first)
	}
}

func parentOf(t *testing.T, cmdline string) int {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join(filepath.Dir(cmdline), "stat"))
	if err != nil {
		return 0
	}
	var state string
	var parent int
	_, _ = fmt.Sscan(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), &state, &parent)
	return parent
}

func kill(t *testing.T, cmdline string) {
	t.Helper()
	var pid int
	if _, err := fmt.Sscanf(cmdline, "/proc/%d/", &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
