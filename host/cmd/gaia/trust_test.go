package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// replaceFile puts a program in the place of another that may run, changed by a byte: it does
// the same and is not the same.
func replaceFile(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path+".new", append(content, 0), 0o700), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// offline runs a gaia command in a directory, before there is a host, and returns what it
// wrote and its exit code.
func offline(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "bin/gaia"), args...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(output), ended.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(output), 0
}

func wantOffline(t *testing.T, dir string, code int, want string, args ...string) {
	t.Helper()
	if got, ended := offline(t, dir, args...); ended != code || !strings.Contains(got, want) {
		t.Errorf("gaia %s: exit code %d and\n%s\nwant %d and %q", strings.Join(args, " "), ended, got, code, want)
	}
}

const oneHello = "host {\n  http = \"127.0.0.1:0\"\n}\nsubsystem \"hello\" {\n  plugin = \"hello\"\n}\n"

func TestAHostRunsTheLockedPluginsAndNoOthers(t *testing.T) {
	dir := newHouse(t)
	if err := os.WriteFile(filepath.Join(dir, "config.hcl"), []byte(oneHello), 0o600); err != nil {
		t.Fatal(err)
	}
	wantOffline(t, dir, 3, "gaia.lock.hcl does not exist", "plugin", "lock", "--check")
	wantOffline(t, dir, 0, "hello: new, ", "plugin", "lock")
	wantOffline(t, dir, 0, "up to date, 1 plugin", "plugin", "lock", "--check")
	h := open(t, dir, oneHello)
	first := h.await(t, "hello", isReady)
	h.says(t, true, "Hello, Ada!", "call", "hello.Hello", "name=Ada")

	h.says(t, false, `has no plugin "memory-file-manager"`, "swap", "hello", "memory-file-manager")
	h.write(t, strings.Replace(oneHello, `"hello"`+"\n}", `"memory-file-manager"`+"\n}", 1))
	h.says(t, false, `plugin = "memory-file-manager"`, "reload")
	h.write(t, oneHello)

	replaceFile(t, filepath.Join(dir, "bin/plugins/hello"))
	wantOffline(t, dir, 3, "Error: Plugin is not the locked one\n\n  on config.hcl line 5, in subsystem \"hello\":", "validate")
	wantOffline(t, dir, 3, "hello: ", "plugin", "lock", "--check")
	h.says(t, false, "Plugin is not the locked one", "reload")
	h.says(t, false, "If the change is wanted: gaia plugin lock", "swap", "hello")
	h.says(t, true, "Hello, Ada!", "call", "hello.Hello", "name=Ada") // by the one that runs

	if err := syscall.Kill(int(first.GetPid()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s := h.await(t, "hello", func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_FAILED })
	if !strings.Contains(s.GetReason(), "gaia plugin lock") {
		t.Errorf("after a crash: got the reason %q, want what to do", s.GetReason())
	}
	h.says(t, true, ", was ", "plugin", "lock")
	h.says(t, true, "nothing has changed", "reload")
	h.says(t, true, "of hello serves", "restart", "hello")
	h.says(t, true, "Hello, Ada!", "call", "hello.Hello", "name=Ada")
	h.says(t, true, "memory-file-manager: new, ", "plugin", "lock", "memory-file-manager")
	h.says(t, true, "", "reload")
	h.says(t, true, "of memory-file-manager serves", "swap", "hello", "memory-file-manager")
}

func TestAFaultyLockFileStopsAHost(t *testing.T) {
	dir := newHouse(t)
	for name, text := range map[string]string{"config.hcl": oneHello, "gaia.lock.hcl": "plugin {"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantOffline(t, dir, 3, "gaia.lock.hcl:1", "run")
}

func TestAHostRunsWhatATrustedKeyHasSigned(t *testing.T) {
	dir := newHouse(t)
	const hello, other = "bin/plugins/hello", "bin/plugins/memory-file-manager"
	wantOffline(t, dir, 0, "keep it secret", "plugin", "keygen", "--no-password", "ours")
	wantOffline(t, dir, 0, "keep it secret", "plugin", "keygen", "--no-password", "theirs")
	wantOffline(t, dir, 1, "ours.key exists", "plugin", "keygen", "--no-password", "ours")
	signed := strings.Replace(oneHello, "0\"\n", "0\"\n  trusted_keys = [file(\"ours.pub\")]\n", 1)
	if err := os.WriteFile(filepath.Join(dir, "config.hcl"), []byte(signed), 0o600); err != nil {
		t.Fatal(err)
	}
	wantOffline(t, dir, 3, "Plugin without a signature", "run")
	wantOffline(t, dir, 1, "hello.minisig does not exist", "plugin", "lock")
	wantOffline(t, dir, 0, "hello.minisig", "plugin", "sign", "--key", "theirs.key", hello)
	wantOffline(t, dir, 3, "Signature by an unknown key", "validate")
	wantOffline(t, dir, 0, "hello.minisig", "plugin", "sign", "--key", "ours.key", hello)
	wantOffline(t, dir, 0, "valid, 1 subsystem", "validate")

	h := open(t, dir, signed)
	h.await(t, "hello", isReady)
	h.says(t, true, "Hello, Ada!", "call", "hello.Hello", "name=Ada")
	h.says(t, false, "memory-file-manager.minisig does not exist", "swap", "hello", "memory-file-manager")
	replaceFile(t, filepath.Join(dir, other))
	h.says(t, true, "memory-file-manager.minisig", "plugin", "sign", "--key", "ours.key", other)
	replaceFile(t, filepath.Join(dir, hello))
	h.says(t, false, "is not what was signed", "swap", "hello")
	h.says(t, true, "of memory-file-manager serves", "swap", "hello", "memory-file-manager")
}

func TestAKeyWithAPasswordSignsWithItAlone(t *testing.T) {
	dir := newHouse(t)
	with := func(password string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "bin/gaia"), args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(password)
		output, err := cmd.CombinedOutput()
		return string(output), err
	}
	if output, err := with("", "plugin", "keygen", "k"); err == nil || !strings.Contains(output, "the password is empty") {
		t.Errorf("no password: %v\n%s", err, output)
	}
	if output, err := with("open sesame\n", "plugin", "keygen", "k"); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	sign := []string{"plugin", "sign", "--key", "k.key", "bin/plugins/hello"}
	if output, err := with("open says me\n", sign...); err == nil || !strings.Contains(output, "the password is another one") {
		t.Errorf("another password: %v\n%s", err, output)
	}
	if output, err := with("open sesame\n", sign...); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	if info, err := os.Stat(filepath.Join(dir, "k.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
}
