// Package engine finds, starts and ends browsers. A browser talks over its pipe,
// has a private profile, is the leader of a process group, and leaves nothing
// behind: no process, no directory.
package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

const (
	// oldest is the first version whose protocol is known to fit: flags of the
	// headless shell and commands are those of this one and later.
	oldest = 120

	// versionTime is how long an executable may take to tell its version. Cold,
	// Chromium is 280 MB to read.
	versionTime = 20 * time.Second

	// maxVersion is how many bytes of its answer are read.
	maxVersion = 4 << 10
)

// Program is an executable that is a browser.
type Program struct {
	Engine  browserv1.Engine // HEADLESS_SHELL or CHROMIUM
	Path    string
	Version string // such as "156.0.8078.73"
}

// Find looks for the executable of an engine, at path if that is not "", else
// where it usually is, and asks for its version. The error is one line that says
// what to install.
func Find(ctx context.Context, engine browserv1.Engine, path string) (Program, error) {
	candidates := usual(engine)
	if path != "" {
		candidates = []string{path}
	}
	for _, candidate := range candidates {
		resolved, err := exec.LookPath(candidate)
		if err != nil {
			continue
		}
		version, err := versionOf(ctx, resolved)
		if err != nil {
			return Program{}, err
		}
		return Program{Engine: engine, Path: resolved, Version: version}, nil
	}
	if path != "" {
		return Program{}, fmt.Errorf("%s is no executable", path)
	}
	return Program{}, fmt.Errorf("no %s found (%s); install one: apt-get install %s, or name its path in %s",
		nameOf(engine), strings.Join(candidates, ", "), packageOf(engine), fieldOf(engine))
}

// usual paths of an engine, the preferred first. The wrapper scripts in /usr/bin
// come after what they start: they cost time and read a user's settings.
func usual(engine browserv1.Engine) []string {
	if engine == browserv1.Engine_HEADLESS_SHELL {
		return []string{
			"/usr/lib/chromium/chromium-headless-shell", "/usr/lib/chromium/headless_shell", "/headless-shell/headless-shell",
			"chrome-headless-shell", "chromium-headless-shell", "headless-shell", "headless_shell",
		}
	}
	paths := []string{
		"/usr/lib/chromium/chromium", "/usr/lib/chromium-browser/chromium-browser", "/opt/google/chrome/chrome",
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
	}
	if named := os.Getenv("CHROME_PATH"); named != "" {
		paths = append([]string{named}, paths...)
	}
	return paths
}

func nameOf(engine browserv1.Engine) string {
	if engine == browserv1.Engine_HEADLESS_SHELL {
		return "Chromium headless shell"
	}
	return "Chromium"
}

func packageOf(engine browserv1.Engine) string {
	if engine == browserv1.Engine_HEADLESS_SHELL {
		return "chromium-headless-shell"
	}
	return "chromium"
}

func fieldOf(engine browserv1.Engine) string {
	if engine == browserv1.Engine_HEADLESS_SHELL {
		return "headless_shell"
	}
	return "chromium"
}

func versionOf(ctx context.Context, path string) (string, error) {
	output, err := said(ctx, path)
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	found := regexp.MustCompile(`(?:Chrom|HeadlessShell)[A-Za-z ]*[ /](\d+)\.[\d.]+`).FindSubmatchIndex(output)
	if found == nil {
		return "", fmt.Errorf("%s is no Chromium: its --version says %q", path, firstLine(output))
	}
	version := strings.TrimLeft(string(output[found[2]:found[1]]), " ")
	major, err := strconv.Atoi(string(output[found[2]:found[3]]))
	if err != nil || major < oldest {
		return "", fmt.Errorf("%s is version %s, too old: at least %d", filepath.Base(path), version, oldest)
	}
	return version, nil
}

// said is what an executable answers to --version, the beginning of it. One that
// says more or takes too long is ended with all that it has started.
func said(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	answer := head{full: cancel}
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Stdout = &answer
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a wrapper script may leave a child that holds the pipe
	defer lockThread()()
	err := cmd.Run()
	if len(answer.text) == maxVersion {
		err = nil
	}
	return answer.text, err
}

// head keeps the first maxVersion bytes of what is written, and calls full when
// it has them.
type head struct {
	text []byte
	full func()
}

// Write never fails.
func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), maxVersion-len(h.text))]...)
	if len(h.text) == maxVersion {
		h.full()
	}
	return len(p), nil
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(string(text), "\n")
	return line[:min(len(line), 100)]
}
