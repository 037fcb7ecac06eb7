package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chrome")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOnlyABrowserIsTakenForOne(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"sleep":     {"echo sleep 9.1", `is no Chromium: its --version says "sleep 9.1"`},
		"too old":   {"echo Chromium 98.0.1.2", "is version 98.0.1.2, too old: at least 120"},
		"fails":     {"exit 3", "--version: exit status 3"},
		"a browser": {"echo Google Chrome 156.0.1.2 dev", ""},
	} {
		_, err := Find(t.Context(), browserv1.Engine_CHROMIUM, script(t, test.script))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	t.Setenv("PATH", "")
	if _, err := Find(t.Context(), browserv1.Engine_CHROMIUM, "/none"); err == nil {
		t.Error("a path without a file: no error")
	}
}

func launch(t *testing.T, home *Home) *Browser {
	t.Helper()
	program, err := Find(t.Context(), browserv1.Engine_HEADLESS_SHELL, "")
	if err != nil {
		t.Skip(err)
	}
	b, err := Start(t.Context(), Options{Program: program, Home: home})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func home(t *testing.T, parent string) *Home {
	t.Helper()
	h, err := OpenHome(parent)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAKilledBrowserFailsItsCallsAndLeavesNothing(t *testing.T) {
	h := home(t, filepath.Join(t.TempDir(), "h"))
	b := launch(t, h)
	if err := syscall.Kill(b.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-b.Done()
	if _, err := devtools.Call(t.Context(), b.Session, browser.GetVersion, cdp.Empty{}); !errors.Is(err, devtools.ErrClosed) {
		t.Errorf("call: got %v, want ErrClosed", err)
	}
	if got := b.Exit(); got == nil || got.Error() != "signal: killed" {
		t.Errorf("exit: got %v", got)
	}
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	late := time.After(10 * time.Second)
	for !errors.Is(syscall.Kill(-b.PID(), 0), syscall.ESRCH) { // whoever is init reaps its children
		select {
		case <-poll.C:
		case <-late:
			t.Fatal("its process group is still there after 10s")
		}
	}
	if _, err := os.Stat(b.profile); !os.IsNotExist(err) {
		t.Errorf("its profile: got %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestAProgramThatIsNoBrowserSaysWhatItWrote(t *testing.T) {
	h := home(t, filepath.Join(t.TempDir(), "h"))
	defer h.Close()
	_, err := Start(t.Context(), Options{Program: Program{Path: script(t, "echo no display >&2; exit 7")}, Home: h})
	if err == nil || !strings.Contains(err.Error(), "no display") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(h.Dir()); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

func TestAPathThatIsTooLongForASocketIsToldSo(t *testing.T) {
	h := home(t, filepath.Join(t.TempDir(), strings.Repeat("long", 20)))
	defer h.Close()
	_, err := Start(t.Context(), Options{Program: Program{Engine: browserv1.Engine_CHROMIUM, Path: "/none"}, Home: h})
	if err == nil || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(h.Dir()); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
}

func TestAHomeIsSweptOnlyWhenItsOwnerIsDead(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "h")
	dead, alive := home(t, parent), home(t, parent)
	b := launch(t, dead)
	_ = dead.lock.Close() // as the kernel does for a dead process
	third := home(t, parent)
	defer third.Close()
	<-b.Done()
	if _, err := os.Stat(dead.Dir()); !os.IsNotExist(err) {
		t.Errorf("the dead one's: got %v", err)
	}
	if _, err := os.Stat(alive.Dir()); err != nil {
		t.Error(err)
	}
	if err := alive.Close(); err != nil {
		t.Error(err)
	}
}

func TestSomebodyElsesDirectoryIsNoHome(t *testing.T) {
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenHome(open); err == nil {
		t.Error("a directory that others can enter: no error")
	}
}

func TestTheUsersSettingsLeaveOursInForce(t *testing.T) {
	o := Options{Args: []string{"--blink-settings=imagesEnabled=false,middleClickPasteAllowed=true", "--mute-audio"}}
	args := o.arguments("/profile")
	want := "--blink-settings=imagesEnabled=false,middleClickPasteAllowed=true,selectionClipboardBufferAvailable=false,middleClickPasteAllowed=false"
	if got := args[len(args)-1]; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestManyProcessesMakeTheirHomesAtOnce(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "h")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				h, err := OpenHome(parent)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(filepath.Join(h.Dir(), lockName)); err != nil {
					t.Errorf("swept while its owner lives: %v", err)
				}
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestWhatABrowserLeavesOutsideItsGroupHoldsNothingUp(t *testing.T) {
	h := home(t, filepath.Join(t.TempDir(), "h"))
	defer h.Close()
	left := filepath.Join(t.TempDir(), "left")
	chrome := script(t, `setsid sh -c 'echo $$ > `+left+`; exec sleep 60' & until [ -s `+left+` ]; do :; done; exit 7`)
	began := time.Now()
	_, err := Start(t.Context(), Options{Program: Program{Path: chrome}, Home: h})
	pid := readPID(t, left)
	defer func() { _ = syscall.Kill(pid, syscall.SIGKILL) }()
	if err == nil || !strings.Contains(err.Error(), "exit status 7") || syscall.Kill(pid, 0) != nil {
		t.Errorf("got %v after %v, want the exit status while what it left behind still runs", err, time.Since(began))
	}
}

func TestAnExecutableThatIsNoBrowserIsEndedWithAllItStarted(t *testing.T) {
	left := filepath.Join(t.TempDir(), "left")
	path := script(t, `sh -c 'echo $$ > `+left+`; exec sleep 60' & until [ -s `+left+` ]; do :; done; while :; do echo rubbish; done`)
	_, err := Find(t.Context(), browserv1.Engine_CHROMIUM, path)
	if err == nil || !strings.Contains(err.Error(), "is no Chromium") {
		t.Errorf("got %v", err)
	}
	pid := readPID(t, left)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	late := time.After(10 * time.Second)
	for syscall.Kill(pid, 0) == nil { // whoever is init reaps it
		select {
		case <-poll.C:
		case <-late:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("what it started still runs")
		}
	}
}

func readPID(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
